"""Perception: how close each position's hidden state is to the image tokens' hidden states, averaged over layers."""

from __future__ import annotations

from collections.abc import Iterable

import torch

SIMILARITY_KINDS = ("cosine", "dot", "l2", "l1")
_EPSILON = 1e-8  # torch's cosine_similarity uses the same floor for a norm
_L1_CHUNK = 64  # image tokens compared at once: bounds the [B, S, chunk, D] difference
# Elements of a layer that are held as float32 at once. A GPU is better off with few launches, a CPU with its caches.
_FLOAT_ELEMENTS = {"cpu": 2**20, "cuda": 2**26}


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
        self._rows, self._positions = self.vision_mask.nonzero(as_tuple=True)
        # [B, N], N image tokens in the whole batch: times their hidden states it is each row's mean. A row without
        # image tokens has the mean 0, and so the similarity 0.
        counts = self.vision_mask.sum(dim=-1, keepdim=True)
        own = self._rows == torch.arange(len(vision_mask), device=vision_mask.device).unsqueeze(-1)
        self._averaging = own.float() / counts.clamp(min=1)
        self._total = torch.zeros(vision_mask.shape, dtype=torch.float32, device=vision_mask.device)
        self._num_layers = 0

    def add(self, layer: torch.Tensor) -> None:
        """Folds one layer entry in. layer: [B, S, D] of any float dtype."""
        if layer.shape[:2] != self.vision_mask.shape:
            raise ValueError(
                f"hidden states of shape {tuple(layer.shape)} do not fit a vision mask of shape "
                f"{tuple(self.vision_mask.shape)}"
            )
        if self.kind in ("cosine", "dot"):
            self._total += self._mean_inner_product(layer)
        else:
            self._total += _negative_mean_distance(layer.float(), self.vision_mask, self.kind)
        self._num_layers += 1

    def _mean_inner_product(self, layer: torch.Tensor) -> torch.Tensor:
        # Linear in the image side: the mean over n of <h_t, v_n> is <h_t, mean_n v_n>. No [S, N] matrix exists.
        batch_size, _, hidden_size = layer.shape
        num_floats = _FLOAT_ELEMENTS[layer.device.type]
        mean_vision = torch.zeros(batch_size, hidden_size, device=layer.device)
        tokens = torch.arange(len(self._rows), device=layer.device)
        for chunk in tokens.split(max(1, num_floats // hidden_size)):
            vision = layer[self._rows[chunk], self._positions[chunk]].float()
            if self.kind == "cosine":
                vision /= vision.norm(dim=-1, keepdim=True).clamp(min=_EPSILON)
            mean_vision += self._averaging[:, chunk] @ vision
        products = []
        for positions in layer.split(max(1, num_floats // (batch_size * hidden_size)), dim=1):
            positions = positions.float()
            product = (positions @ mean_vision.unsqueeze(-1)).squeeze(-1)
            if self.kind == "cosine":
                product /= positions.norm(dim=-1).clamp(min=_EPSILON)
            products.append(product)
        return torch.cat(products, dim=1)

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


def _negative_mean_distance(layer: torch.Tensor, vision_mask: torch.Tensor, kind: str) -> torch.Tensor:
    order = 2.0 if kind == "l2" else 1.0
    result = layer.new_zeros(vision_mask.shape)
    for row, mask in enumerate(vision_mask):
        for vision in layer[row, mask].split(_L1_CHUNK):
            distance = torch.cdist(layer[row], vision, p=order, compute_mode="donot_use_mm_for_euclid_dist")
            result[row] -= distance.sum(dim=-1) / mask.sum().clamp(min=1)
    return result
