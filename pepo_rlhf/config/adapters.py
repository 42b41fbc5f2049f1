"""The rule on what goes with LoRA adapters. See validate.py."""

from __future__ import annotations

from pepo_rlhf.config.settings import Config


def adapters_combine(config: Config) -> str | None:
    if not config.has_adapters:
        without = "--ckpt.save_merged merges adapters, and there are none: set --ds.lora.rank, or leave it out"
        return without if config.ckpt.save_merged else None
    for flag, is_set, instead in (
        ("ds.load_in_4bit", config.ds.load_in_4bit, "leave it out"),
        ("ds.use_universal_ckpt", config.ds.use_universal_ckpt, "resume on as many GPUs as wrote the checkpoint"),
        ("train.enable_ema", config.train.enable_ema, "leave it out"),
        (
            "actor.freeze_visual_encoder false",
            not config.actor.freeze_visual_encoder,
            "adapters freeze all weights; name layers of the vision tower in --ds.lora.target_modules",
        ),
    ):
        if is_set:
            return f"--{flag} does not go with adapters (--ds.lora.rank {config.ds.lora.rank}): {instead}"
    if not config.ds.lora.target_modules:
        return "--ds.lora.target_modules is empty: name layers, or all-linear"
    return None
