"""Weights merged with adapters: values by hand, and the base model's names."""

from __future__ import annotations

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from pepo_rlhf.weight_sync.packed import PackedSource
from pepo_rlhf.weight_sync.weights import PolicyWeights, merge
from pepo_rlhf.workers.adapters import add_adapters

TEXT = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Qwen2ForCausalLM(Qwen2Config(**TEXT, **HEADS))


def test_merged_weight_by_hand():
    """alpha 4, rank 2: scale 2. b @ a = [[1, 2, 0], [3, 6, 1]]."""
    weight = torch.tensor([[1.0, 0, 0], [0, 1, 0]])
    a, b = torch.tensor([[1.0, 2, 0], [0, 0, 1]]), torch.tensor([[1.0, 0], [3, 1]])
    assert merge(weight, a, b, 2.0).tolist() == [[3, 4, 0], [6, 13, 2]]
    assert weight.tolist() == [[1, 0, 0], [0, 1, 0]], "the frozen weight stays"


def test_bfloat16_is_rounded_once_and_at_the_end():
    """bfloat16 has 8 significant bits: between 1 and 2 its values are 2**-7 apart."""
    weight, one = torch.ones(1, 1, dtype=torch.bfloat16), torch.ones(1, 1, dtype=torch.bfloat16)

    def merged(*deltas):
        a = torch.tensor(deltas, dtype=torch.bfloat16)[:, None]
        return merge(weight, a, one.expand(1, len(deltas)), 1.0).item()

    assert merged(2**-7) == 1 + 2**-7
    assert merged(2**-9) == 1, "less than half a step is lost, as in any bfloat16 weight"
    assert merged(2**-9, 2**-9, 2**-9) == 1 + 2**-7, "but it counts where others add to it"


def test_float32_keeps_a_change_of_1e_6():
    assert merge(torch.ones(1, 1), torch.ones(1, 1), torch.full((1, 1), 1e-6), 1.0).item() == pytest.approx(1 + 1e-6)


def test_names_are_those_of_the_base_model_and_untrained_adapters_change_nothing(model):
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    add_adapters(model, rank=2, alpha=4, dropout=0.0)
    weights = PolicyWeights(model, zero_stage=2)
    assert [name for name, _ in weights] == list(before)
    assert all(weight.equal(before[name]) for name, weight in weights)
    linear = {name for name in before if "proj.weight" in name}
    assert len(linear) == 2 * 7 and weights.trained == linear
    assert {name for name, _ in PolicyWeights(model, zero_stage=2, only_trained=True)} == linear


def test_a_packed_transfer_declares_the_base_models_weights_as_it_sends_them(model):
    before = {name: (weight.dtype, tuple(weight.shape)) for name, weight in model.bfloat16().named_parameters()}
    add_adapters(model, rank=2, alpha=4, dropout=0.0)
    source = PackedSource(PolicyWeights(model, zero_stage=2))
    assert {meta.name: (meta.dtype, meta.shape) for meta in source.metadata()} == before
    assert {name: (weight.dtype, tuple(weight.shape)) for name, weight in source} == before


def test_a_base_model_with_the_merged_weights_computes_what_the_policy_does(model):
    tokens = torch.arange(12)[None]
    add_adapters(model, rank=2, alpha=4, dropout=0.0, targets=["q_proj", "mlp"])
    for weight in model.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.1)
    base = Qwen2ForCausalLM(model.config)
    before = base(tokens).logits
    base.load_state_dict(dict(PolicyWeights(model, zero_stage=2)), strict=False)
    torch.testing.assert_close(base(tokens).logits, model(tokens).logits, atol=1e-5, rtol=1e-5)
    assert (base(tokens).logits - before).abs().max() > 0.1


def test_a_bfloat16_engine_is_as_near_to_exact_arithmetic_as_the_policy(model):
    """Both round: the policy the outputs of layer and adapter, the engine the merged weight."""
    tokens = torch.arange(60).view(4, 15)
    model = model.bfloat16()
    add_adapters(model, rank=8, alpha=16, dropout=0.0)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    engine = Qwen2ForCausalLM(model.config).bfloat16()
    engine.load_state_dict(dict(PolicyWeights(model, zero_stage=2)), strict=False)
    policy_logits, engine_logits = (made(tokens).logits.float() for made in (model, engine))
    exact = model.float()(tokens).logits
    policy_error, engine_error = ((logits - exact).abs().mean() for logits in (policy_logits, engine_logits))
    assert 0 < engine_error < 1.5 * policy_error
