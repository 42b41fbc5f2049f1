"""python -m pepo_rlhf.train --config FILE [--section.key value ...]: one training run."""

from __future__ import annotations

from pepo_rlhf import runtime
from pepo_rlhf.config import parse_arguments, to_arguments


def main() -> None:
    args = to_arguments(parse_arguments())
    runtime.install()
    # Imported late: a mistake in the flags is reported without waiting for Ray, vLLM and DeepSpeed to load.
    import ray

    from pepo_rlhf.pipeline import launch, wiring
    from pepo_rlhf.runtime import cluster

    wiring.apply()
    cluster.connect(args)
    try:
        launch.run(args)
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
