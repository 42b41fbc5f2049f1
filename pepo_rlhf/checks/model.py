"""Is the model a vision-language model that loads, and do its parts agree on what stands for an image?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pepo_rlhf.checks.finding import Finding, error, ok, warning
from pepo_rlhf.checks.inputs import Inputs

_FLAG = "--actor.model_name_or_path"


def check_config(inputs: Inputs) -> Iterator[Finding]:
    """Whether transformers knows the model, and whether its context is long enough."""
    config, args = inputs.model_config, inputs.args
    if getattr(config, "vision_config", None) is None:
        yield error(f"{args.actor.model_name_or_path} ({config.model_type}) has no vision part", _FLAG)
        return
    longest = getattr(config.get_text_config(), "max_position_embeddings", None)
    if longest is not None and longest < args.data.max_len:
        yield error(f"the model has {longest} positions, fewer than --data.max_len {args.data.max_len}; lower it")
    yield ok(f"{args.actor.model_name_or_path}: {config.model_type}")


def check_weights(inputs: Inputs) -> Iterator[Finding]:
    """Whether every file of a local model is there and opens; a hub's are downloaded by the workers."""
    from safetensors import SafetensorError, safe_open

    yield ok(f"{inputs.num_parameters / 1e6:,.1f} million parameters")
    folder = Path(inputs.args.actor.model_name_or_path)
    if not folder.is_dir():
        return
    index = folder / "model.safetensors.index.json"
    names = set(json.loads(index.read_text())["weight_map"].values()) if index.is_file() else {"model.safetensors"}
    for file in sorted(folder / name for name in names):
        try:
            with safe_open(file, framework="pt"):
                pass
        except (OSError, SafetensorError) as problem:
            yield error(f"{file}: {problem}; download or save the model again", _FLAG)


def check_processor(inputs: Inputs) -> Iterator[Finding]:
    """Whether tokenizer, processor and model mean the same tokens."""
    processor, config = inputs.processor, inputs.model_config
    if not hasattr(processor, "image_processor"):
        yield error(f"{type(processor).__name__} of the model prepares no images", _FLAG)
        return
    if getattr(processor, "chat_template", None) is None:
        yield error("the model has no chat template: add chat_template.jinja to its folder", _FLAG)
    ours, theirs = getattr(processor, "image_token_id", None), getattr(config, "image_token_id", None)
    if ours is None or ours != theirs:
        yield error(f"an image is token {ours} to the processor and token {theirs} to the model's config.json", _FLAG)
    num_tokens, vocabulary = len(processor.tokenizer), config.get_text_config().vocab_size
    if num_tokens > vocabulary:
        yield error(f"the tokenizer has {num_tokens} tokens, the model embeddings for {vocabulary}", _FLAG)
    if processor.tokenizer.eos_token_id is None:
        yield warning("the tokenizer has no end-of-sequence token: responses run to their length limit", _FLAG)
    yield ok(f"{type(processor).__name__}, {num_tokens} tokens")
