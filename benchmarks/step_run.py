"""One run for benchmarks/step.py: python -m benchmarks.step_run stock|ours --config FILE ..."""

from __future__ import annotations

import sys

from pepo_rlhf import runtime, train
from pepo_rlhf.config import parse_arguments, to_arguments


def main() -> None:
    side = sys.argv.pop(1)
    if side == "ours":
        return train.main()
    config = parse_arguments()
    args = to_arguments(config)
    runtime.install()
    train.write_config(config, train.Path(args.run.dir))
    import ray

    from benchmarks import stock
    from pepo_rlhf.runtime import cluster

    cluster.connect(args)
    try:
        stock.run(args)
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
