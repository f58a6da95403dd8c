"""What looks like a secret and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from reviewllm.errors import ConfigError
from reviewllm.secrets import refuse_secrets

KEY = "s3cret" * 6


@pytest.mark.parametrize(
    "found",
    [
        ["--mlflow-uri", "https://me:s3cret/word@host"],
        ["--mlflow-uri=https://me:s3cret@host"],
        ["--data", "s3://bucket/x?secret_access_key=s3cret"],
        ["--data", "https://host/x?region=a&sig=s3cret"],
        ["--engine-kwargs", '{"env": {"AWS_SECRET_ACCESS_KEY": "s3cret"}}'],
        ["--password", "s3cret"],
        ["--api-key=s3cret"],
        [f"hf_{KEY}"],
        [f"ghp_{KEY}"],
        [f"sk-{KEY}"],
        {"env_vars": {"MLFLOW_TRACKING_URI": "https://me:s3cret@host"}},
        {"env_vars": {"PRIVATE_KEY": "s3cret"}},
        {"env_vars": {"HF_TOKEN": "s3cret"}},
        {"pip": ["--extra-index-url", "https://me:s3cret@host"]},
        {"working_dir": "https://me:s3cret@host/x.zip"},
    ],
)
def test_refuse_secrets_finds_them_and_does_not_repeat_them(found: Any) -> None:
    with pytest.raises(ConfigError, match="looks like a secret") as caught:
        refuse_secrets(found, "here")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "found",
    [
        [
            "--base-model",
            "/models/hf-llama-3-8b-instruct",
            "--category",
            "skateboarding",
            "--out",
            "/shared/skills-2026-run",
        ],
        ["--max-new-tokens", "256", "--tokens-per-second", "900"],
        ["--data", "s3://bucket/prod?region=eu-west-1&endpoint_override=host:9000"],
        ["--engine-kwargs", '{"max_num_seqs": 64, "tokenizer_mode": "auto"}'],
        {
            "working_dir": ".",
            "env_vars": {"TOKENIZERS_PARALLELISM": "true", "RAY_AUTH_TOKEN_PATH": "/run/token", "HF_TOKEN_PATH": "/x"},
        },
    ],
)
def test_refuse_secrets_lets_ordinary_words_through(found: Any) -> None:
    refuse_secrets(found, "here")
