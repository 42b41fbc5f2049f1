"""Which layers get adapters, and the model without them."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from pepo_rlhf.weight_sync.weights import PolicyWeights
from pepo_rlhf.workers.adapters import add_adapters, target_layers, without_adapters

DECODER = "model.language_model"
ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj"}


@pytest.fixture
def qwen(build):
    return build("qwen2_5_vl")


def last_names(layers):
    return {layer.rpartition(".")[2] for layer in layers}


def test_all_linear_is_the_language_model_without_vision_tower_and_head(vision_case):
    layers = target_layers(vision_case[0], "all-linear")
    assert all(layer.startswith(f"{DECODER}.layers.") for layer in layers)
    assert last_names(layers) == ATTENTION | {"gate_proj", "up_proj", "down_proj"}
    assert len(layers) == 3 * 7, "three layers of seven"


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (["q_proj"], [f"{DECODER}.layers.{layer}.self_attn.q_proj" for layer in range(3)]),
        ("layers.1.self_attn.v_proj", [f"{DECODER}.layers.1.self_attn.v_proj"]),
        (["visual.merger"], ["model.visual.merger.mlp.0", "model.visual.merger.mlp.2"]),
        (["qkv"], ["model.visual.blocks.0.attn.qkv", "model.visual.blocks.1.attn.qkv"]),
    ],
)
def test_targets_by_name(qwen, targets, expected):
    assert target_layers(qwen, targets) == expected


def test_a_name_that_both_have_means_the_language_model(build):
    """InternVL's vision tower has layers called q_proj, too."""
    model = build("internvl")
    assert any("vision_tower" in name and name.endswith("q_proj") for name, _ in model.named_modules())
    assert all(layer.startswith(DECODER) for layer in target_layers(model, ["q_proj"]))
    assert any("vision_tower" in layer for layer in target_layers(model, ["q_proj", "vision_tower"]))


@pytest.mark.parametrize("target", ["query", "lm_head", "embed_tokens", "proj", ""])
def test_a_name_of_no_layer_is_refused_with_those_that_there_are(qwen, target):
    if target == "proj":  # a whole name: not the end of q_proj, but the vision tower's
        assert last_names(target_layers(qwen, [target])) == {"proj"}
        return
    with pytest.raises(
        ValueError, match=f"^--ds.lora.target_modules {target}: .* no linear layer of that name.*q_proj"
    ):
        target_layers(qwen, [target])


def test_experts_are_refused(build):
    with torch.device("meta"):
        model = build("qwen3_vl_moe")
    for target in ("all-linear", "mlp", "experts"):
        with pytest.raises(ValueError, match=rf"target_modules {target} takes in .*experts.*three dimensions.*q_proj"):
            target_layers(model, [target])
    assert last_names(target_layers(model, sorted(ATTENTION))) == ATTENTION


def test_only_adapters_are_trained_and_b_begins_at_0(qwen):
    add_adapters(qwen, rank=3, alpha=6, dropout=0.0, targets=["q_proj"])
    trained = {name: weight for name, weight in qwen.named_parameters() if weight.requires_grad}
    assert all("q_proj.lora_" in name for name in trained) and len(trained) == 2 * 3
    assert [weight.shape[0] for name, weight in trained.items() if "lora_A" in name] == [3] * 3
    assert not any(weight.any() for name, weight in trained.items() if "lora_B" in name)
    assert qwen.model.language_model.layers[0].self_attn.q_proj.scaling == {"default": 6 / 3}


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_changes_no_gradient(qwen, reentrant):
    add_adapters(qwen, rank=2, alpha=4, dropout=0.0)
    trained = [weight for weight in qwen.parameters() if weight.requires_grad]
    for weight in trained:
        torch.nn.init.normal_(weight, std=0.1)
    gradients = []
    for enable in (lambda: None, lambda: qwen.gradient_checkpointing_enable({"use_reentrant": reentrant})):
        enable()
        qwen.train().zero_grad()
        qwen(torch.arange(12)[None]).logits.square().sum().backward()
        gradients.append([weight.grad.clone() for weight in trained])
    for plain, checkpointed in zip(*gradients, strict=True):
        assert plain.any()
        torch.testing.assert_close(checkpointed, plain)


def test_without_adapters_the_model_is_the_base_model(case):
    model, inputs, _ = case
    before = model(**inputs).logits
    add_adapters(model, rank=2, alpha=4, dropout=0.0)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in trained:
        torch.nn.init.normal_(weight, std=0.1)
    changed = model(**inputs).logits
    with without_adapters(model):
        assert model(**inputs).logits.equal(before)
    assert model(**inputs).logits.equal(changed) and not changed.equal(before)
    assert all(weight.requires_grad for weight in trained)


def test_a_merged_model_is_saved_under_the_names_of_the_base_model(vision_case, tmp_path):
    """As the policy worker saves it."""
    model, _ = vision_case
    model.save_pretrained(tmp_path / "base")
    add_adapters(model, rank=2, alpha=4, dropout=0.0)
    for weight in model.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.1)
    model.save_pretrained(tmp_path / "merged", state_dict=dict(PolicyWeights(model, zero_stage=2).as_in_model()))
    base, merged = (load_file(tmp_path / name / "model.safetensors") for name in ("base", "merged"))
    assert base.keys() == merged.keys()
    changed = {name for name in base if not base[name].equal(merged[name])}
    assert len(changed) == 3 * 7 and not any("vis" in name for name in changed)
    tokens = torch.arange(12)[None]
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged").eval()
    torch.testing.assert_close(loaded(tokens).logits, model(tokens).logits, atol=1e-5, rtol=1e-5)
