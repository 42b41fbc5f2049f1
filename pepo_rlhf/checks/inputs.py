"""Model and data of a run, each loaded when the first check asks for it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from pepo_rlhf.data import LoadedRows, load_configured
from pepo_rlhf.data.vision_tokens import vision_token_ids


class Inputs:
    """Every attribute raises ValueError, in one line that names the flag, if it cannot be loaded.

    Args:
        args: the namespace of `pepo_rlhf.config.to_arguments`.
    """

    def __init__(self, args) -> None:
        self.args = args

    @cached_property
    def model_config(self) -> Any:
        from transformers import AutoConfig

        return self._load(AutoConfig.from_pretrained)

    @cached_property
    def processor(self) -> Any:
        from transformers import AutoProcessor

        return self._load(AutoProcessor.from_pretrained)

    @cached_property
    def num_parameters(self) -> int:
        """Counted on the class that the configuration names, without any weights."""
        import torch
        from transformers import AutoModelForImageTextToText

        config = self.model_config
        with torch.device("meta"):
            # The gate of pepo_rlhf.runtime decides, as it does for every loader.
            model = self._load(lambda _, **trust: AutoModelForImageTextToText.from_config(config, **trust))
        return model.num_parameters()

    @cached_property
    def training_rows(self) -> LoadedRows:
        return load_configured(self.args.data.prompt_dataset, self.args.data.prompt_split, self.args.data)

    @cached_property
    def evaluation_rows(self) -> LoadedRows:
        if not self.args.eval.dataset:
            return LoadedRows([], 0)
        return load_configured(self.args.eval.dataset, self.args.eval.split, self.args.data)

    @property
    def placeholders(self) -> set[int]:
        """Ids of the tokens that stand for images and videos."""
        return vision_token_ids(self.processor)

    def _load(self, load) -> Any:
        name = self.args.actor.model_name_or_path
        try:
            return load(name, trust_remote_code=True)
        except (OSError, ValueError) as error:
            reason = " ".join([str(error).strip().splitlines()[0], *getattr(error, "__notes__", [])])
            raise ValueError(f"--actor.model_name_or_path {name}: {reason}") from error
