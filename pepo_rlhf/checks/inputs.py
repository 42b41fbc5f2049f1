"""Model and data of a run, each loaded when the first check asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from pepo_rlhf.checks.model_files import check_model
from pepo_rlhf.config import Config
from pepo_rlhf.data import LoadedRows
from pepo_rlhf.tasks.run_rows import load_run_rows


def loaded_once(load: Callable[[Inputs], Any]) -> property:
    """Return a property that loads once. It remembers a ValueError too: an unreachable hub takes most of a minute."""
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
    """Model and data of a run. An attribute that cannot be loaded raises ValueError, in one line that names the flag.

    Loaders ask for remote code, as upstream does; pepo_rlhf.compat blocks it unless the settings allow it.

    Args:
        config: settings of the run.
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
    def meta_model(self) -> Any:
        """Return a model of the class that the configuration names, on the meta device: shapes without weights."""
        import torch
        from transformers import AutoModelForImageTextToText

        config = self.model_config
        try:
            with torch.device("meta"):
                return AutoModelForImageTextToText.from_config(config, trust_remote_code=True)
        except ValueError as problem:
            name, reason = self.config.actor.model_name_or_path, str(problem).splitlines()[0]
            raise ValueError(f"--actor.model_name_or_path {name}: {reason}") from problem

    @property
    def num_parameters(self) -> int:
        return self.meta_model.num_parameters()

    @loaded_once
    def num_adapter_parameters(self) -> int:
        """Return the number of parameters of the adapters; 0 where the weights themselves are trained."""
        from pepo_rlhf.workers.adapters import target_layers

        lora = self.config.ds.lora
        if lora.rank == 0:
            return 0
        layers = [self.meta_model.get_submodule(name) for name in target_layers(self.meta_model, lora.target_modules)]
        return sum(lora.rank * (layer.in_features + layer.out_features) for layer in layers)

    @loaded_once
    def training_rows(self) -> LoadedRows:
        """Return the rows to train on. The command trains on these, so that a data set is loaded once."""
        return self._load(self.config.data.prompt_dataset or "", self.config.data.prompt_split)

    @loaded_once
    def evaluation_rows(self) -> LoadedRows:
        if not self.config.eval.dataset:
            return LoadedRows([], 0)
        return self._load(self.config.eval.dataset, self.config.eval.split)

    def _load(self, path_or_id: str, split: str) -> LoadedRows:
        return load_run_rows(path_or_id, split, self.config.data, self.processor, self.config.rollout.max_new_tokens)
