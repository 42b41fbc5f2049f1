"""A blank image for micro-batches without one, so that every forward pass runs the vision encoder.

Under ZeRO-3 the ranks gather the encoder's weights together, and where it is trained they reduce its gradients
together: a rank that left it out would let the others wait. Gemma 3 trains only where it is told which tokens are
images. The image's tokens stand after a response. They are attended and outside the loss, and no token before them
sees them, so that log-probs stay what they are and the encoder's gradients are 0.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from PIL import Image
from torch.nn.functional import pad

from pepo_rlhf.data.prompt import encode_prompt, render_prompt
from pepo_rlhf.data.row import IMAGE_PLACEHOLDER, Row
from pepo_rlhf.data.vision_tokens import placeholder_id
from pepo_rlhf.workers.image_tensors import merge_image_tensors


class BlankImage(NamedTuple):
    """A blank image as a model is given it.

    Attributes:
        token_ids: [N], its visual tokens.
        tensors: the processor's.
    """

    token_ids: torch.Tensor
    tensors: dict[str, torch.Tensor]

    def after(self, sequences: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, dict]:
        """Return sequences and attention mask, [B, S + N] each, with the image behind the first row, and its tensors.

        Args:
            sequences: [B, S] token ids; attention_mask: [B, S].
        """
        num_tokens, num_positions = len(self.token_ids), sequences.shape[1]
        sequences, attention_mask = (pad(tensor, (0, num_tokens)) for tensor in (sequences, attention_mask))
        sequences[0, num_positions:] = self.token_ids.to(sequences.device)
        attention_mask[0, num_positions:] = 1
        return sequences, attention_mask, merge_image_tensors([self.tensors], sequences.device)


def make_blank_image(processor: Any) -> BlankImage:
    """Return a grey image of 56 x 56 pixels, few tokens in every model; Mistral 3 fails on an image of one token."""
    row = Row(f"{IMAGE_PLACEHOLDER}What is this?", ("image",), label="", source="", datasource="")
    picture = Image.new("RGB", (56, 56), (128, 128, 128))
    token_ids, tensors = encode_prompt(processor, render_prompt(processor, row), [picture], {})
    placeholder = placeholder_id(processor, "image")
    return BlankImage(torch.tensor([token for token in token_ids if token == placeholder]), tensors or {})
