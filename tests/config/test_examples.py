"""Every configuration and script that ships is parsed, so that none of them rots."""

import re
import subprocess
from pathlib import Path

import pytest

from pepo_rlhf.config import parse_arguments, to_arguments

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_configuration_is_valid(path):
    config = parse_arguments(
        ["--config", str(path), "--actor.model_name_or_path", "model", "--data.prompt_dataset", "data"]
    )
    assert to_arguments(config).rollout.batch_size


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("*/*.sh")), ids=lambda path: path.stem)
def test_script_is_valid_bash_and_names_files_that_exist(path):
    subprocess.run(["bash", "-n", str(path)], check=True)
    for name in re.findall(r"(?:examples|requirements)/\w+\.(?:yaml|sh|in|overrides|lock)", path.read_text()):
        assert (REPOSITORY / name).exists(), name


def test_readme_names_files_and_flags_that_exist(capsys):
    text = (REPOSITORY / "README.md").read_text()
    for name in re.findall(r"(?:examples|docs|benchmarks|tests)/[\w/]+\.(?:yaml|sh|md|png)", text):
        assert (REPOSITORY / name).exists(), name
    with pytest.raises(SystemExit):
        parse_arguments(["--help"])
    known = capsys.readouterr().out
    for flag in set(re.findall(r"--((?:pepo|actor|algo|reward|run|data|eval|ckpt|rollout|train)\.[\w.]+)", text)):
        assert f"--{flag}" in known, flag
