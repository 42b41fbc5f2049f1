"""The rule on where the update's own forward pass may give signals and old log-probs. See validate.py."""

from __future__ import annotations

from pepo_rlhf.config.settings import Config


def one_pass_is_enough(config: Config) -> str | None:
    if not config.train.single_pass:
        return None
    for is_set, reason, instead in (
        (
            config.num_responses != config.train.batch_size or config.train.max_epochs > 1,
            f"there is one update a batch, and here are {config.num_responses} responses in updates of "
            f"--train.batch_size {config.train.batch_size}, and --train.max_epochs {config.train.max_epochs}",
            "make them equal, with one epoch",
        ),
        (
            not config.algo.kl.use_loss and config.algo.kl.init_coef > 0,
            "advantages do not come from log-probs, as those of a KL in the reward do",
            "set --algo.kl.use_loss",
        ),
        (
            config.ds.lora.dropout > 0,
            "log-probs of the update are those of the policy, which --ds.lora.dropout changes",
            "set it to 0",
        ),
    ):
        if is_set:
            return f"--train.single_pass true needs that {reason}: {instead}, or leave it out"
    return None
