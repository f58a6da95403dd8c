"""How much of the real review models tell the likelihood of."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import WORDS

from reviewllm.errors import ConfigError
from reviewllm.evaluation.contenders import Contender, Lineup, find_contenders
from reviewllm.evaluation.reference import reference_tokens, reference_versions
from reviewllm.generation.config import GenerationConfig
from reviewllm.prompts.config import PromptConfig
from reviewllm.tiny_base import TinyBaseConfig, make_tiny_base

GENERATION = GenerationConfig(max_new_tokens=16)


def line_up(base: Path, prompt_tokens: int, models: tuple[str, ...] = ("base", "own-latest")) -> list[Contender]:
    return find_contenders(
        Lineup(
            models=models,
            base_model=str(base),
            adapter=base / "no adapter",
            adapter_no_rating=base / "none",
            adapter_name="Review-LLM",
            endpoints={},
            prompt=PromptConfig(max_prompt_tokens=prompt_tokens),
            generation=GENERATION,
            repeats=1,
        )
    )


def test_reference_tokens_are_those_of_training_within_the_context(random_base: Path) -> None:
    assert reference_tokens(line_up(random_base, 400), GENERATION) == 512
    assert reference_tokens(line_up(random_base, 900), GENERATION) == 1024 - 900 - 1
    assert reference_tokens(line_up(random_base, 900), GENERATION, asked=100) == 100
    with pytest.raises(ConfigError, match=r"come to 1025 tokens.* --max-response-tokens"):
        reference_tokens(line_up(random_base, 900), GENERATION, asked=124)


def test_reference_tokens_of_nobody_who_tells_are_none(random_base: Path) -> None:
    assert reference_tokens(line_up(random_base, 400, ("own-latest",)), GENERATION) == 0
    assert reference_tokens(line_up(random_base, 400), GenerationConfig(engine="rule")) == 0
    assert reference_versions(random_base, 0) == {}
    assert reference_versions(random_base, 0, history_worth=True) == {}
    known = reference_versions(random_base, 64, history_worth=True)
    assert known["reference_nll_without_history"] == known["reference_nll"]


def test_reference_versions_differ_with_the_tokenizer_for_tokens_alone(random_base: Path, tmp_path: Path) -> None:
    size = TinyBaseConfig(base_vocabulary=400, base_hidden=32, base_layers=1, base_steps=0)
    other = make_tiny_base([[*WORDS, "another another tokenizer tokenizer"]], tmp_path / "other", size, context=1024)
    mine, theirs = reference_versions(random_base, 64), reference_versions(other, 64)
    assert mine["reference_nll"] != theirs["reference_nll"]
    assert mine["reference_nll_per_byte"] == theirs["reference_nll_per_byte"] == "of at most 64 tokens"
