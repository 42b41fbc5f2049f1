from __future__ import annotations

import pytest

from pepo_rlhf.config.secret_names import looks_secret, redact


@pytest.mark.parametrize(
    "name",
    ["HF_TOKEN", "WANDB_API_KEY", "APIKEY", "DB_PASS", "DB_PWD", "PGPASSWORD", "MY_SECRETS_2"]
    + [
        "PGPASS",
        "AUTHKEY",
        "HFTOKEN",
        "DBPASSWORD",
        "OPENAIAPIKEY",
        "HF_TOKEN2",
        "AWS_SECRET_ACCESS_KEY",
        "MY_SERVICE_PASSWORD",
    ],
)
def test_names_of_secrets(name):
    assert looks_secret(name)


@pytest.mark.parametrize(
    "name",
    ["MONKEY", "VLLM_BYPASS", "SECRETARY"]
    + ["TOKENIZERS_PARALLELISM", "MAX_TOKENS", "KEYBOARD", "PATH", "HF_HOME", "PWD", "OLDPWD"],
)
def test_names_of_others(name):
    assert not looks_secret(name)


def test_values_of_secrets_are_blotted_out_the_longer_first(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_12345")
    monkeypatch.setenv("OTHER_TOKEN", "hf_12345678")
    monkeypatch.setenv("HF_HOME", "/mnt/cache")
    assert redact("hf_12345678, hf_12345 and /mnt/cache") == "***, *** and /mnt/cache"


def test_short_values_stay(monkeypatch):
    monkeypatch.setenv("API_KEY", "1234567")
    assert redact("1234567 rows") == "1234567 rows"
