"""PEPO: token-level RL for vision-language models on OpenRLHF, Ray, vLLM and DeepSpeed."""

__version__ = "0.1.0"
