"""The demo's defaults follow its input and its task."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.demo import DemoJob
from reviewllm.config import parse
from reviewllm.errors import ConfigError


@pytest.mark.parametrize(
    ("argv", "tokens"),
    [([], 384), (["--reviews", "x"], 768), (["--task", "attributes"], 640), (["--max-prompt-tokens", "99"], 99)],
)
def test_demo_budget_fits_input_and_task(argv: list[str], tokens: int) -> None:
    assert parse(DemoJob, argv).max_prompt_tokens == tokens


def test_demo_shows_json_unless_told_otherwise() -> None:
    assert DemoJob(task="attributes", out=Path("x")).prompts()["serialisation"] == "json"
    several = DemoJob(task="attributes", serialisations=["tsv", "json"])
    assert several.prompts()["serialisation"] == "tsv"
    with pytest.raises(ConfigError, match="--task review shows no attributes"):
        parse(DemoJob, ["--serialisations", "json"])
