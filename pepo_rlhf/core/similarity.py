"""Perception: how close each position's hidden state is to the image tokens' hidden states, averaged over layers."""

from __future__ import annotations

from collections.abc import Iterable

import torch

SIMILARITY_KINDS = ("cosine", "dot", "l2", "l1")
_EPSILON = 1e-8  # torch's cosine_similarity uses the same floor for a norm
_DISTANCE_TOKENS = 64  # image tokens that distances are taken to at once: bounds the [T, tokens, D] difference
# Elements of a layer that are held as float32 at once: few launches on a GPU, 8 MiB for the caches of a CPU.
_FLOAT_ELEMENTS = {"cpu": 2**21, "cuda": 2**26}


class VisualSimilarity:
    """Streaming form of `visual_similarity`: layers are folded in as they run, so none of them has to be kept.

    Args:
        vision_mask: [B, S] bool, True at image tokens.
        kind: cosine; dot (raw inner product); l2 and l1 (negative mean distance). Their scales differ, so a
            temperature tuned for one kind does not carry over to another.
        response_mask: [B, S] bool, True where the result is wanted; everywhere if None.

    Raises:
        ValueError: for an unknown kind, or when `result` is asked for before any layer was added.
    """

    def __init__(
        self, vision_mask: torch.Tensor, kind: str = "cosine", response_mask: torch.Tensor | None = None
    ) -> None:
        if kind not in SIMILARITY_KINDS:
            raise ValueError(f"similarity kind {kind!r} is unknown; choose one of {', '.join(SIMILARITY_KINDS)}")
        self.kind = kind
        self.vision_mask = vision_mask.bool()
        self.response_mask = torch.ones_like(self.vision_mask) if response_mask is None else response_mask.bool()
        columns = self.response_mask.any(dim=0).nonzero().flatten()
        self._columns = slice(int(columns[0]), int(columns[-1]) + 1) if len(columns) else slice(0, 0)
        self._vision = self.vision_mask.flatten().nonzero().flatten()  # [N] image tokens of all rows, in one line
        # [B, N]: times the image tokens' hidden states it is each row's mean. A row without image tokens has the mean
        # 0, and so the similarity 0.
        counts = self.vision_mask.sum(dim=-1, keepdim=True)
        rows = torch.arange(len(vision_mask), device=vision_mask.device).unsqueeze(-1)
        self._averaging = (self._vision // vision_mask.shape[1] == rows) / counts.clamp(min=1)
        self._total = torch.zeros(vision_mask.shape, dtype=torch.float32, device=vision_mask.device)
        self._floats = torch.empty(0)
        self._num_layers = 0

    def add(self, layer: torch.Tensor) -> None:
        """Folds one layer entry in. layer: [B, S, D] of any float dtype."""
        if layer.shape[:2] != self.vision_mask.shape:
            raise ValueError(
                f"hidden states of shape {tuple(layer.shape)} do not fit a vision mask of shape "
                f"{tuple(self.vision_mask.shape)}"
            )
        similarity = self._mean_inner_product if self.kind in ("cosine", "dot") else self._negative_mean_distance
        self._total[:, self._columns] += similarity(layer, layer[:, self._columns])
        self._num_layers += 1

    def _mean_inner_product(self, layer: torch.Tensor, response: torch.Tensor) -> torch.Tensor:
        # Linear in the image side: the mean over n of <h_t, v_n> is <h_t, mean_n v_n>. No [T, N] matrix exists.
        batch_size, length, hidden_size = layer.shape
        num_tokens = max(batch_size, _FLOAT_ELEMENTS[layer.device.type] // hidden_size)
        if not len(self._floats):  # kept: on a CPU memory taken anew for each chunk costs as much as the conversion
            self._floats = torch.empty(min(num_tokens, batch_size * length) * hidden_size, device=layer.device)
        mean_vision = torch.zeros(batch_size, hidden_size, device=layer.device)
        tokens = layer.flatten(0, 1)
        for chunk, averaging in zip(self._vision.split(num_tokens), self._averaging.split(num_tokens, 1), strict=True):
            vision = self._as_float(tokens[chunk])
            if self.kind == "cosine":
                averaging = averaging / vision.norm(dim=-1).clamp(min=_EPSILON)
            mean_vision += averaging @ vision
        products = []
        for positions in response.split(num_tokens // batch_size, dim=1):
            positions = self._as_float(positions)
            product = (positions @ mean_vision.unsqueeze(-1)).squeeze(-1)
            if self.kind == "cosine":
                product /= positions.norm(dim=-1).clamp(min=_EPSILON)
            products.append(product)
        return torch.cat(products, dim=1)

    def _as_float(self, states: torch.Tensor) -> torch.Tensor:
        """`states` as float32, valid until the next call."""
        return self._floats[: states.numel()].view(states.shape).copy_(states)

    def _negative_mean_distance(self, layer: torch.Tensor, response: torch.Tensor) -> torch.Tensor:
        order = 2.0 if self.kind == "l2" else 1.0
        result = torch.zeros(response.shape[:2], device=layer.device)
        for row, mask in enumerate(self.vision_mask):
            positions = response[row].float()
            for vision in layer[row, mask].float().split(_DISTANCE_TOKENS):
                distance = torch.cdist(positions, vision, p=order, compute_mode="donot_use_mm_for_euclid_dist")
                result[row] -= distance.sum(dim=-1) / mask.sum().clamp(min=1)
        return result

    def result(self) -> torch.Tensor:
        """[B, S] float32: the mean over the layers added so far; 0 in rows without image tokens and outside of
        `response_mask`."""
        if self._num_layers == 0:
            raise ValueError("no layer was added: visual similarity needs at least one hidden state")
        return torch.where(self.response_mask, self._total / self._num_layers, 0.0)


def visual_similarity(
    hidden_states: Iterable[torch.Tensor],
    vision_mask: torch.Tensor,
    kind: str = "cosine",
    response_mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """VS of every position: mean over layers and image tokens of the similarity of two hidden states.

    Args:
        hidden_states: the layer entries, each [B, S, D], any float dtype. Consumed one at a time.
        vision_mask, kind, response_mask: see `VisualSimilarity`.

    Returns:
        [B, S] float32. 0 in rows without image tokens and outside of `response_mask`.
    """
    accumulator = VisualSimilarity(vision_mask, kind, response_mask)
    for layer in hidden_states:
        accumulator.add(layer)
    return accumulator.result()
