"""The parts of the scaling model that can be checked without a GPU, against the real architecture."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from benchmarks import scaling
from benchmarks.scaling import SHAPES, Shape, Step, memory_gib, seconds, work
from pepo_rlhf.workers.adapters import target_layers

DOCUMENT = Path(__file__).parents[2] / "docs" / "scaling.md"


def build(shape: Shape, device: str, vision_intermediate: int = 3420, vision_depth: int = 32):
    head = shape.hidden // shape.heads // 2
    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": shape.hidden,
            "num_hidden_layers": shape.layers,
            "intermediate_size": shape.intermediate,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.key_value_heads,
            "vocab_size": shape.vocabulary,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [head - 2 * (head * 3 // 8), head * 3 // 8, head * 3 // 8],
            },
        },
        vision_config={
            "depth": vision_depth,
            "hidden_size": 1280,
            "intermediate_size": vision_intermediate,
            "out_hidden_size": shape.hidden,
        },
        tie_word_embeddings=shape.tied,
    )
    config._attn_implementation = "eager"  # its products are counted on a CPU
    with torch.device(device):
        return Qwen2_5_VLForConditionalGeneration(config)


@pytest.mark.parametrize("name", SHAPES)
def test_parameters_are_those_of_the_architecture(name):
    model = build(SHAPES[name], "meta", 3456 if name == "72B" else 3420)
    vision = sum(weight.numel() for weight in model.model.visual.parameters())
    total = sum(weight.numel() for weight in model.parameters())  # a tied table counts once
    assert vision == SHAPES[name].vision_parameters
    assert total - vision == SHAPES[name].parameters


@pytest.mark.parametrize("name", SHAPES)
def test_adapters_are_those_of_all_linear(name):
    model = build(SHAPES[name], "meta")
    layers = [model.get_submodule(layer) for layer in target_layers(model, "all-linear")]
    expected = sum(16 * (layer.in_features + layer.out_features) for layer in layers)
    assert SHAPES[name].adapter_parameters(16) == expected
    one_gpu = memory_gib(SHAPES[name], Step(1, lora_rank=16))
    assert one_gpu["optimiser"] * 2**30 == 12 * expected and one_gpu["reference"] == 0


def test_flops_are_those_that_torch_counts():
    shape = Shape(64, 3, 96, 4, 2, 500, True, 0)
    model = build(shape, "cpu", vision_intermediate=64, vision_depth=1)
    sequences = torch.randint(10, 100, (1, 40))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(sequences)
    assert counter.get_total_flops() == pytest.approx(shape.body_flops(40) + shape.head_flops(40), rel=0.01)


def test_a_sync_moves_the_bytes_of_the_weights_file(tmp_path):
    """Of those that are trained, whole, to each GPU of an engine."""
    shape = Shape(64, 3, 96, 4, 2, 500, False, vision_parameters=123_456)
    model = build(shape, "cpu", vision_intermediate=64, vision_depth=1).bfloat16()
    save_file({n: w for n, w in model.named_parameters() if "visual" not in n}, tmp_path / "weights.safetensors")
    header = 10_000  # names and shapes
    moved = work(shape, Step(8, engine_gpus=4))["sync"]
    assert (tmp_path / "weights.safetensors").stat().st_size == pytest.approx(moved, abs=header)


def test_decoding_reads_the_cache_that_transformers_keeps():
    shape = Shape(64, 3, 96, 4, 2, 500, True, 0)
    model = build(shape, "cpu", vision_intermediate=64, vision_depth=1).bfloat16()
    with torch.no_grad():
        cache = model(torch.randint(10, 100, (1, 40)), use_cache=True).past_key_values
    num_bytes = sum(tensor.nbytes for layer in cache.layers for tensor in (layer.keys, layer.values))
    weights = work(shape, Step(8, responses_per_gpu=0, prompt=0, response=2))["generation"]
    step = Step(8, responses_per_gpu=1, prompt=39, response=2)  # contexts of 39 and 41 tokens: two of 40 on average
    assert work(shape, step)["generation"] - weights == pytest.approx(2 * num_bytes)


def test_shards_of_all_gpus_make_the_whole():
    shape = SHAPES["7B"]
    whole = 2 * (shape.parameters + shape.vision_parameters) / 2**30
    assert memory_gib(shape, Step(64, zero_stage=2))["policy weights"] == pytest.approx(whole)
    assert 64 * memory_gib(shape, Step(64, zero_stage=3))["policy weights"] == pytest.approx(whole)


@pytest.mark.parametrize(
    ("zero_stage", "micro_batch", "transfers"),
    [
        (2, 1, 9),  # 8 micro-batches reduce their gradients, the optimiser's step gathers
        (2, 8, 2),
        (3, 1, 40),  # policy and reference gather for 8 experience forwards; 8 updates gather twice and reduce
        (3, 4, 10),
    ],
)
def test_every_micro_batch_communicates(zero_stage, micro_batch, transfers):
    shape = SHAPES["7B"]
    step = Step(2, responses_per_gpu=8, micro_batch=micro_batch, zero_stage=zero_stage)
    assert work(shape, step)["communication"] == pytest.approx(transfers * shape.parameters)  # 2 bytes, half of them


def test_the_document_has_the_tables_that_are_printed(capsys):
    scaling.main()
    printed = [line for line in capsys.readouterr().out.splitlines() if line]
    assert len(printed) > 20
    assert [line for line in DOCUMENT.read_text().splitlines() if line in set(printed)] == printed


def test_an_update_costs_two_experience_forwards():
    phases = seconds(SHAPES["3B"], Step(8))
    assert phases["update"] == pytest.approx(2 * phases["experience"])  # policy and reference are two forwards
