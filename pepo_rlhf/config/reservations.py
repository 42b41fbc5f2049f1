"""What a run reserves of a Ray cluster: the arithmetic of controller/placement.py, without Ray."""

from __future__ import annotations

from pepo_rlhf.config.settings import Config


def shortfall(config: Config, nodes: list[dict[str, float]]) -> str | None:
    """Return why a run can never be placed on nodes with these resources, with the arithmetic; None if it can be.

    Each reserved GPU comes with a CPU of the same node, also where models share it: then each takes 0.2 of both.
    """
    required = required_gpus(config)
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    pairs = sum(min(int(node.get("GPU", 0)), int(node.get("CPU", 0))) for node in nodes)
    if gpus < required:
        return f"the run reserves {required} GPUs ({arithmetic(config)}), the Ray cluster has {gpus}"
    if pairs < required:
        return (
            f"the run reserves {required} GPUs with a CPU each ({arithmetic(config)}), the Ray cluster has {gpus} "
            f"GPUs, of which {pairs} have a CPU beside them: start its nodes with more --num-cpus"
        )
    return None


def required_gpus(config: Config) -> int:
    """Return the GPUs that the actors reserve together, each with a CPU."""
    return sum(reservations(config).values())


def reservations(config: Config) -> dict[str, int]:
    """Return the GPUs by who reserves them; those who share a GPU take a part of it each."""
    policy = config.num_policy_ranks
    rollout = config.vllm.num_engines * config.vllm.tensor_parallel_size
    if config.shares_all_gpus:
        return {"policy, reference and rollout on the same": policy}
    if config.num_reference_ranks and (config.train.colocate_all or config.train.colocate_actor_ref):
        return {"policy and reference on the same": policy, "rollout": rollout}
    return {"policy": policy, "reference": config.num_reference_ranks, "rollout": rollout}


def arithmetic(config: Config) -> str:
    """Return the reservations as a sum, and the flags that decide on them."""
    terms = " + ".join(f"{name} {num_gpus}" for name, num_gpus in reservations(config).items())
    return (
        f"{terms}; --actor {config.actor.num_nodes} x {config.actor.num_gpus_per_node}, "
        f"--ref {config.ref.num_nodes} x {config.ref.num_gpus_per_node}, "
        f"--vllm {config.vllm.num_engines} x {config.vllm.tensor_parallel_size}, "
        f"--train.colocate_all {config.train.colocate_all}, "
        f"--train.colocate_actor_ref {config.train.colocate_actor_ref}"
    )
