"""Rules on how batches divide into ranks and micro batches, and on which models share GPUs. See validate.py."""

from __future__ import annotations

from pepo_rlhf.config.settings import Config


def updates_are_whole(config: Config) -> str | None:
    if config.num_responses % config.train.batch_size == 0:
        return None
    return (
        f"--rollout.batch_size x --rollout.n_samples_per_prompt is {config.num_responses} responses, which do not "
        f"divide into updates of --train.batch_size {config.train.batch_size}: change one of them"
    )


def train_micro_batches_are_whole(config: Config) -> str | None:
    ranks = config.num_policy_ranks
    micro_batch_size = 1 if config.train.dynamic_batch_enable else config.train.micro_batch_size
    if config.train.batch_size % (micro_batch_size * ranks) == 0:
        return None
    return (
        f"--train.batch_size {config.train.batch_size} does not divide into micro batches of {micro_batch_size} on "
        f"{ranks} policy ranks: change it, --train.micro_batch_size or the --actor GPUs"
    )


def rollout_micro_batches_are_whole(config: Config) -> str | None:
    if config.train.dynamic_batch_enable or config.num_responses % config.rollout.micro_batch_size == 0:
        return None
    return (
        f"--rollout.batch_size x --rollout.n_samples_per_prompt is {config.num_responses} responses, which do not "
        f"divide by --rollout.micro_batch_size {config.rollout.micro_batch_size}: change one of them"
    )


def ranks_share_micro_batches(config: Config) -> str | None:
    """Unequal counts leave a rank waiting in a collective for ever."""
    num_batches = config.num_responses // config.rollout.micro_batch_size
    if config.train.dynamic_batch_enable:  # forms some multiple of the policy's ranks
        num_batches = config.num_policy_ranks
    ranks_of = {"actor": config.num_policy_ranks}
    if config.num_reference_ranks:
        ranks_of["ref"] = config.num_reference_ranks
    for name, ranks in ranks_of.items():
        if num_batches % ranks:
            return (
                f"{num_batches} rollout micro batches (--rollout.batch_size x --rollout.n_samples_per_prompt / "
                f"--rollout.micro_batch_size) do not divide by the {ranks} ranks of --{name}: change one of them"
            )
    return None


def colocated_models_match(config: Config) -> str | None:
    if not config.num_reference_ranks or not (config.train.colocate_all or config.train.colocate_actor_ref):
        return None
    if (config.actor.num_nodes, config.actor.num_gpus_per_node) == (config.ref.num_nodes, config.ref.num_gpus_per_node):
        return None
    return (
        "--train.colocate_all and --train.colocate_actor_ref put policy and reference on the same GPUs: give "
        "--ref.num_nodes and --ref.num_gpus_per_node the values of --actor"
    )


def colocated_engines_match(config: Config) -> str | None:
    if not config.shares_all_gpus:
        return None
    policy = config.num_policy_ranks
    engines = config.vllm.num_engines * config.vllm.tensor_parallel_size
    if policy == engines:
        return None
    return (
        f"--train.colocate_all puts policy and vLLM on the same GPUs, but --actor has {policy} and --vllm.num_engines "
        f"x --vllm.tensor_parallel_size is {engines}: make them equal"
    )


def sleep_is_possible(config: Config) -> str | None:
    for name, enabled in (("vllm", config.vllm.enable_sleep), ("ds", config.ds.enable_sleep)):
        if enabled and not config.train.colocate_all:
            return f"--{name}.enable_sleep frees memory on shared GPUs only: set --train.colocate_all, or leave it out"
    if config.vllm.enable_sleep and config.train.async_enable:
        return "--vllm.enable_sleep stops the engines that --train.async_enable keeps busy: leave one of them out"
    return None


def packed_transfer_is_possible(config: Config) -> str | None:
    if not (config.vllm.packed_weight_transfer and config.shares_all_gpus):
        return None
    return (
        "--vllm.packed_weight_transfer sends over NCCL, which has no two ranks on one GPU: leave it out with "
        "--train.colocate_all"
    )
