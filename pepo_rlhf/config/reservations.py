"""What a run reserves of a Ray cluster: the arithmetic of controller/placement.py, without Ray.

`args` is the namespace of `to_arguments`, or a Config.
"""

from __future__ import annotations

from typing import Any


def shortfall(args: Any, nodes: list[dict[str, float]]) -> str | None:
    """Why a run can never be placed on nodes with these resources, with the arithmetic; None if it can be.

    Each reserved GPU comes with a CPU of the same node, also where models share it: then each takes 0.2 of both. The
    trainer reserves nothing, and starts on a node whose CPUs are all taken.
    """
    required = required_gpus(args)
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    pairs = sum(min(int(node.get("GPU", 0)), int(node.get("CPU", 0))) for node in nodes)
    if gpus < required:
        return f"the run reserves {required} GPUs ({arithmetic(args)}), the Ray cluster has {gpus}"
    if pairs < required:
        return (
            f"the run reserves {required} GPUs with a CPU each ({arithmetic(args)}), the Ray cluster has {gpus} GPUs, "
            f"of which {pairs} have a CPU beside them: start its nodes with more --num-cpus"
        )
    return None


def required_gpus(args: Any) -> int:
    """GPUs that the actors reserve together, each with a CPU."""
    return sum(reservations(args).values())


def reservations(args: Any) -> dict[str, int]:
    """GPUs by who reserves them. Those who share a GPU take 0.2 of it each (controller/placement.py)."""
    policy = args.actor.num_nodes * args.actor.num_gpus_per_node
    reference = args.ref.num_nodes * args.ref.num_gpus_per_node if args.algo.kl.init_coef > 0 else 0
    rollout = args.vllm.num_engines * args.vllm.tensor_parallel_size
    if args.train.colocate_all and not args.train.async_enable:
        return {"policy, reference and rollout on the same": policy}
    if args.train.colocate_all or args.train.colocate_actor_ref:
        return {"policy and reference on the same": policy, "rollout": rollout}
    return {"policy": policy, "reference": reference, "rollout": rollout}


def arithmetic(args: Any) -> str:
    """The reservations as a sum, and the flags that decide on them."""
    terms = " + ".join(f"{name} {num_gpus}" for name, num_gpus in reservations(args).items())
    return (
        f"{terms}; --actor {args.actor.num_nodes} x {args.actor.num_gpus_per_node}, "
        f"--ref {args.ref.num_nodes} x {args.ref.num_gpus_per_node}, "
        f"--vllm {args.vllm.num_engines} x {args.vllm.tensor_parallel_size}, "
        f"--train.colocate_all {args.train.colocate_all}, --train.colocate_actor_ref {args.train.colocate_actor_ref}"
    )
