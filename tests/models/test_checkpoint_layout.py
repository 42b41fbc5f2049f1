"""Weights of mixtures of experts are sent and saved as published checkpoints, and vLLM, hold them."""

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForImageTextToText

from pepo_rlhf.weight_sync.packed import PackedSource
from pepo_rlhf.weight_sync.weights import PolicyWeights

EXPERTS = "model.language_model.layers.0.mlp.experts."
# 4 experts, hidden size 128, 96 wide; gate and up are one matrix. Published: Qwen3-VL has inputs before outputs,
# Qwen3.5 outputs before inputs.
PUBLISHED = {
    "qwen3_vl_moe": {"gate_up_proj": (4, 128, 192), "down_proj": (4, 96, 128)},
    "qwen3_5_moe": {"gate_up_proj": (4, 192, 128), "down_proj": (4, 128, 96)},
}


@pytest.mark.parametrize("family", PUBLISHED)
def test_experts_are_sent_in_checkpoint_layout(family, build_family):
    model, _ = build_family(family)
    weights = PolicyWeights(model, zero_stage=2)
    sent = {name.removeprefix(EXPERTS): tensor for name, tensor in weights if name.startswith(EXPERTS)}
    assert {name: tuple(tensor.shape) for name, tensor in sent.items()} == PUBLISHED[family]
    assert all(tensor.is_contiguous() for tensor in sent.values()), "NCCL sends memory"
    held = model.get_parameter(f"{EXPERTS}down_proj")  # outputs before inputs, as a linear layer
    outputs_first = sent["down_proj"] if family == "qwen3_5_moe" else sent["down_proj"].transpose(1, 2)
    assert outputs_first.equal(held)
    declared = {meta.name: meta.shape for meta in PackedSource(weights).metadata()}
    assert declared == {name: tuple(tensor.shape) for name, tensor in weights}


def test_a_saved_mixture_of_experts_has_the_published_layout_and_is_loaded_again(build_family, tmp_path):
    model, _ = build_family("qwen3_vl_moe")
    model.save_pretrained(tmp_path / "saved")
    with safe_open(tmp_path / "saved" / "model.safetensors", "pt") as file:
        shapes = {name: tuple(file.get_slice(EXPERTS + name).get_shape()) for name in ("gate_up_proj", "down_proj")}
    assert shapes == PUBLISHED["qwen3_vl_moe"]
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path / "saved", dtype=torch.float32)
    torch.testing.assert_close(loaded.state_dict(), model.state_dict(), rtol=0, atol=0)
