"""What an installed package has: a wheel is built without the network and looked into."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    sources = tmp_path_factory.mktemp("sources")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, sources)
    for name in ("pepo_rlhf", "ray_jobs"):
        shutil.copytree(REPOSITORY / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(sources / "wheels"), str(sources)], check=True)
    (path,) = (sources / "wheels").iterdir()
    return zipfile.ZipFile(path)


def test_every_file_of_the_packages_is_in_the_wheel(wheel):
    files = {path for name in ("pepo_rlhf", "ray_jobs") for path in (REPOSITORY / name).rglob("*") if path.is_file()}
    names = {str(path.relative_to(REPOSITORY)) for path in files if "__pycache__" not in path.parts}
    assert {"pepo_rlhf/py.typed", "pepo_rlhf/compat/site/sitecustomize.py", "ray_jobs/submit.py"} <= names
    assert {"pepo_rlhf/report/assets/template.html"} <= names
    assert names == {name for name in wheel.namelist() if ".dist-info/" not in name}


def test_metadata_has_licence_pins_and_the_console_script(wheel):
    (folder,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    metadata = wheel.read(f"{folder}/METADATA").decode()
    assert "License-Expression: Apache-2.0\n" in metadata
    assert 'Requires-Dist: ray[default]==2.55.0; extra == "cpu"\n' in metadata
    assert "Requires-Dist: deepspeed==0.19.6\n" in metadata
    assert wheel.read(f"{folder}/licenses/LICENSE") == (REPOSITORY / "LICENSE").read_bytes()
    assert "pepo = pepo_rlhf.cli:main\n" in wheel.read(f"{folder}/entry_points.txt").decode()


@pytest.mark.parametrize("extra", ["cpu", "gpu"])
def test_an_extra_has_all_that_openrlhf_requires_but_flash_attn(extra):
    """OpenRLHF is installed with --no-deps."""

    def required(package, extra):
        found = map(Requirement, metadata.requires(package))
        return {each.name for each in found if each.marker is None or each.marker.evaluate({"extra": extra})}

    assert required("openrlhf", "") - required("pepo-rlhf", extra) == {"flash-attn"}


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_the_cuda_stack_installs_and_imports_without_a_gpu(tmp_path):
    """9 GB from the package index; only flash-attn, which nothing needs, may be missing."""
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, tmp_path)
    for name in ("pepo_rlhf", "ray_jobs", "requirements"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PYTHON": sys.executable}
    try:
        subprocess.run(["bash", "requirements/install.sh", "gpu"], cwd=tmp_path, env=clean, check=True)
        python = tmp_path / ".venv" / "bin" / "python"
        done = subprocess.run([python, "-m", "pip", "check"], env=clean, capture_output=True, text=True)
        assert done.stdout.splitlines() == ["openrlhf 0.11.2 requires flash-attn, which is not installed."]
        code = (
            "from pepo_rlhf import compat; compat.install(); import torch, openrlhf.trainer.ray.ppo_actor,"
            "vllm.v1.engine.async_llm, vllm.v1.worker.gpu_model_runner, vllm.model_executor.models.qwen2_5_vl,"
            "pepo_rlhf.train, pepo_rlhf.controller.run, pepo_rlhf.weight_sync.packed; print(torch.version.cuda);"
            "print(compat.cuda.environment()['CUDA_HOME'])"
        )
        command = [python, "-W", "ignore", "-c", code]
        done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        version, cuda_home = done.stdout.split()[-2:]
        assert version == "13.0" and (Path(cuda_home) / "bin" / "nvcc").is_file()
    finally:
        shutil.rmtree(tmp_path / ".venv", ignore_errors=True)


def test_the_site_builds_without_a_link_that_leads_nowhere(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    reference = (tmp_path / "site" / "reference" / "core" / "index.html").read_text(encoding="utf-8")
    assert 'id="pepo_rlhf.core.signals.visual_similarity.VisualSimilarity"' in reference
    assert 'href="check/"' in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
