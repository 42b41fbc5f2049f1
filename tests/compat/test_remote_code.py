"""Code that comes with a model, in a folder whose every part names some: each file leaves a mark when it is run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pepo_rlhf.compat.remote_code import TRUST_REMOTE_CODE, gated_kernel

PARTS = ("configuration", "modeling", "tokenization", "processing", "image_processing")
FILES = {
    # A type that transformers knows itself, so that the loaders get past the configuration.
    "config.json": {
        "model_type": "qwen2_5_vl",
        "architectures": ["OwnModel"],
        "auto_map": {"AutoConfig": "configuration.Own", "AutoModelForImageTextToText": "modeling.Own"},
    },
    "tokenizer_config.json": {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["tokenization.Own", None]}},
    "processor_config.json": {"processor_class": "Own", "auto_map": {"AutoProcessor": "processing.Own"}},
    "preprocessor_config.json": {
        "image_processor_type": "Own",
        "auto_map": {"AutoImageProcessor": "image_processing.Own"},
    },
}

# Upstream's way of loading: everything is trusted. What fails for want of weights has run its code by then.
LOAD = """
import sys, transformers
for name in ("AutoConfig", "AutoModelForImageTextToText", "AutoTokenizer", "AutoProcessor", "AutoImageProcessor"):
    try:
        getattr(transformers, name).from_pretrained(sys.argv[1], trust_remote_code=True)
    except Exception as error:
        print(name, error, *getattr(error, "__notes__", []))
"""
# The engine's, which passes the flag on; the gate holds even if it were trusted.
LOAD_IN_VLLM = """
import sys
from vllm.config import ModelConfig
for trust in (False, True):
    try:
        ModelConfig(model=sys.argv[1], tokenizer=sys.argv[1], trust_remote_code=trust)
    except Exception as error:
        print(error)
"""


def run(code: str, folder: Path, trust: str) -> tuple[set[str], str]:
    """Which of the folder's files `code` runs in a process of its own, and what it prints."""
    for name, content in FILES.items():
        (folder / name).write_text(json.dumps(content))
    for part in PARTS:
        mark = folder / f"{part}.mark"
        (folder / f"{part}.py").write_text(
            f"from pathlib import Path\nPath({str(mark)!r}).touch()\n"
            # The model's loader needs a configuration first.
            "from transformers import PretrainedConfig\nclass Own(PretrainedConfig):\n    model_type = 'qwen2_5_vl'\n"
        )
    environment = os.environ | {TRUST_REMOTE_CODE: trust, "HF_MODULES_CACHE": str(folder / "cache")}
    command = [sys.executable, "-W", "ignore", "-c", code, str(folder)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return {mark.stem for mark in folder.glob("*.mark")}, result.stdout


@pytest.mark.parametrize(("trust", "expected"), [("0", set()), ("1", set(PARTS))], ids=["not trusted", "trusted"])
def test_transformers_runs_a_models_code_only_when_trusted(tmp_path: Path, trust: str, expected: set[str]) -> None:
    marks, printed = run(LOAD, tmp_path, trust)
    assert marks == expected
    assert ("--run.trust_remote_code true" in printed) is (trust == "0")


@pytest.mark.parametrize(("trust", "runs"), [("0", False), pytest.param("1", True, marks=pytest.mark.full)])
def test_vllm_runs_a_models_code_only_when_trusted(tmp_path: Path, trust: str, runs: bool) -> None:
    marks, printed = run(LOAD_IN_VLLM, tmp_path, trust)
    assert bool(marks) is runs, printed


def test_a_kernel_of_the_hub_is_loaded_only_with_the_flag(monkeypatch):
    load = gated_kernel(lambda name: f"loaded {name}")
    monkeypatch.delenv(TRUST_REMOTE_CODE, raising=False)
    with pytest.raises(ValueError, match="kernels-community/flash-attn2 would be downloaded and run"):
        load("kernels-community/flash-attn2")
    monkeypatch.setenv(TRUST_REMOTE_CODE, "1")
    assert load("kernels-community/flash-attn2") == "loaded kernels-community/flash-attn2"
