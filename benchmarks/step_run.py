"""One run for benchmarks/step.py: python -m benchmarks.step_run stock|ours|alternating --config FILE ..."""

from __future__ import annotations

import sys

from pepo_rlhf import compat, train
from pepo_rlhf.config import parse_arguments


def main() -> None:
    side = sys.argv.pop(1)
    if side == "ours":
        return train.main()
    config = parse_arguments()
    compat.install()
    if side == "alternating":
        _alternate()
        return train.train(config, train.check_inputs(config), train.open_run_folder(config))
    config.run_dir.mkdir(parents=True)
    import ray

    from pepo_rlhf.controller import cluster

    cluster.connect(config)
    try:
        from benchmarks import stock

        stock.run(config)
    finally:
        ray.shutdown()


def _alternate() -> None:
    """Let uniform weights and PEPO's take turns from step to step of a run of ours."""
    from pepo_rlhf.controller.trainer import Trainer
    from pepo_rlhf.core.weighting import load_weighting

    make_experience = Trainer._make_experience

    def alternating(self, batch):
        self.experience_maker.weighting = load_weighting(("uniform", "pepo")[self.step % 2], {})
        return make_experience(self, batch)

    Trainer._make_experience = alternating


if __name__ == "__main__":
    main()
