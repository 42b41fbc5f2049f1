"""Visual similarity: how close a token's hidden states are to those of the image tokens, averaged over layers."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from pepo_rlhf.core.fusion import fused
from pepo_rlhf.core.signal import Signal

SIGNAL = Signal(meaning="similarity of the token's hidden states to the image's", reads_hidden_states=True)
SIMILARITY_KINDS = ("cosine", "dot", "l2", "l1")
_EPSILON = 1e-8  # torch's cosine_similarity uses the same floor for a norm
_DISTANCE_TOKENS = 64  # image tokens that distances are taken to at once: bounds the [T, tokens, D] difference


class VisualSimilarity:
    """Accumulate `visual_similarity` layer by layer while the model runs, so that no layer has to be kept.

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
        self._vision_columns, self._response_columns = _span(self.vision_mask), _span(self.response_mask)
        # [B, N]: times the hidden states of image tokens it is each row's mean, 0 in a row without any.
        counts = self.vision_mask.sum(dim=-1, keepdim=True)
        self._averaging = self.vision_mask[:, self._vision_columns] / counts.clamp(min=1)
        self._total = torch.zeros(self.response_mask[:, self._response_columns].shape, device=vision_mask.device)
        self._num_layers = 0

    def add(self, layer: torch.Tensor) -> None:
        """Add one layer entry: [B, S, D] of any float dtype.

        Raises:
            ValueError: if its shape is not that of the vision mask.
        """
        if layer.shape[:2] != self.vision_mask.shape:
            raise ValueError(
                f"hidden states of shape {tuple(layer.shape)} do not fit a vision mask of shape "
                f"{tuple(self.vision_mask.shape)}"
            )
        response = layer[:, self._response_columns]
        if self.kind in ("cosine", "dot"):
            inner_product = fused(_mean_inner_product, layer.numel())
            vision = layer[:, self._vision_columns]
            similarity = inner_product(vision, self._averaging, response, self.kind == "cosine")
        else:
            similarity = self._negative_mean_distance(layer, response)
        self._total += similarity
        self._num_layers += 1

    def _negative_mean_distance(self, layer: torch.Tensor, response: torch.Tensor) -> torch.Tensor:
        order = 2.0 if self.kind == "l2" else 1.0
        result = torch.zeros(response.shape[:2], device=layer.device)
        for row, mask in enumerate(self.vision_mask):
            positions = response[row].float()
            for vision in torch.split(layer[row, mask].float(), _DISTANCE_TOKENS):
                distance = torch.cdist(positions, vision, p=order, compute_mode="donot_use_mm_for_euclid_dist")
                result[row] -= distance.sum(dim=-1) / mask.sum().clamp(min=1)
        return result

    def result(self) -> torch.Tensor:
        """Return [B, S] float32, the mean over the layers added so far.

        It is 0 in rows without image tokens and outside of `response_mask`.

        Raises:
            ValueError: if no layer was added.
        """
        if self._num_layers == 0:
            raise ValueError("no layer was added: visual similarity needs at least one hidden state")
        result = torch.zeros(self.response_mask.shape, device=self._total.device)
        result[:, self._response_columns] = self._total / self._num_layers
        return result.where(self.response_mask, 0.0)


def _mean_inner_product(
    vision: torch.Tensor, averaging: torch.Tensor, response: torch.Tensor, cosine: bool
) -> torch.Tensor:
    """Return [B, T] float32 from vision [B, N, D], averaging [B, N] and response [B, T, D].

    Linear in the image side: the mean over n of <h_t, v_n> is <h_t, mean_n v_n>. No [T, N] matrix exists.
    """
    vision = torch.where(averaging.unsqueeze(-1) > 0, vision.float(), 0.0)  # between two images may be infinities
    response = response.float()
    if cosine:
        averaging = averaging / vision.norm(dim=-1).clamp(min=_EPSILON)
    mean_vision = (averaging.unsqueeze(-1) * vision).sum(dim=1, keepdim=True)
    product = (response * mean_vision).sum(dim=-1)
    return product / response.norm(dim=-1).clamp(min=_EPSILON) if cosine else product


def _span(mask: torch.Tensor) -> slice:
    """Return the columns from the first to the last that hold a True in any row."""
    columns = mask.any(dim=0).nonzero().flatten().tolist()
    return slice(columns[0], columns[-1] + 1) if columns else slice(0, 0)


def visual_similarity(
    hidden_states: Iterable[torch.Tensor],
    vision_mask: torch.Tensor,
    kind: str = "cosine",
    response_mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return VS of every position, the mean over layers and image tokens of the similarity of two hidden states.

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
