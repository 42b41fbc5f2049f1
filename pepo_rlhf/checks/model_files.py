"""Can a run use this model? Asked of its configuration, weights and processor before a GPU is reserved."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pepo_rlhf.compat.pickled_weights import HOW_TO_CONVERT
from pepo_rlhf.data.prompt import render_prompt
from pepo_rlhf.data.row import IMAGE_PLACEHOLDER, Row
from pepo_rlhf.data.sources import is_hub_id
from pepo_rlhf.data.vision_tokens import placeholder_id


def check_model(name: str) -> tuple[Any, Any]:
    """Configuration and processor of a vision-language model that a run can use.

    Args:
        name: a folder, or a name on the Hugging Face hub, whose weights are not looked at.

    Raises:
        ValueError: in one line that names the model and how to mend it, unless its weights are in safetensors, its
            architecture is one that can be trained, its processor prepares images, and its chat template has a place
            for them.
    """
    try:
        _check_folder(Path(name))
        config = _load_config(name)
        _check_architecture(config)
        processor = _load_processor(name)
        _check_image_token(config, processor)
        _check_chat_template(processor)
        return config, processor
    except (OSError, ValueError) as error:
        reason = " ".join([str(error).strip().splitlines()[0], *getattr(error, "__notes__", [])])
        raise ValueError(f"--actor.model_name_or_path {name}: {reason}") from error


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        if not is_hub_id(str(folder)):
            raise ValueError("no such folder, and not the owner/name of a model on the hub")
        return
    if not (folder / "config.json").is_file():
        raise ValueError("the folder has no config.json; name the folder that save_pretrained wrote")
    if not any((folder / name).is_file() for name in ("processor_config.json", "preprocessor_config.json")):
        raise ValueError("the folder has no processor_config.json; copy it from the original model")
    if any(folder.glob("*.safetensors")):
        _check_weights(folder)
        return
    pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
    if pickles:
        raise ValueError(f"the weights are in pickles ({', '.join(pickles[:3])}), and {HOW_TO_CONVERT}")
    raise ValueError("the folder has no weights (*.safetensors); copy them there")


def _check_weights(folder: Path) -> None:
    """Whether every file of weights is there in full, by its header."""
    from safetensors import SafetensorError, safe_open

    index = folder / "model.safetensors.index.json"
    files = {file.name for file in folder.glob("*.safetensors")}
    if index.is_file():
        files |= set(json.loads(index.read_bytes())["weight_map"].values())
    for name in sorted(files):
        try:
            with safe_open(folder / name, framework="pt"):
                pass
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{name} is missing or damaged ({error}); download or save it again") from error


def _load_config(name: str) -> Any:
    from transformers import AutoConfig

    config = _load(AutoConfig.from_pretrained, name)
    if getattr(config, "vision_config", None) is None:
        raise ValueError(f"a model of type {config.model_type!r} has no vision part; name a vision-language model")
    return config


def _check_architecture(config: Any) -> None:
    """Raise ValueError for models that would fail in their first forward pass, or compute something else."""
    if config.model_type == "llama4":
        raise ValueError("Llama 4's vision tower returns no features image by image: choose a model of docs/models.md")
    if getattr(config.get_text_config(), "use_bidirectional_attention", None) == "vision":
        raise ValueError(
            f"in this {config.model_type} tokens of an image see each other, which OpenRLHF's Actor does not ask for: "
            "choose a model of docs/models.md"
        )


def _load_processor(name: str) -> Any:
    from transformers import AutoProcessor

    processor = _load(AutoProcessor.from_pretrained, name)
    if not hasattr(processor, "image_processor"):
        raise ValueError(
            f"its processor is a {type(processor).__name__}, which prepares no images; copy preprocessor_config.json "
            "and processor_config.json of the original model"
        )
    files = processor.tokenizer.vocab_files_names.values()
    if Path(name).is_dir() and not any((Path(name) / file).is_file() for file in files):
        raise ValueError(f"the folder has no tokenizer ({' or '.join(files)}); copy it from the original model")
    return processor


def _load(load: Callable[..., Any], name: str) -> Any:
    try:
        return load(name, trust_remote_code=True)  # the gate of pepo_rlhf.compat decides
    except Exception as error:  # tokenizers raises no other class, transformers any, for files that are damaged
        if isinstance(error, OSError | ValueError) and not isinstance(error, json.JSONDecodeError):
            raise
        raise ValueError(f"its files do not load ({type(error).__name__}: {error}); download them again") from error


def _check_image_token(config: Any, processor: Any) -> None:
    """Raise ValueError where tokenizer and configuration are those of different models."""
    ids = (placeholder_id(processor, "image"), getattr(config, "image_token_id", None))
    if None not in ids and ids[0] != ids[1]:
        raise ValueError(
            f"an image is token {ids[0]} to its tokenizer and token {ids[1]} to its config.json; copy tokenizer.json "
            "and tokenizer_config.json of the original model"
        )


def _check_chat_template(processor: Any) -> None:
    if not processor.chat_template:
        raise ValueError("it has no chat template; copy chat_template.jinja of the instruction-tuned model")
    from jinja2 import TemplateError

    probe = Row(f"{IMAGE_PLACEHOLDER}What is this?", ("image",), label="", source="", datasource="")
    try:
        text = render_prompt(processor, probe)
    except (TemplateError, TypeError) as error:
        raise ValueError(f"its chat template cannot render a message with an image: {error}") from error
    # What a template writes for an image: the token itself, or the one that the processor replaces by many.
    tokens = [getattr(processor, name, None) for name in ("image_token", "boi_token")]
    if not any(token and token in text for token in tokens):
        raise ValueError("its chat template has no place for an image; copy chat_template.jinja of the original model")
