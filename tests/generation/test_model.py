"""What decides a text is in the fingerprint; what cannot fit is refused before any engine starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from reviewllm.errors import ConfigError
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.model import fingerprint, make_variant
from reviewllm.prompts.renderer import PromptConfig

PROMPT, GENERATION = PromptConfig(max_prompt_tokens=512), GenerationConfig()


def test_fingerprint_changes_with_whatever_decides_the_text(random_base: Path, tmp_path: Path) -> None:
    file = tmp_path / "instruction.txt"
    file.write_text("Another one.")
    made = [
        fingerprint(random_base, None, PROMPT, GENERATION),
        fingerprint(random_base, None, PROMPT, GENERATION.model_copy(update={"temperature": 0.7})),
        fingerprint(random_base, None, PROMPT, GENERATION.model_copy(update={"sampling_seed": 1})),
        fingerprint(random_base, None, PROMPT, GENERATION.model_copy(update={"engine": "rule"})),
        fingerprint(random_base, None, PROMPT, GENERATION.model_copy(update={"engine_kwargs": {"quantization": "fp8"}})),
        fingerprint(random_base, None, PROMPT.model_copy(update={"rating": False}), GENERATION),
        fingerprint(random_base, None, PROMPT.model_copy(update={"instruction_file": file}), GENERATION),
        fingerprint(random_base, random_base, PROMPT, GENERATION),
    ]
    assert len(set(made)) == len(made)


def test_fingerprint_ignores_resources_and_where_the_instruction_lies(random_base: Path, tmp_path: Path) -> None:
    file = tmp_path / "same.txt"
    file.write_text(PROMPT.instruction())
    more = GENERATION.model_copy(update={"num_engines": 64, "shards_in_flight": 9})
    same = PROMPT.model_copy(update={"instruction_file": file})
    assert fingerprint(random_base, None, PROMPT, GENERATION) == fingerprint(random_base, None, same, more)


def test_make_variant_over_the_bases_context_is_refused(random_base: Path) -> None:
    with pytest.raises(ConfigError, match=r"may come to 1280 tokens, but the base .* has a context of 1024"):
        make_variant(
            base_model=str(random_base),
            adapter=None,
            prompt=PromptConfig(max_prompt_tokens=1024),
            generation=GenerationConfig(max_new_tokens=256),
        )
