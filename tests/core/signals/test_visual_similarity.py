import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pepo_rlhf.core import fusion
from pepo_rlhf.core.signals.visual_similarity import VisualSimilarity, visual_similarity


def formula(hidden_states, vision_mask, kind):
    """The definition, pair by pair, in float64 Python: mean over layers, mean over image tokens, similarity of two."""
    batch, length = vision_mask.shape
    result = torch.zeros(batch, length, dtype=torch.float64)
    for layer in hidden_states:
        layer = layer.double()
        for b in range(batch):
            vision = [n for n in range(length) if vision_mask[b, n]]
            for t in range(length):
                pairs = []
                for n in vision:
                    h, v = layer[b, t], layer[b, n]
                    dot = sum(x * y for x, y in zip(h.tolist(), v.tolist(), strict=True))
                    if kind == "cosine":
                        pairs.append(dot / (math.sqrt((h @ h).item()) * math.sqrt((v @ v).item())))
                    elif kind == "dot":
                        pairs.append(dot)
                    elif kind == "l2":
                        pairs.append(-math.sqrt(sum((x - y) ** 2 for x, y in zip(h.tolist(), v.tolist(), strict=True))))
                    else:
                        pairs.append(-sum(abs(x - y) for x, y in zip(h.tolist(), v.tolist(), strict=True)))
                result[b, t] += sum(pairs) / len(pairs) if pairs else 0.0
    return result / len(hidden_states)


def test_cosine_by_hand():
    # Image tokens point along x and y. A token along x has cosines 1 and 0, one along the diagonal 1/sqrt(2) twice.
    layer = torch.tensor([[[2.0, 0.0], [0.0, 5.0], [3.0, 0.0], [1.0, 1.0], [-4.0, 0.0]]])
    mask = torch.tensor([[True, True, False, False, False]])
    expected = torch.tensor([[0.5, 0.5, 0.5, 1 / math.sqrt(2), -0.5]])
    torch.testing.assert_close(visual_similarity([layer], mask), expected)


def test_layers_are_averaged():
    mask = torch.tensor([[True, False]])
    same, opposite = torch.tensor([[[1.0], [2.0]]]), torch.tensor([[[1.0], [-2.0]]])
    torch.testing.assert_close(visual_similarity([same, same, opposite], mask)[0, 1], torch.tensor(1 / 3))


def test_dot_l2_and_l1_by_hand():
    layer = torch.tensor([[[1.0, 1.0], [4.0, 5.0]]])  # the difference is (3, 4)
    mask = torch.tensor([[True, False]])
    for kind, expected in {"dot": 9.0, "l2": -5.0, "l1": -7.0}.items():
        assert visual_similarity([layer], mask, kind)[0, 1].item() == pytest.approx(expected)


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 3),
    length=st.integers(1, 7),
    layers=st.integers(1, 3),
    kind=st.sampled_from(["cosine", "dot", "l2", "l1"]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    seed=st.integers(0, 10_000),
)
def test_equals_the_pairwise_formula(batch, length, layers, kind, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    hidden = [torch.randn(batch, length, 5, generator=generator).to(dtype) for _ in range(layers)]
    mask = torch.rand(batch, length, generator=generator) < 0.5
    actual = visual_similarity(iter(hidden), mask, kind)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual.double(), formula(hidden, mask, kind), atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("kind", ["cosine", "dot", "l2", "l1"])
def test_a_response_mask_leaves_zeros_elsewhere(kind):
    hidden = torch.randn(3, 7, 4)
    hidden[0, 6] = torch.inf  # padding after the response
    vision_mask = torch.tensor([[True, True, False, False, False, False, False]] * 3)
    response_mask = torch.tensor([[0, 0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 0, 1], [0] * 7], dtype=torch.bool)
    everywhere = visual_similarity([hidden], vision_mask, kind)
    actual = visual_similarity([hidden], vision_mask, kind, response_mask)
    assert torch.equal(actual != 0, response_mask)
    torch.testing.assert_close(actual[response_mask], everywhere[response_mask])
    assert not visual_similarity([hidden], vision_mask, kind, torch.zeros_like(response_mask)).any()


@pytest.mark.parametrize("kind", ["cosine", "dot"])
def test_compiled_code_gives_the_same_for_all_shapes(kind, monkeypatch):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # No two lengths of the first shape are equal: compiled code would take them for one.
    shapes = [(2, 9, 4), (3, 12, 6), (4, 40, 16), (5, 1000, 300)]
    hidden = [torch.randn(shape, device=device) for shape in shapes]
    masks = [torch.zeros(shape[:2], dtype=torch.bool, device=device) for shape in shapes]
    for mask in masks:
        mask[0, 1:3], mask[-1, 3:7] = True, True
    expected = [visual_similarity([layer], mask, kind) for layer, mask in zip(hidden, masks, strict=True)]
    monkeypatch.setattr(fusion, "FUSE_FROM", 0)
    actual = [visual_similarity(hidden[:1], masks[0], kind)]
    with torch.compiler.set_stance("fail_on_recompile"):
        actual += [visual_similarity([layer], mask, kind) for layer, mask in zip(hidden[1:], masks[1:], strict=True)]
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("kind", ["cosine", "dot", "l2", "l1"])
def test_row_without_image_tokens_is_zero(kind):
    hidden = torch.randn(2, 4, 3)
    mask = torch.tensor([[False] * 4, [True] * 4])
    assert visual_similarity([hidden], mask, kind)[0].tolist() == [0.0] * 4


@pytest.mark.parametrize("kind", ["cosine", "dot"])
def test_infinities_at_padding_do_not_reach_other_positions(kind):
    hidden = torch.randn(1, 4, 3)
    mask = torch.tensor([[True, True, False, False]])
    clean = visual_similarity([hidden], mask, kind)
    hidden[0, 3] = torch.inf
    assert torch.equal(visual_similarity([hidden], mask, kind)[0, :3], clean[0, :3])


def test_infinities_between_images_do_not_reach_anything():
    hidden = torch.randn(1, 5, 3)
    mask = torch.tensor([[True, False, True, False, False]])
    clean = visual_similarity([hidden], mask)
    hidden[0, 1] = torch.inf
    assert torch.equal(visual_similarity([hidden], mask)[0, 2:], clean[0, 2:])


def test_permuting_image_tokens_changes_nothing_else():
    hidden = torch.randn(1, 6, 4)
    mask = torch.tensor([[True, True, True, False, False, False]])
    permuted = hidden[:, [2, 0, 1, 3, 4, 5]]
    torch.testing.assert_close(visual_similarity([hidden], mask)[:, 3:], visual_similarity([permuted], mask)[:, 3:])


def test_streaming_gives_the_same_as_all_at_once():
    hidden = [torch.randn(2, 5, 8) for _ in range(4)]
    mask = torch.rand(2, 5) < 0.5
    accumulator = VisualSimilarity(mask)
    for layer in hidden:
        accumulator.add(layer)
    assert torch.equal(accumulator.result(), visual_similarity(hidden, mask))


def test_mistakes_are_named():
    mask = torch.ones(1, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match="cosine, dot, l2, l1"):
        visual_similarity([torch.randn(1, 2, 3)], mask, kind="cos")
    with pytest.raises(ValueError, match="do not fit"):
        visual_similarity([torch.randn(1, 3, 3)], mask)
    with pytest.raises(ValueError, match="no layer"):
        visual_similarity([], mask)
