"""What token scores cost at Qwen2.5-VL-3B shapes: the core against the authors' formula, and inside a policy forward.

    python benchmarks/token_scores.py [--forward] [--repeats 10]

Every comparison is made side by side in one process; medians and ratios are printed. `--forward` builds a Qwen2.5-VL-3B
with random weights and needs a GPU with 24 GiB. Needs torch and transformers only.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from pepo_rlhf.core import VisualSimilarity, token_weights, visual_similarity
from pepo_rlhf.workers.hidden_states import stream_hidden_states

ENTRIES, BATCH, POSITIONS, VISUAL, RESPONSE, HIDDEN, VOCABULARY = 37, 2, 1500, 400, 1000, 2048, 151_936
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def authors_formula(hidden_states, vision_mask: torch.Tensor) -> torch.Tensor:
    """The formula taken literally, as the authors do: a [T, N] matrix of cosines a layer, in the model's dtype."""
    total = 0.0
    for layer in hidden_states:
        unit = torch.nn.functional.normalize(layer, dim=-1)
        rows = [unit[b, -RESPONSE:] @ unit[b, vision_mask[b]].T for b in range(layer.shape[0])]
        total = total + torch.stack([row.mean(-1) for row in rows])
    return total / len(hidden_states)


def measure(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, tuple[float, float]]:
    """Median milliseconds and peak extra MiB (CUDA only) of each function; rounds are interleaved."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    peaks = dict.fromkeys(functions, 0.0)
    for repeat in range(repeats + 2):  # the first two warm up
        for name, function in functions.items():
            if DEVICE == "cuda":
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
                before = torch.cuda.memory_allocated()
            start = time.perf_counter()
            function()
            if DEVICE == "cuda":
                torch.cuda.synchronize()
                peaks[name] = (torch.cuda.max_memory_allocated() - before) / 2**20
            if repeat >= 2:
                times[name].append((time.perf_counter() - start) * 1000)
    return {name: (statistics.median(times[name]), peaks[name]) for name in functions}


def report(title: str, results: dict[str, tuple[float, float]]) -> None:
    base = next(iter(results.values()))[0]
    print(f"\n{title}\n{'':44}{'ms':>10}{'ratio':>8}{'MiB':>10}")
    for name, (milliseconds, mebibytes) in results.items():
        print(f"{name:44}{milliseconds:>10.2f}{milliseconds / base:>8.3f}{mebibytes:>10.1f}")


def bench_core(repeats: int) -> None:
    torch.manual_seed(0)
    states = [torch.randn(BATCH, POSITIONS, HIDDEN, device=DEVICE, dtype=torch.bfloat16) for _ in range(ENTRIES)]
    mask = torch.zeros(BATCH, POSITIONS, dtype=torch.bool, device=DEVICE)
    mask[:, 20 : 20 + VISUAL] = True
    ours = visual_similarity(states, mask)[:, -RESPONSE:]
    exact = authors_formula([state.double() for state in states], mask)
    print(f"largest error of visual_similarity against float64: {(ours - exact).abs().max().item():.1e}")
    report(
        f"visual similarity, {ENTRIES} entries x [{BATCH}, {POSITIONS}, {HIDDEN}] bfloat16, {VISUAL} image tokens",
        measure(
            {
                "authors' formula": lambda: authors_formula(states, mask),
                "visual_similarity": lambda: visual_similarity(states, mask),
                "copy of the same bytes": lambda: [state.clone() for state in states],
            },
            repeats,
        ),
    )
    scores = torch.rand(2, BATCH, RESPONSE, device=DEVICE)
    valid = torch.ones(BATCH, RESPONSE, dtype=torch.bool, device=DEVICE)
    logits = torch.randn(BATCH, 200, VOCABULARY, device=DEVICE, dtype=torch.bfloat16)
    report(
        "the other steps",
        measure(
            {
                f"token_entropy of [{BATCH}, 200, {VOCABULARY}]": lambda: token_entropy(logits),
                f"token_weights of [{BATCH}, {RESPONSE}]": lambda: token_weights(scores[0], scores[1], valid),
            },
            repeats,
        ),
    )


def build_model():
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": VOCABULARY,
            "hidden_size": HIDDEN,
            "intermediate_size": 11008,
            "num_hidden_layers": ENTRIES - 1,
            "num_attention_heads": 16,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        },
        vision_config={"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "out_hidden_size": HIDDEN},
        tie_word_embeddings=True,
    )
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(DEVICE):
        model = Qwen2_5_VLForConditionalGeneration(config).eval()
    torch.set_default_dtype(torch.float32)
    return model


def bench_forward(repeats: int) -> None:
    model = build_model()
    config = model.config
    ids = torch.randint(0, 150_000, (BATCH, POSITIONS), device=DEVICE)
    ids[:, 20 : 20 + VISUAL] = config.image_token_id
    mask = ids == config.image_token_id
    grid = torch.tensor([[1, 40, 40]] * BATCH, device=DEVICE)  # 1600 patches, 400 tokens after the 2 x 2 merge
    pixels = torch.randn(1600 * BATCH, 1176, device=DEVICE, dtype=torch.bfloat16)
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": pixels,
        "image_grid_thw": grid,
        "mm_token_type_ids": mask.int(),
    }

    def log_probs(logits: torch.Tensor) -> torch.Tensor:
        logits = logits.float()  # as OpenRLHF: float32 logits of every position
        taken = logits[:, :-1].gather(-1, ids[:, 1:, None])[..., 0]
        return taken - torch.stack([row.logsumexp(-1) for row in logits])[:, :-1]

    def stock():
        return log_probs(model(**inputs).logits)

    def with_scores():
        similarity = VisualSimilarity(mask)
        with stream_hidden_states(model, similarity.add):
            logits = model(**inputs).logits
        return log_probs(logits), similarity.result(), token_entropy(logits[:, -RESPONSE:])

    def with_hidden_states():
        output = model(**inputs, output_hidden_states=True)
        return log_probs(output.logits), authors_formula(output.hidden_states, mask), token_entropy(output.logits)

    with torch.no_grad():
        results = measure(
            {
                "forward and log-probs": stock,
                "+ streamed similarity and entropy": with_scores,
                "+ hidden-state tuple, authors' formula": with_hidden_states,
            },
            repeats,
        )
    report(f"policy forward, Qwen2.5-VL-3B with random weights, [{BATCH}, {POSITIONS}], bfloat16, sdpa", results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--forward", action="store_true", help="also the forward of a whole model; needs a GPU")
    parser.add_argument("--repeats", type=int, default=10)
    arguments = parser.parse_args()
    print(f"torch {torch.__version__} on {torch.cuda.get_device_name() if DEVICE == 'cuda' else 'CPU'}")
    bench_core(arguments.repeats)
    if arguments.forward:
        bench_forward(arguments.repeats)


if __name__ == "__main__":
    main()
