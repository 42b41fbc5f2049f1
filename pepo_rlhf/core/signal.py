"""The description of a signal, a number for each token of a response that token weightings may use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Signal:
    """Describe a signal that the policy's forward passes give. It is called as its file in core/signals.

    Attributes:
        meaning: what it measures, in a line.
        reads_hidden_states: whether it is computed from every layer of the pass that scores the response.
        perturbs_images: whether it needs a second pass without gradients, under perturbed images.
    """

    meaning: str
    reads_hidden_states: bool = False
    perturbs_images: bool = False


class ResponseText(NamedTuple):
    """Hold the text of a response and its row.

    Attributes:
        token_texts: what each token adds to the text, special tokens included.
        label: what verifiers compare the response with.
        prompt: the prompt after the chat template; task: data source of the row.
    """

    token_texts: list[str]
    label: str
    prompt: str
    task: str


# A signal that comes from the text of a response and its row: one number for each of its tokens.
ResponseSignal = Callable[[ResponseText], Sequence[float]]


def response_values(functions: Mapping[str, ResponseSignal], response: ResponseText) -> dict[str, Tensor]:
    """Return what each function makes of a response, [T] float32 by name.

    Raises:
        ValueError: if a function does not return one number for each token.
    """
    import torch  # imported late: weightings are read without it

    found = {}
    for name, function in functions.items():
        values = torch.tensor([float(value) for value in function(response)])
        if len(values) != len(response.token_texts):
            raise ValueError(f"signal {name} has {len(values)} values for {len(response.token_texts)} tokens")
        found[name] = values
    return found
