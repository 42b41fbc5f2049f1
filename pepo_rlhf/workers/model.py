"""The model inside policy and reference workers: upstream's Actor, its attention resolved, its hidden states scored."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from openrlhf.models import Actor
from openrlhf.utils.logging_utils import init_logger
from openrlhf.utils.utils import get_tokenizer

from pepo_rlhf.compat.flash_attn_standin import is_library_installed
from pepo_rlhf.core.distribution import log_probs_and_entropy
from pepo_rlhf.core.signals.image_dependence import image_dependence
from pepo_rlhf.core.signals.image_sensitivity import image_sensitivity
from pepo_rlhf.core.signals.visual_similarity import VisualSimilarity
from pepo_rlhf.workers.adapters import ALL_LINEAR, add_adapters
from pepo_rlhf.workers.blank_image import make_blank_image
from pepo_rlhf.workers.causal_attention import without_padding_mask
from pepo_rlhf.workers.hidden_states import stream_hidden_states
from pepo_rlhf.workers.image_encoder import shared_images
from pepo_rlhf.workers.micro_batch import PolicyScores
from pepo_rlhf.workers.response_head import TokenScorer, response_head

logger = init_logger(__name__)


class VisionLanguageActor(Actor):
    """OpenRLHF's Actor with `--ds.attn_implementation auto` and logits of response positions only.

    Upstream's makes float32 logits of every position, prompt and image included, and its all-linear adapts the vision
    tower too.
    """

    def __init__(
        self,
        pretrain_or_model,
        attn_implementation: str = "auto",
        temperature: float = 1.0,
        lora_rank: int = 0,
        lora_alpha: int = 16,
        lora_dropout: float = 0.0,
        target_modules: list[str] | str = ALL_LINEAR,
        **kwargs,
    ) -> None:
        if attn_implementation == "auto":
            attn_implementation = choose_attention()
        logger.info(f"attention: {attn_implementation}")
        super().__init__(pretrain_or_model, attn_implementation=attn_implementation, **kwargs)
        self.blank_image = None  # of a model that is given as an object, or without a vision part
        if getattr(self, "is_vlm", False):
            self.blank_image = make_blank_image(get_tokenizer(pretrain_or_model, None))
        self.sampling_temperature = temperature  # upstream's `temperature` stays 1: it would divide the scores
        if lora_rank > 0:
            add_adapters(self.model, lora_rank, lora_alpha, lora_dropout, target_modules)

    def forward(
        self,
        sequences: torch.Tensor,
        action_mask: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        return_output: bool = False,
        return_entropy: bool = False,
        scorer: TokenScorer | None = None,
        **inputs,
    ):
        """Return log-probs of the tokens that `action_mask` [B, S - 1] selects; see `score` for the arguments.

        Args:
            scorer: makes what is returned as log-probs and entropy of the hidden states, in their place.

        Returns:
            [B, S - 1] float32 log-probs, 0 outside the response; with `return_output` also the model's output, whose
            `entropy` is [B, S - 1] with `return_entropy`, 0 outside the response.
        """
        model = getattr(self.model, "module", self.model)  # unwraps the DeepSpeed engine
        num_columns = action_mask.shape[1]
        has_images = any(isinstance(value, torch.Tensor) for value in inputs.values())
        if self.blank_image is not None and attention_mask is not None and not has_images:
            sequences, attention_mask, blank = self.blank_image.after(sequences, attention_mask)
            inputs |= blank
            action_mask = torch.nn.functional.pad(action_mask, (0, len(self.blank_image.token_ids)))
        next_tokens = sequences.roll(-1, dims=1)
        mask = torch.nn.functional.pad(action_mask.bool(), (0, 1))  # the last position predicts nothing
        head = response_head(model, next_tokens, mask, scorer or self.scorer(return_entropy))
        # On a CPU torch's kernels take a mask, and are no faster without one.
        attention = without_padding_mask(model) if sequences.is_cuda else nullcontext()
        with head, attention, shared_images(model, inputs) as inputs:
            output = super().forward(sequences, attention_mask=attention_mask, return_output=True, **inputs)
        # The head has put scores where a model's logits are: ZeRO-3 must see them leave the module as its output.
        action_log_probs, *entropy = output["logits"][:, :num_columns].unbind(dim=-1)
        output["logits"] = None
        if not return_output:
            return action_log_probs
        if return_entropy:
            (output.entropy,) = entropy
        return action_log_probs, output

    def scorer(self, with_entropy: bool, entropy_has_gradient: bool = True) -> TokenScorer:
        """Return what makes log-probs of hidden states, and the entropy if it is asked for."""

        def scorer(
            hidden_states: torch.Tensor, weight: torch.Tensor, tokens: torch.Tensor, cap: float | None
        ) -> tuple[torch.Tensor, ...]:
            log_probs, entropy = log_probs_and_entropy(
                hidden_states, weight, tokens, self.sampling_temperature, with_entropy, cap
            )
            if entropy is None:
                return (log_probs,)
            return log_probs, entropy if entropy_has_gradient else entropy.detach()

        return scorer

    def forward_with_signals(
        self,
        sequences: torch.Tensor,
        action_mask: torch.Tensor,
        attention_mask: torch.Tensor,
        similarity: VisualSimilarity | None,
        num_layers: int | None,
        scorer: TokenScorer,
        **inputs: torch.Tensor,
    ) -> tuple[torch.Tensor, Any, dict[str, torch.Tensor]]:
        """Return log-probs, the model's output with `entropy`, and the signals of the same pass, without gradients.

        See `score` for the arguments; the scorer returns log-probs and entropy.
        """
        model = getattr(self.model, "module", self.model)  # unwraps the DeepSpeed engine

        def add(states: torch.Tensor) -> None:
            assert similarity is not None
            similarity.add(states[:, : sequences.shape[1]].detach())  # without those of a blank image

        # The hooks are gone before gradient checkpointing computes layers again.
        streaming = nullcontext() if similarity is None else stream_hidden_states(model, add, num_layers)
        with streaming:
            log_probs, output = self(
                sequences, action_mask, attention_mask, return_output=True, return_entropy=True, scorer=scorer, **inputs
            )
        signals = {"entropy": output.entropy.detach()}
        if similarity is not None:
            signals["visual_similarity"] = similarity.result()[:, 1:]
        return log_probs, output, signals

    @torch.no_grad()
    def score(
        self,
        sequences: torch.Tensor,
        action_mask: torch.Tensor,
        attention_mask: torch.Tensor,
        similarity: VisualSimilarity | None = None,
        num_layers: int | None = None,
        perturbed_inputs: dict[str, torch.Tensor] | None = None,
        **mm_inputs: torch.Tensor,
    ) -> PolicyScores:
        """Return log-probs and signals of one micro-batch from one forward pass, or two.

        Args:
            sequences: [B, S] token ids.
            action_mask: [B, S - 1], column j set when position j + 1 is a response token.
            attention_mask: [B, S].
            similarity: accumulates over the layers; made for this micro-batch's vision mask. None leaves it out.
            num_layers: hidden states that it sees, as --pepo.num_layers.
            perturbed_inputs: as mm_inputs, of the perturbed images, for a second pass that image dependence and
                sensitivity come from; empty without an image, and None leaves the pass out.
            mm_inputs: the processor's image tensors and `image_index`, from `merge_image_tensors`.
        """
        states: list[torch.Tensor] = []  # of the response's positions: [N, D], where logits would be [N, V]
        scorer = self.scorer(with_entropy=True)

        def score_true(hidden: torch.Tensor, *head: Any) -> Sequence[torch.Tensor]:
            if perturbed_inputs is not None:
                states.append(hidden)
            return scorer(hidden, *head)

        def score_perturbed(
            hidden: torch.Tensor, weight: torch.Tensor, tokens: torch.Tensor, cap: float | None
        ) -> Sequence[torch.Tensor]:
            both = image_dependence(states[0], hidden, weight, tokens, self.sampling_temperature, cap)
            divergence, log_probs, perturbed_log_probs = both
            return divergence, image_sensitivity(log_probs, perturbed_log_probs)

        batch = (sequences, action_mask, attention_mask)
        log_probs, _, signals = self.forward_with_signals(*batch, similarity, num_layers, score_true, **mm_inputs)
        if perturbed_inputs is not None:
            # Its two columns stand where log-probs and entropy would.
            signals["image_dependence"], output = self(
                *batch, return_output=True, return_entropy=True, scorer=score_perturbed, **perturbed_inputs
            )
            signals["image_sensitivity"] = output.entropy
        return PolicyScores(log_probs, signals)


def choose_attention() -> str:
    """Return flash_attention_2 on CUDA where flash-attn 2 is installed, sdpa otherwise."""
    return "flash_attention_2" if torch.cuda.is_available() and is_library_installed() else "sdpa"
