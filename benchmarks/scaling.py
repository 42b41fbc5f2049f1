"""A step's memory, arithmetic and traffic from model shapes: `python -m benchmarks.scaling` prints the tables.

docs/scaling.md shows and explains them.

Formulas are per step and per GPU. What a CPU can check of them, tests/benchmarks/test_scaling.py checks: parameter
counts and FLOPs against the real architecture, bytes of a sync against the weights' file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from pepo_rlhf.core.distribution import TILE

BYTES = 2  # a bfloat16 weight, gradient or activation
GPU_GIB = 80 * 1e9 / 2**30
OPTIMISER_BYTES = 12  # float32 master weight and Adam's two moments


@dataclass(frozen=True)
class Shape:
    """The language model of a Qwen2.5-VL, and the parameters of its vision tower, which is frozen."""

    hidden: int
    layers: int
    intermediate: int
    heads: int
    key_value_heads: int
    vocabulary: int
    tied: bool
    vision_parameters: int

    @property
    def layer_parameters(self) -> int:
        """Of one decoder layer: q and o, k and v, biases of q, k and v, the gated MLP, two norms."""
        d, kv = self.hidden, self.hidden // self.heads * self.key_value_heads
        return 2 * d * d + 2 * d * kv + d + 2 * kv + 3 * d * self.intermediate + 2 * d

    @property
    def parameters(self) -> int:
        """Of the language model."""
        tables = 1 if self.tied else 2
        return tables * self.vocabulary * self.hidden + self.layers * self.layer_parameters + self.hidden

    def adapter_parameters(self, rank: int) -> int:
        """Of LoRA on all linear layers of the decoder: rank times what goes into and comes out of each."""
        d, kv = self.hidden, self.hidden // self.heads * self.key_value_heads
        return self.layers * rank * (4 * d + 2 * (d + kv) + 3 * (d + self.intermediate))

    def body_flops(self, length: int) -> float:
        """Forward FLOPs of the decoder layers for one sequence: 2 a weight and token, and the two attention products.

        Counts the whole [length, length] of attention, as frameworks do; a causal kernel computes half of it.
        """
        d, kv = self.hidden, self.hidden // self.heads * self.key_value_heads
        matrices = 2 * d * d + 2 * d * kv + 3 * d * self.intermediate
        return self.layers * (2.0 * matrices * length + 4.0 * d * length**2)

    def head_flops(self, positions: int) -> float:
        """Forward FLOPs of the language-model head."""
        return 2.0 * self.hidden * self.vocabulary * positions


SHAPES = {
    "3B": Shape(2048, 36, 11008, 16, 2, 151_936, True, 668_684_288),
    "7B": Shape(3584, 28, 18944, 28, 4, 152_064, False, 676_550_144),
    "72B": Shape(8192, 80, 29568, 64, 8, 152_064, False, 704_573_696),
}


@dataclass(frozen=True)
class Gpu:
    """H100 SXM, and the share of its peaks that a step is assumed to reach."""

    flops: float = 989e12 * 0.40
    memory_bandwidth: float = 3.35e12 * 0.60
    node_link: float = 450e9 * 0.70  # NVLink, bytes a second each way
    network: float = 50e9 * 0.70  # one 400 Gbit/s port a GPU


@dataclass(frozen=True)
class Step:
    """What one step of the paper's recipe does, with a batch that grows with the machine."""

    num_gpus: int
    responses_per_gpu: int = 8
    prompt: int = 600
    response: int = 1000
    micro_batch: int = 1
    zero_stage: int = 2
    engine_gpus: int = 1  # tensor parallel size of an engine
    lora_rank: int = 0  # 0 trains the weights themselves


def memory_gib(shape: Shape, step: Step) -> dict[str, float]:
    """GiB of one GPU that policy, reference and engine share (colocated, the engine asleep while the policy trains)."""
    whole = shape.parameters + shape.vision_parameters
    shards = step.num_gpus if step.zero_stage == 3 else 1
    length = step.prompt + step.response
    adapters = shape.adapter_parameters(step.lora_rank)
    trained = adapters or shape.parameters
    parts = {
        "policy weights": BYTES * (whole + adapters) / shards,
        "gradients": BYTES * trained / step.num_gpus,
        "optimiser": OPTIMISER_BYTES * trained / step.num_gpus,
        "reference": 0 if adapters else BYTES * whole / shards,  # the policy without its adapters
        # Gradient checkpointing keeps a layer's input, and one layer's inside while it is computed again.
        "activations": BYTES * step.micro_batch * length * (shape.layers * shape.hidden + 6 * shape.intermediate),
        "logits, tiles": 2 * BYTES * math.prod(TILE["cuda"]),
        "logits, stock": 3 * 4 * step.micro_batch * length * shape.vocabulary,
    }
    return {name: size / 2**30 for name, size in parts.items()}


