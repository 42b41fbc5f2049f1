"""One run for benchmarks/step.py: python -m benchmarks.step_run stock|ours|methods|skipping|passes --config FILE ..."""

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
    if side in VARIANTS:
        _alternate(VARIANTS[side])
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


def _method(trainer, batch, is_second: bool) -> None:
    """Uniform weights, then PEPO's."""
    from pepo_rlhf.core.weighting import load_weighting

    trainer.experience_maker.weighting = load_weighting("pepo" if is_second else "uniform", {})


def _skipping(trainer, batch, is_second: bool) -> None:
    """Half of the groups with equal rewards, trained on and then left out of the update; the others differ."""
    import torch

    groups = batch.rewards.view(-1, batch.num_samples)
    groups[::2] = 1.0
    groups[1::2] = torch.arange(batch.num_samples) % 2
    trainer.config.train.skip_zero_advantages = is_second


def _passes(trainer, batch, is_second: bool) -> None:
    """A pass before the update, and then none."""
    trainer.config.train.single_pass = is_second


VARIANTS = {"methods": _method, "skipping": _skipping, "passes": _passes}


def _alternate(choose) -> None:
    """Let two variants of a step of ours take turns in one run."""
    from pepo_rlhf.controller.trainer import Trainer

    make_experience = Trainer._make_experience

    def alternating(self, batch):
        choose(self, batch, is_second=self.step % 2 == 1)
        return make_experience(self, batch)

    Trainer._make_experience = alternating


if __name__ == "__main__":
    main()
