"""Rules that a run's settings must keep, so that a mistake costs a second and not a GPU reservation.

A rule is a function of the settings that returns what is wrong, in one line that says how to mend it, or None.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Callable

from pepo_rlhf.config import adapters, placement
from pepo_rlhf.config.ranges import values_in_range
from pepo_rlhf.config.settings import Config
from pepo_rlhf.config.single_pass import one_pass_is_enough
from pepo_rlhf.core.weighting import load_weighting

# Metrics of a response; a component of that name would overwrite one.
RESPONSE_METRICS = ("reward", "score", "reward_errors", "response_length", "truncated", "kl", "entropy", "progress")
_FLASH = ("flash_attention_2", "flash_attention_3", "flash_attention_4")
ATTENTIONS = ("auto", "eager", "sdpa", *_FLASH, "flex_attention")
GROUP_ESTIMATORS = ("group_norm", "rloo", "reinforce_baseline", "dr_grpo")


class ConfigError(ValueError):
    """Settings that cannot work together; the message is one line that names the flags and how to mend them."""


def validate(config: Config) -> None:
    """Raise ConfigError for the first rule that is broken."""
    for rule in RULES:
        if problem := rule(config):
            raise ConfigError(problem)


def model_given(config: Config) -> str | None:
    if config.actor.model_name_or_path:
        return None
    return "--actor.model_name_or_path is missing: give a Hugging Face name or a path"


def dataset_given(config: Config) -> str | None:
    if config.data.prompt_dataset:
        return None
    return "--data.prompt_dataset is missing: give a Hugging Face name or a path"


def run_folder_is_a_path(config: Config) -> str | None:
    if not config.run.dir.strip():
        return "--run.dir is empty: name a folder"
    if "\0" in config.run.dir:
        return f"--run.dir {config.run.dir!r} holds a null byte, which no path does: name another folder"
    if config.run.dir.startswith("~") or "$" in config.run.dir:
        return f"--run.dir {config.run.dir}: ~ and $ are not replaced in settings; write the path out"
    return None


def token_weighting_exists(config: Config) -> str | None:
    if ":" in config.pepo.method:
        return None  # a user's file is run by pepo_rlhf.checks.weighting, which `train` asks before it starts Ray
    try:
        load_weighting(config.pepo.method, config.pepo.settings)
    except ValueError as error:
        return str(error)
    return None


def attention_exists(config: Config) -> str | None:
    chosen = config.ds.attn_implementation
    if chosen in ATTENTIONS or ("/" in chosen and config.run.trust_remote_code):
        return None
    if "/" in chosen:
        return f"--ds.attn_implementation {chosen} downloads a kernel and runs it: set --run.trust_remote_code true"
    names = ", ".join(ATTENTIONS)
    return f"--ds.attn_implementation {chosen!r} is unknown: choose one of {names}, or a kernel's owner/name on the hub"


def reward_given(config: Config) -> str | None:
    if config.reward.functions:
        return None
    return "--reward.functions is empty: name a built-in verifier or path.py:function"


def components_have_names_of_their_own(config: Config) -> str | None:
    for function in config.reward.functions:
        name = function.rpartition(":")[2]
        if name in RESPONSE_METRICS:
            return f"--reward.functions {function} would log over the metric {name}: give the function another name"
    return None


def weights_name_components(config: Config) -> str | None:
    components = [function.rpartition(":")[2] for function in config.reward.functions]
    for name in config.reward.weights:
        if name not in components:
            return f"--reward.weights names {name!r}, which is none of --reward.functions: {', '.join(components)}"
        if math.isinf(config.reward.weights[name]):
            return f"--reward.weights.{name} must be finite, not {config.reward.weights[name]}"
    return None


def response_fits_context(config: Config) -> str | None:
    longest = config.rollout.max_new_tokens
    if longest is None or longest < config.data.max_len:
        return None
    return (
        f"--rollout.max_new_tokens {longest} leaves no room for a prompt in --data.max_len {config.data.max_len}: "
        "raise the latter"
    )


def pixel_limits_are_a_range(config: Config) -> str | None:
    smallest, largest = config.data.min_pixels, config.data.max_pixels
    if smallest is None or largest is None or smallest <= largest:
        return None
    return f"--data.min_pixels {smallest} is above --data.max_pixels {largest}: lower it"


def reward_range_is_a_range(config: Config) -> str | None:
    lowest, highest = config.reward.clip_range
    if lowest < highest:
        return None
    return f"--reward.clip_range {lowest} {highest} leaves no room for a reward: give LOW HIGH with LOW below HIGH"


def length_penalty_fits_response(config: Config) -> str | None:
    buffer = config.reward.overlong_buffer_len
    longest = config.rollout.max_new_tokens or config.data.max_len
    if buffer is None or buffer <= longest:
        return None
    return f"--reward.overlong_buffer_len {buffer} is longer than a response, at most {longest} tokens: lower it"


def groups_have_several_responses(config: Config) -> str | None:
    if config.rollout.n_samples_per_prompt > 1:
        return None
    if config.algo.advantage.estimator in GROUP_ESTIMATORS:
        return (
            f"--algo.advantage.estimator {config.algo.advantage.estimator} compares the responses to a prompt: set "
            "--rollout.n_samples_per_prompt above 1, or use reinforce or flash_reinforce"
        )
    if config.algo.dynamic_filtering_enable:
        return (
            "--algo.dynamic_filtering_enable drops groups of equal rewards, as any group of one is: set "
            "--rollout.n_samples_per_prompt above 1"
        )
    return None


def token_weights_keep_off_the_kl(config: Config) -> str | None:
    if config.algo.kl.use_loss or not config.has_reference:
        return None
    if ":" not in config.pepo.method and not load_weighting(config.pepo.method, config.pepo.settings).signals:
        return None
    return (
        f"--pepo.method {config.pepo.method} would weigh a KL that sits in the reward: set --algo.kl.use_loss true, "
        "or --algo.kl.init_coef 0"
    )


def corrections_combine(config: Config) -> str | None:
    """Refuse what openrlhf.models.loss.PolicyLoss does not accept, or compares wrongly."""
    correction = config.algo.advantage
    level, gating = correction.is_correction_level, correction.is_correction_gating
    if correction.is_correction_mode == "clip" and (level == "seq" or gating != "ratio"):
        return (
            "--algo.advantage.is_correction_mode clip clamps the ratio of a token: set is_correction_level token and "
            "is_correction_gating ratio, or mode mask"
        )
    for name, neutral in (("top_p", 1), ("top_k", 0)):
        if level != "off" and getattr(config.rollout, name) != neutral:
            return (
                f"--algo.advantage.is_correction_level {level} compares log-probs of all tokens with those of what "
                f"--rollout.{name} leaves: set that to {neutral}"
            )
    thresholds = correction.is_correction_threshold
    bounds = [0.0, *thresholds][-2:]
    if len(thresholds) not in (1, 2) or not bounds[0] < bounds[1]:
        return f"--algo.advantage.is_correction_threshold takes HIGH, or LOW HIGH with LOW below it, not {thresholds}"
    if level != "off" and gating != "ratio" and bounds[0] > 0:
        return (
            f"--algo.advantage.is_correction_gating {gating} has an upper bound only: give one "
            "--algo.advantage.is_correction_threshold"
        )
    return None


def one_batch_is_generated_ahead(config: Config) -> str | None:
    if config.train.async_queue_size == 1:
        return None
    return (
        f"--train.async_queue_size {config.train.async_queue_size}: one batch is generated ahead, so that weights are "
        "at most one sync old; leave it at 1"
    )


def evaluation_has_data(config: Config) -> str | None:
    if config.eval.steps < 1 or config.eval.dataset:
        return None
    return f"--eval.steps {config.eval.steps} needs --eval.dataset: give it, or leave the former out"


def token_records_hold_a_group(config: Config) -> str | None:
    most, num_samples = config.logger.tokens_max_rows, config.rollout.n_samples_per_prompt
    if config.logger.tokens_every == 0 or most >= num_samples:
        return None
    return (
        f"--logger.tokens_max_rows {most} is below --rollout.n_samples_per_prompt {num_samples}, and records hold "
        "whole groups: raise it, or turn the records off with --logger.tokens_every 0"
    )


def weights_reach_the_engines(config: Config) -> str | None:
    """Refuse shards: a sync sends parameters as the policy has them, and engines cannot take these."""
    if config.ds.tensor_parallel_size > 1:
        return (
            f"--ds.tensor_parallel_size {config.ds.tensor_parallel_size}: rollout engines cannot take shards of "
            "weights; leave it at 1, and share large models out with --ds.zero_stage 3"
        )
    return None


def trackio_is_installed(config: Config) -> str | None:
    if config.logger.trackio.enable and importlib.util.find_spec("trackio") is None:
        return "--logger.trackio.enable needs a package that is not installed: pip install trackio"
    return None


def wandb_has_a_key(config: Config) -> str | None:
    """Ask wandb itself: its key may also come from `wandb login`, and some of its modes need none."""
    if not config.logger.wandb.enable:
        return None
    import wandb  # takes a second
    from wandb.sdk.lib import wbauth

    settings, problem = wandb.Settings(), "finds no key"
    if "WANDB_DISABLED" in os.environ:
        problem += " (wandb does not read WANDB_DISABLED)"
    try:
        settings.update_from_env_vars(dict(os.environ))
        if settings.mode in ("disabled", "offline", "dryrun") or wbauth.authenticate_session(
            host=settings.base_url, source="", prompt=False, update_session=False
        ):
            return None
    except (ValueError, wandb.errors.Error) as error:
        problem = f"does not start: {error}".replace("\n", " ")
    return (
        f"--logger.wandb.enable {problem}; run `wandb login`, or set the environment variable WANDB_API_KEY, or "
        "WANDB_MODE=offline or disabled"
    )


# Ranges come first: later rules divide by what they have seen to be positive.
RULES: tuple[Callable[[Config], str | None], ...] = (
    values_in_range,
    model_given,
    dataset_given,
    run_folder_is_a_path,
    token_weighting_exists,
    attention_exists,
    reward_given,
    components_have_names_of_their_own,
    weights_name_components,
    response_fits_context,
    pixel_limits_are_a_range,
    reward_range_is_a_range,
    length_penalty_fits_response,
    groups_have_several_responses,
    token_weights_keep_off_the_kl,
    corrections_combine,
    one_batch_is_generated_ahead,
    evaluation_has_data,
    placement.updates_are_whole,
    placement.train_micro_batches_are_whole,
    placement.rollout_micro_batches_are_whole,
    placement.ranks_share_micro_batches,
    placement.colocated_models_match,
    placement.colocated_engines_match,
    placement.sleep_is_possible,
    placement.packed_transfer_is_possible,
    token_records_hold_a_group,
    weights_reach_the_engines,
    adapters.adapters_combine,
    one_pass_is_enough,
    trackio_is_installed,
    wandb_has_a_key,
)
