"""Response-only, tiled scores against upstream's own Actor, which makes logits of every position."""

import pytest
import torch
from openrlhf.models import Actor

from pepo_rlhf.core import distribution
from pepo_rlhf.workers.model import VisionLanguageActor

TEMPERATURE = 0.7


@pytest.fixture
def actors(case, monkeypatch):
    """Upstream's actor and ours around one model, and a batch; ours works in tiles of two tokens by 50 entries."""
    model, inputs, vision_mask = case
    monkeypatch.setitem(distribution.TILE, "cpu", (2, 50))
    pair = Actor(model, temperature=TEMPERATURE), VisionLanguageActor(model, temperature=TEMPERATURE)
    for actor in pair:
        actor.is_vlm, actor._vlm_config, actor.packing_samples = "pixel_values" in inputs, model.config, False
    sequences = inputs.pop("input_ids")
    inputs.pop("mm_token_type_ids", None)  # both build it for prompt and response
    action_mask = torch.zeros(2, 11, dtype=torch.long)
    action_mask[0, 6:9] = action_mask[1, 7:11] = 1
    return pair, (sequences, action_mask, torch.ones_like(sequences)), inputs


def both(actors, **flags):
    pair, batch, images = actors
    return [actor(*batch, **images, **flags) for actor in pair], batch[1].bool()


def test_log_probs_equal_upstreams(actors):
    with torch.no_grad():
        (stock, ours), mask = both(actors)
    assert ours.dtype == stock.dtype == torch.float32
    assert (ours[mask] < 0).all()
    torch.testing.assert_close(ours, stock, rtol=1e-5, atol=1e-6)


def test_entropies_equal_upstreams(actors):
    with torch.no_grad():
        ((_, stock), (_, ours)), mask = both(actors, return_output=True, return_entropy=True)
    torch.testing.assert_close(ours.entropy[mask], stock.entropy[mask], rtol=1e-5, atol=1e-6)
    assert (ours.entropy[~mask] == 0).all()


@pytest.mark.parametrize("entropy_coef", [0.0, 0.3])
def test_gradients_equal_upstreams(actors, entropy_coef):
    pair, _, _ = actors
    results, mask = both(actors, return_output=True, return_entropy=entropy_coef > 0)
    gradients = []
    token_gradient = torch.linspace(-1, 1, mask.numel()).view(mask.shape)
    for log_probs, output in results:
        loss = (log_probs * token_gradient).sum()
        if entropy_coef:
            loss = loss + entropy_coef * (output.entropy * mask).sum()
        parameters = dict(pair[0].model.named_parameters())
        gradients.append(torch.autograd.grad(loss, list(parameters.values()), allow_unused=True))
    for name, stock, ours in zip(parameters, *gradients, strict=True):
        if stock is None:
            assert ours is None, name
        else:
            torch.testing.assert_close(ours, stock, rtol=1e-4, atol=1e-6, msg=name)


def test_a_batch_without_response_tokens_scores_nothing(actors):
    (_, ours), (sequences, action_mask, attention_mask), images = actors
    log_probs = ours(sequences, torch.zeros_like(action_mask), attention_mask, **images)
    assert (log_probs == 0).all()
    log_probs.sum().backward()


def test_the_head_is_itself_again_afterwards(actors):
    (_, ours), batch, images = actors
    head = ours.model.get_output_embeddings()
    ours(*batch, **images)
    assert head(torch.zeros(1, head.in_features)).shape == (1, head.out_features)


@pytest.mark.parametrize("head", [torch.nn.Linear(8, 16), torch.nn.Sequential(torch.nn.Linear(8, 16, bias=False))])
def test_a_head_that_is_more_than_a_weight_is_refused(actors, head, monkeypatch):
    (_, ours), batch, images = actors
    monkeypatch.setattr(ours.model, "get_output_embeddings", lambda: head)
    with pytest.raises(ValueError, match=f"a head of type {type(head).__name__}: only a linear layer without bias"):
        ours(*batch, **images)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_image_dependence_and_sensitivity_equal_the_definition_over_whole_logits(actors, dtype):
    """With two images, padding on the right of a row, and another image of noise for each."""
    (stock, ours), (sequences, action_mask, attention_mask), images = actors
    if "pixel_values" not in images:
        pytest.skip("a model of text alone")
    ours.model.to(dtype)
    attention_mask = attention_mask.clone()
    attention_mask[0, 10:] = 0  # behind the first row's response
    images["pixel_values"] = images["pixel_values"].to(dtype)
    perturbed = images | {"pixel_values": torch.randn_like(images["pixel_values"])}
    batch = (sequences, action_mask, attention_mask)
    scores = ours.score(*batch, None, None, perturbed, **images)
    with torch.no_grad():
        both_logits = [
            ours.model(input_ids=sequences, attention_mask=attention_mask, **extra(ours, sequences), **tensors).logits
            for tensors in (images, perturbed)
        ]
    true, other = ((logits[:, :-1].double() / TEMPERATURE).log_softmax(-1) for logits in both_logits)
    mask = action_mask.bool()
    divergence = (true.exp() * (true - other)).sum(-1)
    change = (true - other).gather(-1, sequences[:, 1:, None])[..., 0].abs()
    # The model's own logits are rounded to bfloat16, of which these are sums.
    tolerance = {"atol": 1e-5, "rtol": 1e-4} if dtype == torch.float32 else {"atol": 0.02, "rtol": 0.05}
    assert divergence[mask].min() > 1e-5, "the images make a difference"
    torch.testing.assert_close(scores.signals["image_dependence"][mask].double(), divergence[mask], **tolerance)
    torch.testing.assert_close(scores.signals["image_sensitivity"][mask].double(), change[mask], **tolerance)
    assert not scores.signals["image_dependence"][~mask].any()


def extra(actor, sequences):
    """What tells Qwen's models which tokens are images, which OpenRLHF's Actor builds."""
    if "Qwen" not in type(actor.model).__name__:
        return {}
    return {"mm_token_type_ids": (sequences == actor.model.config.image_token_id).int()}


def test_the_second_pass_is_made_only_if_asked_for(actors, monkeypatch):
    (_, ours), batch, images = actors
    passes = []
    ours.model.register_forward_hook(lambda *arguments: passes.append(1))
    assert ours.score(*batch, **images).signals.keys() == {"entropy"} and len(passes) == 1
    signals = ours.score(*batch, perturbed_inputs=images, **images).signals
    assert len(passes) == 3
    assert signals["image_dependence"].max() < 1e-5 and signals["image_sensitivity"].max() < 1e-5
