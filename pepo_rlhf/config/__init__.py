"""Settings: a YAML file and dotted flags become typed dataclasses, are checked, and become OpenRLHF's arguments.

Sections and flags carry OpenRLHF's names; `upstream.py` lists where this package departs from them and why.
Importing this package loads no torch, ray, vllm or transformers, so that a wrong flag is told in a second.
"""

from pepo_rlhf.config.arguments import Arguments, to_arguments
from pepo_rlhf.config.parser import parse_arguments
from pepo_rlhf.config.settings import Config
from pepo_rlhf.config.validate import ConfigError, validate

__all__ = ["Arguments", "Config", "ConfigError", "parse_arguments", "to_arguments", "validate"]
