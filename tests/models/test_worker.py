"""Scores and gradients of every family in the workers, against transformers' own outputs and upstream's Actor."""

import pytest
import torch
from openrlhf.models import Actor
from PIL import Image, ImageDraw

from pepo_rlhf.core.masks import vision_mask
from pepo_rlhf.core.signals.visual_similarity import VisualSimilarity, visual_similarity
from pepo_rlhf.data.prompt import encode_prompt, render_prompt
from pepo_rlhf.data.row import IMAGE_PLACEHOLDER, Row
from pepo_rlhf.data.vision_tokens import vision_token_ids
from pepo_rlhf.workers.blank_image import make_blank_image
from pepo_rlhf.workers.image_tensors import merge_image_tensors
from pepo_rlhf.workers.model import VisionLanguageActor

FAMILIES = (
    *("qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe"),
    *("internvl3", "internvl3_5", "gemma3", "gemma4", "glm4_6v", "mistral3", "lfm2_vl"),
)
SIZES = [(60, 90)], [(100, 64), (150, 70)]  # images of two prompts
ROWS = (0, 7), (1, 4), (1, 6)  # prompt, and tokens of its response


@pytest.fixture(params=FAMILIES)
def batch(request, build_family):
    """(model, token ids a row, starts of the responses, image tensors a row, processor)."""
    model, processor = build_family(request.param)
    prompts = [encode(processor, sizes) for sizes in SIZES]
    sequences, starts, images = [], [], []
    for prompt, num_tokens in ROWS:
        ids, tensors = prompts[prompt]
        sequences.append(ids + torch.randint(100, 250, (num_tokens,)).tolist())
        starts.append(len(ids))
        images.append(tensors)
    return model.eval(), sequences, starts, images, processor


def encode(processor, sizes):
    pictures = []
    for number, size in enumerate(sizes):
        pictures.append(Image.new("RGB", size, "white"))
        ImageDraw.Draw(pictures[-1]).ellipse([5, 5, 40, 20 + 20 * number], fill="blue")
    row = Row(IMAGE_PLACEHOLDER * len(sizes) + "How many?", ("image",) * len(sizes), "", "", "")
    return encode_prompt(processor, render_prompt(processor, row), pictures, {})


def padded(sequences, starts):
    """Sequences, action mask and attention mask, as a worker is given them."""
    longest = max(map(len, sequences))
    tokens = torch.tensor([ids + [0] * (longest - len(ids)) for ids in sequences])
    action_mask, attention_mask = torch.zeros(len(sequences), longest - 1, dtype=torch.long), torch.zeros_like(tokens)
    for row, (ids, start) in enumerate(zip(sequences, starts, strict=True)):
        action_mask[row, start - 1 : len(ids) - 1] = attention_mask[row, : len(ids)] = 1
    return tokens, action_mask, attention_mask


def actor_of(actor_class, model):
    actor = actor_class(model)
    actor.is_vlm, actor._vlm_config, actor.packing_samples = True, model.config, False
    return actor


def test_scores_equal_the_formulas_over_hidden_states_and_logits(batch):
    model, sequences, starts, images, processor = batch
    tokens, action_mask, attention_mask = padded(sequences, starts)
    is_response = torch.nn.functional.pad(action_mask, (1, 0))
    similarity = VisualSimilarity(
        vision_mask(tokens, action_mask, vision_token_ids(processor)), response_mask=is_response
    )
    actor = actor_of(VisionLanguageActor, model)
    scores = actor.score(tokens, action_mask, attention_mask, similarity, **merge_image_tensors(images, "cpu"))
    for row, (ids, start, tensors) in enumerate(zip(sequences, starts, images, strict=True)):
        ids = torch.tensor([ids])
        mask = ids == model.config.image_token_id
        key = "mm_token_type_ids" if "image_grid_thw" in tensors else "token_type_ids"
        with torch.no_grad():
            output = model(input_ids=ids, output_hidden_states=True, **{key: mask.int()}, **tensors)
        log_probs = output.logits.double().log_softmax(-1)[0, :-1]
        assert mask.sum() >= 4
        expected = {
            "action_log_probs": log_probs.gather(-1, ids[0, 1:, None])[:, 0],
            "entropy": -(log_probs.exp() * log_probs).sum(-1),
            "visual_similarity": visual_similarity(output.hidden_states, mask)[0, 1:].double(),
        }
        columns = slice(start - 1, ids.shape[1] - 1)
        found = {name: values[row, columns].double() for name, values in by_name(scores).items()}
        expected = {name: values[columns] for name, values in expected.items()}
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


def test_log_probs_and_gradients_equal_upstreams(batch):
    """Upstream's actor is given a row at a time: it can join neither images of different sizes nor what rows share."""
    model, sequences, starts, images, _ = batch
    stock, ours = actor_of(Actor, model), actor_of(VisionLanguageActor, model)
    rows = [padded([ids], [start]) for ids, start in zip(sequences, starts, strict=True)]
    expected = [stock(*row, **tensors)[0] for row, tensors in zip(rows, images, strict=True)]
    found = ours(*padded(sequences, starts), **merge_image_tensors(images, "cpu"))
    found = [row[: len(values)] for row, values in zip(found, expected, strict=True)]
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
    expected, found = gradients(model, expected), gradients(model, found)
    for name, gradient in expected.items():  # by norm: rounding in one element is that of a sum over all tokens
        assert (found[name] - gradient).norm() <= 1e-3 * gradient.norm() + 1e-6, name
    vision = [name for name in found if "language_model" not in name and "lm_head" not in name]
    assert max(found[name].abs().max() for name in vision) > 1e-3


def test_a_blank_image_behind_a_batch_without_images_changes_nothing(batch):
    """Other ranks may have images: this one runs the vision encoder as well, and its gradients are 0."""
    model, sequences, starts, _, processor = batch
    texts = [[ids[0], *ids[start - 4 :]] for ids, start in zip(sequences, starts, strict=True)]  # behind the images
    tokens, action_mask, attention_mask = padded(texts, [5] * len(texts))
    results = []
    for blank_image in (None, make_blank_image(processor)):
        actor = actor_of(VisionLanguageActor, model)
        actor.blank_image = blank_image
        similarity = VisualSimilarity(attention_mask, response_mask=torch.nn.functional.pad(action_mask, (1, 0)))
        scores = by_name(actor.score(tokens, action_mask, attention_mask, similarity))
        results.append((scores, gradients(model, actor(tokens, action_mask, attention_mask))))
    torch.testing.assert_close(results[1], results[0], atol=2e-5, rtol=1e-4)
    actor(tokens, action_mask, attention_mask, ring_attn_group=None).sum().backward()  # which is no image
    reached = [name for name, weight in model.named_parameters() if weight.grad is not None]
    assert any("language_model" not in name and "lm_head" not in name for name in reached), "ranks reduce them together"


def by_name(scores):
    return {"action_log_probs": scores.action_log_probs, **scores.signals}


def gradients(model, log_probs):
    """Gradients by name, of a sum over tokens in which each has a weight of its own; 0 where there is none."""
    loss = torch.stack([(row * torch.linspace(-1, 1, len(row))).sum() for row in log_probs]).sum()
    parameters = dict(model.named_parameters())
    return dict(zip(parameters, torch.autograd.grad(loss, parameters.values(), materialize_grads=True), strict=True))
