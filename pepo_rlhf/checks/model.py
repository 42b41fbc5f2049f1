"""Check that a run can use the model, and that it fits the settings."""

from __future__ import annotations

from collections.abc import Iterator

from pepo_rlhf.checks.finding import Finding, error, ok, warning
from pepo_rlhf.checks.inputs import Inputs

_FLAG = "--actor.model_name_or_path"


def check_model(inputs: Inputs) -> Iterator[Finding]:
    """Yield whether configuration, weights and processor go together, and the context is long enough."""
    config, max_len = inputs.model_config, inputs.config.data.max_len
    longest = getattr(config.get_text_config(), "max_position_embeddings", None)
    if longest is not None and longest < max_len:
        yield error(f"the model has {longest} positions, fewer than --data.max_len {max_len}; lower it")
    yield ok(f"{inputs.config.actor.model_name_or_path}: {config.model_type}")


def check_adapters(inputs: Inputs) -> Iterator[Finding]:
    """Yield what is trained instead of the weights, if --ds.lora.target_modules names layers that the model has."""
    if inputs.config.has_adapters:
        number, lora = inputs.num_adapter_parameters, inputs.config.ds.lora
        yield ok(f"LoRA of rank {lora.rank} on {lora.target_modules}: {number / 1e6:,.2f} million parameters")


def check_tokenizer(inputs: Inputs) -> Iterator[Finding]:
    """Yield whether every token has an embedding, and a response can end."""
    tokenizer, vocabulary = inputs.processor.tokenizer, inputs.model_config.get_text_config().vocab_size
    if len(tokenizer) > vocabulary:
        yield error(f"the tokenizer has {len(tokenizer)} tokens, the model embeddings for {vocabulary}", _FLAG)
    if tokenizer.eos_token_id is None:
        yield warning("the tokenizer has no end-of-sequence token: responses run to their length limit", _FLAG)
    yield ok(f"{type(inputs.processor).__name__}, {len(tokenizer)} tokens")


def check_class(inputs: Inputs) -> Iterator[Finding]:
    """Yield whether transformers builds the model that the configuration describes."""
    yield ok(f"{inputs.num_parameters / 1e6:,.1f} million parameters")
