"""Model and data of a run, each loaded when the first check asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from pepo_rlhf.checks.model_files import check_model
from pepo_rlhf.config import Config
from pepo_rlhf.data import LoadedRows, load_configured
from pepo_rlhf.data.vision_tokens import reserved_tokens


def loaded_once(load: Callable[[Inputs], Any]) -> property:
    """A property that remembers a ValueError too: a hub that cannot be reached takes most of a minute to say so."""
    outcomes: WeakKeyDictionary[Inputs, Any] = WeakKeyDictionary()

    def get(inputs: Inputs) -> Any:
        if inputs not in outcomes:
            try:
                outcomes[inputs] = load(inputs)
            except ValueError as problem:
                outcomes[inputs] = problem
        if isinstance(outcomes[inputs], ValueError):
            raise outcomes[inputs]
        return outcomes[inputs]

    return property(get)


class Inputs:
    """Every attribute raises ValueError, in one line that names the flag, if it cannot be loaded.

    Loaders ask for remote code, as upstream does; the gate of pepo_rlhf.compat decides.

    Args:
        config: the settings of the run.
    """

    def __init__(self, config: Config) -> None:
        self.config = config

    @loaded_once
    def _model_files(self) -> tuple[Any, Any]:
        return check_model(self.config.actor.model_name_or_path or "")

    @property
    def model_config(self) -> Any:
        return self._model_files[0]

    @property
    def processor(self) -> Any:
        return self._model_files[1]

    @loaded_once
    def num_parameters(self) -> int:
        """Counted on the class that the configuration names, without any weights."""
        import torch
        from transformers import AutoModelForImageTextToText

        config = self.model_config
        try:
            with torch.device("meta"):
                model = AutoModelForImageTextToText.from_config(config, trust_remote_code=True)
        except ValueError as problem:
            name, reason = self.config.actor.model_name_or_path, str(problem).splitlines()[0]
            raise ValueError(f"--actor.model_name_or_path {name}: {reason}") from problem
        return model.num_parameters()

    @loaded_once
    def training_rows(self) -> LoadedRows:
        return self._load(self.config.data.prompt_dataset or "", self.config.data.prompt_split)

    @loaded_once
    def evaluation_rows(self) -> LoadedRows:
        if not self.config.eval.dataset:
            return LoadedRows([], 0)
        return self._load(self.config.eval.dataset, self.config.eval.split)

    def _load(self, path_or_id: str, split: str) -> LoadedRows:
        return load_configured(path_or_id, split, self.config.data, reserved_tokens(self.processor))
