"""Perception: how close each position's hidden state is to the image tokens' hidden states, averaged over layers."""

from __future__ import annotations

from collections.abc import Iterable

import torch

SIMILARITY_KINDS = ("cosine", "dot", "l2", "l1")
_EPSILON = 1e-8  # torch's cosine_similarity uses the same floor for a norm
_L1_CHUNK = 64  # image tokens compared at once: bounds the [B, S, chunk, D] difference


class VisualSimilarity:
    """Streaming form of `visual_similarity`: layers are folded in as they run, so none of them has to be kept.

    Args:
        vision_mask: [B, S] bool, True at image tokens.
        kind: cosine; dot (raw inner product); l2 and l1 (negative mean distance). Their scales differ, so a
            temperature tuned for one kind does not carry over to another.

    Raises:
        ValueError: for an unknown kind, or when `result` is asked for before any layer was added.
    """

    def __init__(self, vision_mask: torch.Tensor, kind: str = "cosine") -> None:
        if kind not in SIMILARITY_KINDS:
            raise ValueError(f"similarity kind {kind!r} is unknown; choose one of {', '.join(SIMILARITY_KINDS)}")
        self.kind = kind
        self.vision_mask = vision_mask.bool()
        # A row without image tokens has no perception score: its weights come out as 0 here, and its similarity as 0.
        counts = self.vision_mask.sum(dim=-1, keepdim=True)
        self._averaging = self.vision_mask.float() / counts.clamp(min=1)
        self._total = torch.zeros(vision_mask.shape, dtype=torch.float32, device=vision_mask.device)
        self._num_layers = 0

    def add(self, layer: torch.Tensor) -> None:
        """Folds one layer entry in. layer: [B, S, D] of any float dtype."""
        if layer.shape[:2] != self.vision_mask.shape:
            raise ValueError(
                f"hidden states of shape {tuple(layer.shape)} do not fit a vision mask of shape "
                f"{tuple(self.vision_mask.shape)}"
            )
        fold = _mean_inner_product if self.kind in ("cosine", "dot") else _negative_mean_distance
        self._total += fold(layer.float(), self._averaging, self.vision_mask, self.kind)
        self._num_layers += 1

    def result(self) -> torch.Tensor:
        """[B, S] float32: the mean over the layers added so far; 0 in rows without image tokens."""
        if self._num_layers == 0:
            raise ValueError("no layer was added: visual similarity needs at least one hidden state")
        return self._total / self._num_layers


def visual_similarity(
    hidden_states: Iterable[torch.Tensor], vision_mask: torch.Tensor, kind: str = "cosine"
) -> torch.Tensor:
    """VS of every position: mean over layers and image tokens of the similarity of two hidden states.

    Args:
        hidden_states: the layer entries, each [B, S, D], any float dtype. Consumed one at a time.
        vision_mask: [B, S] bool, True at image tokens.
        kind: see `VisualSimilarity`.

    Returns:
        [B, S] float32. 0 in rows without image tokens.
    """
    accumulator = VisualSimilarity(vision_mask, kind)
    for layer in hidden_states:
        accumulator.add(layer)
    return accumulator.result()


def _mean_inner_product(
    layer: torch.Tensor, averaging: torch.Tensor, vision_mask: torch.Tensor, kind: str
) -> torch.Tensor:
    # Both are linear in the image side: the mean over n of <h_t, v_n> is <h_t, mean_n v_n>. No [S, N] matrix exists.
    inverse_norm = 1.0 / layer.norm(dim=-1).clamp(min=_EPSILON) if kind == "cosine" else torch.ones_like(averaging)
    # Masked, not multiplied by 0: a padding position may hold anything, infinities included.
    factors = torch.where(vision_mask, averaging * inverse_norm, 0.0)
    mean_vision = torch.einsum("bs,bsd->bd", factors, layer.masked_fill(~vision_mask.unsqueeze(-1), 0.0))
    return torch.einsum("bsd,bd->bs", layer, mean_vision) * inverse_norm


def _negative_mean_distance(
    layer: torch.Tensor, averaging: torch.Tensor, vision_mask: torch.Tensor, kind: str
) -> torch.Tensor:
    order = 2.0 if kind == "l2" else 1.0
    result = torch.zeros_like(averaging)
    for row, mask in enumerate(vision_mask):
        for vision in layer[row, mask].split(_L1_CHUNK):
            distance = torch.cdist(layer[row], vision, p=order, compute_mode="donot_use_mm_for_euclid_dist")
            result[row] -= distance.sum(dim=-1) / mask.sum().clamp(min=1)
    return result
