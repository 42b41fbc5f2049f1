"""Samples that share an image: the encoder sees it once, and nothing else changes."""

import pytest
import torch

from pepo_rlhf.workers.image_encoder import shared_images
from pepo_rlhf.workers.model import VisionLanguageActor

SHARED = [0, 1, 1, 0, 1]  # the image of each of five samples


@pytest.fixture
def batch(vision_case):
    """An actor, five samples of 12 tokens, and their images: the distinct ones, and one a sample."""
    model, images = vision_case
    actor = VisionLanguageActor(model)
    actor.is_vlm, actor._vlm_config, actor.packing_samples = True, model.config, False
    sequences = torch.randint(0, 50, (5, 12))
    sequences[:, 2:6] = model.config.image_token_id
    pixels = torch.cat([images["pixel_values"].chunk(2)[image] for image in SHARED])
    repeated = images | {"pixel_values": pixels}
    if "image_grid_thw" in images:
        repeated["image_grid_thw"] = images["image_grid_thw"][SHARED]
    action_mask = torch.zeros(5, 11, dtype=torch.long)
    action_mask[:, 6:] = 1
    return (
        actor,
        (sequences, action_mask, torch.ones_like(sequences)),
        images | {"image_index": torch.tensor(SHARED)},
        repeated,
    )


def test_log_probs_and_gradients_are_those_of_an_image_for_each_sample(batch):
    actor, tokens, shared, repeated = batch
    parameters = dict(actor.model.named_parameters())
    results = []
    for images in (shared, repeated):
        log_probs = actor(*tokens, **images)
        loss = (log_probs * torch.linspace(-1, 1, log_probs.numel()).view_as(log_probs)).sum()
        results.append((log_probs, torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-5, atol=1e-5)
    for name, ours, expected in zip(parameters, results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
    vision = [gradient for name, gradient in zip(parameters, results[0][1], strict=True) if "vis" in name]
    assert any(gradient is not None and gradient.abs().max() > 0 for gradient in vision)


def test_each_sample_sees_its_own_image(batch):
    actor, (sequences, *masks), shared, _ = batch
    with torch.no_grad():
        same_text = (sequences[:1].repeat(5, 1), *masks)
        log_probs = actor(*same_text, **shared)
    groups = [[row for row, image in zip(log_probs, SHARED, strict=True) if image == wanted] for wanted in (0, 1)]
    for group in groups:
        for row in group:
            torch.testing.assert_close(row, group[0])
    assert (groups[0][0] - groups[1][0]).abs().max() > 1e-4


def test_the_encoder_sees_each_image_once(batch):
    actor, tokens, shared, _ = batch
    (encoder,) = (m for name, m in actor.model.named_modules() if name in ("model.visual", "model.vision_tower"))
    seen = []
    encoder.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(args[0] if args else kwargs["pixel_values"]), with_kwargs=True
    )
    with torch.no_grad():
        actor(*tokens, **shared)
    assert [len(pixels) for pixels in seen] == [len(shared["pixel_values"])]
    assert "get_image_features" not in vars(actor.model.model), "the model is left as it was"


def test_backward_runs_through_a_trained_encoder_only(batch):
    actor, tokens, shared, _ = batch
    (encoder,) = (m for name, m in actor.model.named_modules() if name in ("model.visual", "model.vision_tower"))
    language = [weight for name, weight in actor.model.named_parameters() if "language_model" in name]
    outputs = []
    encoder.register_forward_hook(lambda module, args, output: outputs.append(output[0]))

    def gradients_of_language():
        return torch.autograd.grad(actor(*tokens, **shared).sum(), language)

    expected = gradients_of_language()
    actor.model.train()
    actor.gradient_checkpointing_enable()
    torch.testing.assert_close(gradients_of_language(), expected)
    for name, weight in actor.model.named_parameters():  # as --actor.freeze_visual_encoder does
        weight.requires_grad_("language_model" in name or "lm_head" in name)
    torch.testing.assert_close(gradients_of_language(), expected)
    assert [output.requires_grad for output in outputs] == [True, True, False]


def test_a_model_without_image_features_is_named():
    with (
        pytest.raises(ValueError, match="Linear has no get_image_features"),
        shared_images(torch.nn.Linear(1, 1), {"image_index": [0]}),
    ):
        pass