def work(shape: Shape, step: Step) -> dict[str, float]:
    """What one GPU of many, all of which do the same, computes (FLOPs) or moves (bytes) in each phase."""
    responses = step.responses_per_gpu
    forward = responses * (shape.body_flops(step.prompt + step.response) + shape.head_flops(step.response))
    # Decoding reads the engine's weights once a token for all of its sequences, and each sequence's keys and values.
    keys_and_values = 2 * BYTES * shape.layers * shape.hidden // shape.heads * shape.key_value_heads
    read = step.response * BYTES * shape.parameters / step.engine_gpus
    read += keys_and_values * responses * step.response * (step.prompt + step.response / 2)
    gather = BYTES * shape.parameters * (step.num_gpus - 1) / step.num_gpus
    micro_batches = math.ceil(responses / step.micro_batch)
    return {
        "generation": read,
        "experience": 2 * forward,
        "update": 4 * forward,  # forward, the checkpointed one once more, backward twice
        # Each micro-batch's gradients are reduced. ZeRO-2 gathers weights once a step, ZeRO-3 for each forward, of
        # policy and reference in experience too, and each backward.
        "communication": gather * (micro_batches + 1 if step.zero_stage == 2 else 5 * micro_batches),
        # Trainable weights, whole ones: a GPU of a tensor parallel engine receives them all and keeps its part.
        "sync": BYTES * shape.parameters,
    }


def seconds(shape: Shape, step: Step, gpu: Gpu | None = None) -> dict[str, float]:
    """Seconds of each phase."""
    gpu = gpu or Gpu()
    link = gpu.node_link if step.num_gpus <= 8 else gpu.network
    rates = [gpu.memory_bandwidth, gpu.flops, gpu.flops, link, link]
    return {phase: amount / rate for (phase, amount), rate in zip(work(shape, step).items(), rates, strict=True)}


def print_table(columns: Iterable[str], rows: Iterable[tuple[str, Iterable[float]]]) -> None:
    """rows: what a line begins with, and its numbers."""
    header = ["model", "GPUs", *columns]
    print("| " + " | ".join(header) + " |\n" + "|---" * len(header) + "|")
    for name, numbers in rows:
        print(f"| {name} | " + " | ".join(f"{number:.1f}" for number in numbers) + " |")
    print()


def main() -> None:
    steps = {
        (name, num_gpus): Step(
            num_gpus, zero_stage=3 if name == "72B" else 2, engine_gpus={"3B": 1, "7B": 1, "72B": 4}[name]
        )
        for name in SHAPES
        for num_gpus in (8, 64, 1024)
    }
    memory = {plan: memory_gib(SHAPES[plan[0]], step) for plan, step in steps.items()}
    zero = {plan: f"{plan[0]} | {plan[1]} | {step.zero_stage} | TP {step.engine_gpus}" for plan, step in steps.items()}
    print_table(["ZeRO", "engine", *memory["3B", 8]], [(zero[plan], parts.values()) for plan, parts in memory.items()])
    with_adapters = {
        f"{name} | {num_gpus} | {rank}": memory_gib(SHAPES[name], Step(num_gpus, lora_rank=rank))
        for name in ("3B", "7B")
        for num_gpus in (1, 8)
        for rank in (16, 64)
    }
    print_table(["rank", *memory["3B", 8]], [(plan, parts.values()) for plan, parts in with_adapters.items()])
    fitting = [plan for plan in steps if sum(memory[plan].values()) - memory[plan]["logits, stock"] < GPU_GIB]
    amounts = {plan: work(SHAPES[plan[0]], steps[plan]) for plan in fitting}
    units = {"generation": "GB", "experience": "TFLOP", "update": "TFLOP", "communication": "GB", "sync": "GB"}
    scales = [1e12 if unit == "TFLOP" else 1e9 for unit in units.values()]
    print_table(
        [f"{phase}, {unit}" for phase, unit in units.items()],
        [
            (
                f"{name} | {num_gpus}",
                [amount / scale for amount, scale in zip(amounts[name, num_gpus].values(), scales, strict=True)],
            )
            for name, num_gpus in fitting
        ],
    )
    phases = {plan: list(seconds(SHAPES[plan[0]], steps[plan]).values()) for plan in fitting}
    print_table(
        [*units, "whole step"], [(f"{name} | {gpus}", [*times, sum(times)]) for (name, gpus), times in phases.items()]
    )


if __name__ == "__main__":
    main()
