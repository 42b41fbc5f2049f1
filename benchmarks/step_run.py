"""One run for benchmarks/step.py: python -m benchmarks.step_run stock|ours|alternating --config FILE ..."""

from __future__ import annotations

import sys
from pathlib import Path

from pepo_rlhf import compat, train
from pepo_rlhf.config import parse_arguments, to_arguments


def main() -> None:
    side = sys.argv.pop(1)
    if side == "ours":
        return train.main()
    config = parse_arguments()
    args = to_arguments(config)
    compat.install()
    train.write_config(config, Path(args.run.dir))
    import ray

    from pepo_rlhf.controller import cluster

    cluster.connect(args)
    try:
        if side == "stock":
            from benchmarks import stock

            stock.run(args)
        else:
            _run_alternating(args)
    finally:
        ray.shutdown()


def _run_alternating(args) -> None:
    """A run of ours in which uniform weights and PEPO's take turns."""
    import ray

    from pepo_rlhf.compat import wiring
    from pepo_rlhf.controller import placement
    from pepo_rlhf.controller.trainer import PepoTrainer

    class AlternatingTrainer(PepoTrainer):
        def train_step(self, rollout_samples, global_step: int):
            self.experience_maker.args.pepo.method = ("uniform", "pepo")[global_step % 2]
            return super().train_step(rollout_samples, global_step)

    wiring.apply()
    placement._trainer_class = lambda args: ray.remote(AlternatingTrainer).options(max_concurrency=2)
    placement.run(args)


if __name__ == "__main__":
    main()
