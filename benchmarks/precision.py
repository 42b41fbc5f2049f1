"""Rounding of PEPO's token weights: bfloat16 arithmetic, as the released code has it, and ours, against float64.

`python -m benchmarks precision` takes synthetic hidden states at the shapes of Qwen2.5-VL-3B;
`python -m benchmarks.precision MODEL DATA` those of a model (a folder or hub id) for the first rows of a data set.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch

from pepo_rlhf.core.signals.visual_similarity import VisualSimilarity
from pepo_rlhf.core.weighting import load_weighting

LAYERS, HIDDEN, VISUAL, RESPONSE = 37, 2048, 256, 437
SPREAD = 0.012  # standard deviation of the similarity over tokens
SETTINGS = {"alpha": 0.05, "temperature": 1.8}


def weights(states: Sequence[torch.Tensor], visual: int, entropy: torch.Tensor, alpha: float, dtype) -> torch.Tensor:
    """Return w [T] by the formula, each operation in `dtype`: all pairs of tokens and image tokens, layer by layer.

    Args:
        states: [visual + T, D] a layer, image tokens first.
        entropy: [T].
    """
    total = torch.zeros(len(entropy), dtype=dtype)
    for layer in states:
        unit = torch.nn.functional.normalize(layer.to(dtype), dim=-1)
        total += (unit[visual:] @ unit[:visual].T).mean(dim=1)
    similarity, entropy = total / len(states), entropy.to(dtype)

    def min_max(values: torch.Tensor) -> torch.Tensor:
        return (values - values.min()) / (values.max() - values.min()).clamp(min=1e-6)

    fused = min_max(similarity) + min_max(entropy)
    gate = 1 + alpha * torch.tanh(fused - fused.mean())
    return torch.softmax(similarity * gate / SETTINGS["temperature"], dim=0) * len(entropy)


def ours(states: Sequence[torch.Tensor], visual: int, entropy: torch.Tensor) -> torch.Tensor:
    """Return w [T] as a run computes it from the same states."""
    is_visual = torch.arange(len(states[0]))[None] < visual
    similarity = VisualSimilarity(is_visual, "cosine", ~is_visual)
    for layer in states:
        similarity.add(layer[None])
    signals = {"visual_similarity": similarity.result()[:, visual:], "entropy": entropy[None].float()}
    return load_weighting("pepo", SETTINGS)(signals, torch.ones(1, len(entropy)))[0]


def synthetic() -> tuple[list[torch.Tensor], int, torch.Tensor]:
    """Return states, number of image tokens and entropies; responses share a direction with the image, more or less."""
    torch.manual_seed(0)
    share = 0.5 + SPREAD * torch.randn(RESPONSE, 1)
    states = []
    for _ in range(LAYERS):
        common = torch.nn.functional.normalize(torch.randn(HIDDEN), dim=0)
        noise = torch.nn.functional.normalize(torch.randn(VISUAL + RESPONSE, HIDDEN), dim=-1)
        portion = torch.cat([torch.ones(VISUAL, 1), share])
        states.append((20 * (portion * common + (1 - portion.clamp(max=0.99) ** 2).sqrt() * noise)).bfloat16())
    return states, VISUAL, torch.rand(RESPONSE) ** 4 * 3


def of_model(model: str, data: str, num_rows: int = 4) -> list[tuple[list[torch.Tensor], int, torch.Tensor]]:
    """Return the same of responses that a model samples to the first rows."""
    import transformers

    from pepo_rlhf.data import decode_image, load_rows
    from pepo_rlhf.data.prompt import encode_prompt, render_prompt
    from pepo_rlhf.data.vision_tokens import vision_token_ids

    processor = transformers.AutoProcessor.from_pretrained(model)
    network = transformers.AutoModelForImageTextToText.from_pretrained(model, dtype=torch.bfloat16).eval()
    visual_ids, cases = torch.tensor(sorted(vision_token_ids(processor))), []

    def inputs(tokens: torch.Tensor, images: dict | None) -> dict:
        kinds = torch.isin(tokens, visual_ids).int()
        return {"input_ids": tokens, **({"mm_token_type_ids": kinds} | images if images else {})}

    for row in load_rows(data, max_samples=num_rows).rows:
        pictures = [decode_image(image) for image in row.images]
        ids, images = encode_prompt(processor, render_prompt(processor, row), pictures, {})
        tokens, length = torch.tensor([ids]), len(ids)
        with torch.no_grad():
            answer = network.generate(**inputs(tokens, images), max_new_tokens=128, do_sample=True, top_k=0)
            output = network(**inputs(answer, images), output_hidden_states=True)
        is_visual = torch.isin(tokens[0], visual_ids).nonzero()[:, 0]
        states = [torch.cat([layer[0, is_visual], layer[0, length:]]) for layer in output.hidden_states]
        log_probs = output.logits[0, length - 1 : -1].float().log_softmax(dim=-1)
        cases.append((states, len(is_visual), -(log_probs.exp() * log_probs).sum(dim=-1)))
    return cases


def compare(title: str, states: list[torch.Tensor], visual: int, entropy: torch.Tensor) -> list[dict]:
    """Return a row for each way to compute the weights, with its error against float64."""
    exact = weights(states, visual, entropy, SETTINGS["alpha"], torch.float64)
    found = {
        "in bfloat16": weights(states, visual, entropy, SETTINGS["alpha"], torch.bfloat16),
        "ours": ours(states, visual, entropy),
        "exact, without the gate": weights(states, visual, entropy, 0.0, torch.float64),
    }
    shape = f"{len(states)} x {states[0].shape[1]}, {len(entropy)} tokens"
    benchmark = f"{title}: {shape}, weights within {exact.std():.1e}"
    return [
        {
            "benchmark": benchmark,
            "variant": name,
            "values": len(values.unique()),
            "mean": values.double().mean().item(),
            "error": (values.double() - exact).square().mean().sqrt().item(),
        }
        for name, values in found.items()
    ]


def run(rounds: int) -> list[dict]:
    return compare("precision of weights", *synthetic())


if __name__ == "__main__":
    from benchmarks.__main__ import print_table

    for number, case in enumerate(of_model(*sys.argv[1:3]), start=1):
        print_table(compare(f"row {number}", *case))
