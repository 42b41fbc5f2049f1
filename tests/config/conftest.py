from __future__ import annotations

import pytest

from pepo_rlhf.config import Config


@pytest.fixture
def config() -> Config:
    """The defaults and what has none: a valid configuration."""
    config = Config()
    config.actor.model_name_or_path = "some/model"
    config.data.prompt_dataset = "some/dataset"
    return config
