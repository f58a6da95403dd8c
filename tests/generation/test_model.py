"""What decides a text is in the fingerprint; what cannot fit is refused before any engine starts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from reviewllm.errors import ConfigError
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.endpoint_config import EndpointConfig
from reviewllm.generation.model import Variant, endpoint_variant, fingerprint, make_variant, row_seed
from reviewllm.prompts.config import PromptConfig
from reviewllm.scoring.config import ScoringConfig

PROMPT, GENERATION = PromptConfig(max_prompt_tokens=512), GenerationConfig()
DRAFTED = GenerationConfig(temperature=0.7, drafts=8)


def test_fingerprint_changes_with_whatever_decides_the_text(random_base: Path, tmp_path: Path) -> None:
    file = tmp_path / "instruction.txt"
    file.write_text("Another one.")
    made = [
        fingerprint(random_base, None, PROMPT, GENERATION),
        fingerprint(random_base, None, PROMPT, GENERATION.model_copy(update={"temperature": 0.7})),
        fingerprint(random_base, None, PROMPT, GENERATION.model_copy(update={"sampling_seed": 1})),
        fingerprint(random_base, None, PROMPT, GENERATION.model_copy(update={"temperature": 0.7, "drafts": 2})),
        fingerprint(random_base, None, PROMPT, DRAFTED),
        fingerprint(random_base, None, PROMPT, DRAFTED.model_copy(update={"if_no_draft_passes": "dead-letter"})),
        fingerprint(random_base, None, PROMPT, GENERATION.model_copy(update={"engine": "rule"})),
        fingerprint(random_base, None, PROMPT, GENERATION.model_copy(update={"engine_kwargs": {"quantization": "fp8"}})),
        fingerprint(random_base, None, PROMPT.model_copy(update={"rating": False}), GENERATION),
        fingerprint(random_base, None, PROMPT.model_copy(update={"instruction_file": file}), GENERATION),
        fingerprint(random_base, random_base, PROMPT, GENERATION),
        fingerprint(random_base, None, PROMPT, GENERATION, max_hallucination=20),
        fingerprint(random_base, None, PROMPT, GENERATION, max_copied_words=20),
        *(
            fingerprint(random_base, None, PROMPT.model_copy(update={"max_evidence_tokens": 99, **others}), GENERATION)
            for others in ({"evidence": "item"}, {"evidence": "both"}, {"evidence": "item", "evidence_place": "first"})
        ),
        fingerprint(random_base, None, PROMPT, GENERATION, scoring=ScoringConfig(rouge_words="unicode")),
    ]
    assert len(set(made)) == len(made)


def test_fingerprint_ignores_resources_and_where_the_instruction_lies(random_base: Path, tmp_path: Path) -> None:
    file = tmp_path / "same.txt"
    file.write_text(PROMPT.instruction())
    more = GENERATION.model_copy(update={"num_engines": 64, "shards_in_flight": 9})
    same = PROMPT.model_copy(update={"instruction_file": file})
    assert fingerprint(random_base, None, PROMPT, GENERATION) == fingerprint(random_base, None, same, more)


def test_fingerprint_of_drafts_changes_with_what_chooses_among_them_and_no_other_does(
    random_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [fingerprint(random_base, None, PROMPT, one) for one in (GENERATION, DRAFTED)]
    monkeypatch.setattr("reviewllm.generation.choice.MOST_LENGTH_FACTOR", 3.0)
    after = [fingerprint(random_base, None, PROMPT, one) for one in (GENERATION, DRAFTED)]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False]
    deciding = {"engine", "max_new_tokens", "temperature", "top_p", "sampling_seed", "engine_kwargs"}
    assert set(GENERATION.sampling()) == deciding  # as before there were drafts
    assert set(DRAFTED.sampling()) == deciding | {"drafts", "if_no_draft_passes"}


def test_make_variant_of_what_the_engine_cannot_write_with_is_refused(random_base: Path, tmp_path: Path) -> None:
    base = shutil.copytree(random_base, tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "architectures": ["LamaForCausalLM"]}))

    def make(generation: GenerationConfig) -> Variant:
        return make_variant(base_model=str(base), adapter=None, prompt=PROMPT, generation=generation)

    with pytest.raises(ConfigError, match="knows its architecture 'LamaForCausalLM'"):
        make(GENERATION)
    assert make(GENERATION.model_copy(update={"engine": "rule"})).base == base


def test_make_variant_over_the_bases_context_is_refused(random_base: Path) -> None:
    with pytest.raises(ConfigError, match=r"may come to 1280 tokens, but the base .* has a context of 1024"):
        make_variant(
            base_model=str(random_base),
            adapter=None,
            prompt=PromptConfig(max_prompt_tokens=1024),
            generation=GenerationConfig(max_new_tokens=256),
        )


def test_endpoint_variant_changes_with_whatever_decides_the_text(random_base: Path) -> None:
    endpoint = EndpointConfig(url="https://host/v1", model="gpt-4o")

    def made(generation: GenerationConfig = GENERATION, prompt: PromptConfig = PROMPT, **options: object) -> str:
        changed = endpoint.model_copy(update=options)
        return endpoint_variant(changed, base_model=str(random_base), prompt=prompt, generation=generation).fingerprint

    fingerprints = [
        made(),
        made(url="https://other/v1"),
        made(model="gpt-3.5-turbo"),
        made(api="completions"),
        made(extra_body={"top_k": 5}),
        made(unsupported=["seed"]),
        made(GENERATION.model_copy(update={"temperature": 0.7})),
        made(DRAFTED),
        made(prompt=PROMPT.model_copy(update={"rating": False})),
        made(prompt=PROMPT.model_copy(update={"prompt_form": "dialogue"})),
        fingerprint(random_base, None, PROMPT, GENERATION),
    ]
    assert len(set(fingerprints)) == len(fingerprints)
    same = GENERATION.model_copy(update={"engine": "rule", "engine_kwargs": {"quantization": "fp8"}})
    assert made(same, api_key_variable="OTHER_KEY", max_concurrency=1, price_per_million_prompt_tokens=2.5) == made()


def test_endpoint_variant_is_not_bound_by_the_bases_context(random_base: Path) -> None:
    variant = endpoint_variant(
        EndpointConfig(url="https://host/v1", model="gpt-4o"),
        base_model=str(random_base),
        prompt=PromptConfig(max_prompt_tokens=4000),
        generation=GENERATION,
    )
    assert (variant.model, variant.adapter, variant.canaries) == ("gpt-4o", None, [])


def test_row_seed_is_stable_and_differs_by_row_and_run() -> None:
    assert row_seed("a", 0) == row_seed("a", 0)
    assert len({row_seed(str(number), run) for number in range(100) for run in range(2)}) == 200
    assert all(0 <= row_seed(str(number), 0) < 2**31 for number in range(1000))
