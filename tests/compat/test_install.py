import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pepo_rlhf import compat


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, env=os.environ | environment
    )


def test_install_loads_none_of_the_heavy_libraries():
    heavy = ("torch", "ray", "vllm", "transformers", "deepspeed", "openrlhf")
    result = run(
        f"from pepo_rlhf import compat; compat.install(); import sys; print([m for m in {heavy} if m in sys.modules])"
    )
    assert result.stdout.strip() == "[]", result.stderr


@pytest.mark.parametrize(
    ("has_gpu", "own", "expected"), [(False, {}, "cpu"), (True, {}, "None"), (False, {"DS_ACCELERATOR": "xpu"}, "xpu")]
)
def test_each_process_is_told_of_the_cpu_on_a_machine_without_a_gpu(has_gpu, own, expected):
    clean = {name: value for name, value in os.environ.items() if name not in ("DS_ACCELERATOR", "PYTHONPATH")}
    code = f"""
import os
from pepo_rlhf import compat
compat.cpu.machine_has_gpu = lambda: {has_gpu}
compat.install()
print(os.environ.get("DS_ACCELERATOR"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=clean | own)
    assert done.stdout.strip() == expected, done.stderr


def test_a_spawned_interpreter_is_prepared_before_its_first_import():
    """As vLLM's engine core: nothing of this project is imported by hand, PYTHONPATH alone must do."""
    result = run("import torchvision, flash_attn, torch; print(torch.cuda.current_device())")
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().endswith("cpu")


def test_an_environments_own_sitecustomize_still_runs(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import os; os.environ['OWN_SITECUSTOMIZE'] = '1'")
    path = os.environ["PYTHONPATH"] + os.pathsep + str(tmp_path)
    assert run("import os; print(os.environ['OWN_SITECUSTOMIZE'])", PYTHONPATH=path).stdout.strip() == "1"


def test_installing_twice_adds_one_path_entry():
    compat.install()
    entries = os.environ["PYTHONPATH"].split(os.pathsep)
    assert len([entry for entry in entries if entry.endswith("site")]) == 1


def test_the_flash_attn_standin_is_not_taken_for_the_library():
    import torch
    from transformers.utils import is_flash_attn_2_available

    from pepo_rlhf.workers.model import choose_attention

    if torch.cuda.is_available():
        pytest.skip("a CUDA machine may have the library itself")
    assert not is_flash_attn_2_available()
    assert choose_attention() == "sdpa"


def test_the_gate_stands_before_every_auto_class():
    """Each loader imports the gate's function by name: all must have got the replaced one."""
    for name in (
        "auto_factory",
        "configuration_auto",
        "image_processing_auto",
        "processing_auto",
        "tokenization_auto",
        "video_processing_auto",
    ):
        module = importlib.import_module(f"transformers.models.auto.{name}")
        assert module.resolve_trust_remote_code.__module__ == "pepo_rlhf.compat.remote_code", name


def test_the_package_is_found_by_a_spawned_interpreter_even_when_not_installed(tmp_path):
    site = Path(compat.__file__).with_name("site")
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "import pepo_rlhf; print('found')"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site)},
    )
    assert result.stdout.strip() == "found", result.stderr


def test_the_patch_embedding_as_a_linear_layer_equals_the_convolution():
    import torch
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionPatchEmbed

    embedding = Qwen2_5_VisionPatchEmbed(embed_dim=8)
    patches = torch.randn(6, 3 * 2 * 14 * 14)
    expected = embedding.proj(patches.view(6, 3, 2, 14, 14)).view(6, 8)
    torch.testing.assert_close(embedding(patches), expected, rtol=1e-4, atol=1e-5)


def test_flash_attn_4_alone_is_not_taken_for_the_library_and_stays_importable(tmp_path):
    """It installs flash_attn/cute without flash_attn/__init__.py, which makes a namespace package."""
    (tmp_path / "flash_attn" / "cute").mkdir(parents=True)
    (tmp_path / "flash_attn" / "cute" / "__init__.py").write_text("kernel = 4")
    code = (
        "from pepo_rlhf import compat; compat.install()\n"
        "from flash_attn.bert_padding import pad_input; from flash_attn.cute import kernel\n"
        "from pepo_rlhf.compat.flash_attn_standin import is_library_installed; print(kernel, is_library_installed())"
    )
    result = run(code, PYTHONPATH=str(tmp_path))
    assert result.stdout.split() == ["4", "False"], result.stderr


def test_the_compiler_of_the_stack_is_named_where_the_script_has_installed_it(tmp_path, monkeypatch):
    monkeypatch.setattr(compat.cuda.sysconfig, "get_path", lambda name: str(tmp_path))
    assert compat.cuda.environment() == {}
    (tmp_path / "nvidia" / "cu13" / "lib").mkdir(parents=True)
    (tmp_path / "nvidia" / "cu13" / "lib" / "libcudart.so").touch()
    assert compat.cuda.environment() == {"CUDA_HOME": str(tmp_path / "nvidia" / "cu13")}
