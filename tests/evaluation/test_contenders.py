"""The line-up of an evaluation: who is in it, how often, and which names are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reviewllm.errors import AdapterError, ConfigError
from reviewllm.evaluation.baselines import BASELINES, REAL
from reviewllm.evaluation.contenders import Lineup, adapters_by_repeat, find_contenders, names_of
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.endpoint_config import EndpointConfig
from reviewllm.prompts.config import PromptConfig
from reviewllm.scoring.config import ScoringConfig

HOSTED = EndpointConfig(url="http://127.0.0.1:9/v1", model="gpt", api_key_variable=None)


@pytest.fixture
def asked(random_base: Path, tmp_path: Path) -> Lineup:
    return Lineup(
        models=["base", *BASELINES, "hosted"],
        base_model=str(random_base),
        adapter=tmp_path / "adapter",
        adapter_no_rating=tmp_path / "adapter-no-rating",
        adapter_name="Review-LLM",
        endpoints={"hosted": HOSTED},
        prompt=PromptConfig(max_prompt_tokens=128),
        generation=GenerationConfig(max_new_tokens=16),
        repeats=3,
    )


def test_find_contenders_greedy_models_are_asked_once(asked: Lineup) -> None:
    found = find_contenders(asked)
    assert [(one.kind, one.variant.prompt.rating) for one in found] == [
        ("base", True),
        ("base", False),
        *([("baseline", False)] * 3),
        ("baseline", True),
        ("baseline", False),
        ("endpoint", True),
        ("endpoint", False),
        ("baseline", False),
    ]
    assert found[-1].baseline == REAL
    assert {one.variant.repeat for one in found} == {0}
    assert names_of(found)["hosted", None] == "hosted"
    assert len({one.variant.fingerprint for one in found}) == len(found)


def test_find_contenders_sampling_models_are_asked_in_every_repetition(asked: Lineup) -> None:
    sampled = asked._replace(models=["base", "hosted", "own-latest"], generation=GenerationConfig(temperature=0.7))
    found = find_contenders(sampled)
    assert [(one.kind, one.variant.repeat) for one in found if one.variant.prompt.rating] == [
        *(("base", repeat) for repeat in range(3)),
        *(("endpoint", repeat) for repeat in range(3)),
    ]
    first, second, third = (one.variant for one in found if one.kind == "base" and one.variant.prompt.rating)
    assert len({first.fingerprint, second.fingerprint, third.fingerprint}) == 3
    seeds = [variant.seeds(["a"], sampled.generation)[0] for variant in (first, second, third)]
    assert len(set(seeds)) == 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"models": ["base", "gpt-5"]},
            r"--models gpt-5: is no model of this evaluation; known are base, adapter, own-similar",
        ),
        ({"models": ["base", "base"]}, "--models: base is named more than once"),
        ({"endpoints": {"Review-LLM": HOSTED}, "models": []}, "--endpoints Review-LLM: is the name of another model"),
        ({"endpoints": {"own-latest": HOSTED}, "models": []}, "--endpoints own-latest: is the name of another model"),
        ({"endpoints": {"../x": HOSTED}, "models": []}, r"--endpoints \.\./x: names a file too"),
    ],
)
def test_find_contenders_refuses_names(asked: Lineup, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_contenders(asked._replace(**changed))


def test_find_contenders_refuses_an_adapter_name_that_is_the_bases(asked: Lineup) -> None:
    with pytest.raises(ConfigError, match="is the name of the base too"):
        find_contenders(asked._replace(adapter_name=Path(asked.base_model).name))


def test_adapters_by_repeat(tmp_path: Path) -> None:
    one = tmp_path / "adapter"
    assert adapters_by_repeat(one, 5) == [one]
    for seed in (0, 2, 10):
        (tmp_path / f"adapter-seed{seed}").mkdir()
    (tmp_path / "adapter-no-rating-seed0").mkdir()
    assert [path.name for path in adapters_by_repeat(one, 3)] == ["adapter-seed0", "adapter-seed2", "adapter-seed10"]
    assert adapters_by_repeat(one, 1) == [tmp_path / "adapter-seed0"]  # there is no other
    with pytest.raises(ConfigError, match=r"has 3 adapter\(s\) adapter-seed<n>"):
        adapters_by_repeat(one, 4)
    one.mkdir()
    assert adapters_by_repeat(one, 1) == [one]


def test_adapters_by_repeat_of_a_name_that_is_a_pattern(tmp_path: Path) -> None:
    for name in ("a[1]*-seed0", "a[1]*-seed1", "a1-seed2"):
        (tmp_path / name).mkdir()
    assert [path.name for path in adapters_by_repeat(tmp_path / "a[1]*", 2)] == ["a[1]*-seed0", "a[1]*-seed1"]


def test_find_contenders_in_each_serialisation_under_a_name_of_its_own(asked: Lineup) -> None:
    prompt = PromptConfig(task="attributes", max_prompt_tokens=128)
    lineup = asked._replace(models=["base", "own-latest", "hosted"], prompt=prompt, serialisations=["json", "tsv"])
    found = find_contenders(lineup)
    base = Path(asked.base_model).name
    rated = [(one.name, one.variant.prompt.serialisation) for one in found if one.variant.prompt.rating]
    assert rated == [(f"{base}, json", "json"), (f"{base}, tsv", "tsv"), ("hosted, json", "json"), ("hosted, tsv", "tsv")]
    assert len([one for one in found if one.kind == "baseline"]) == 2  # each once: it reads no prompt
    assert len(set(names_of(found).values())) == len(names_of(found)) == 6
    assert len({one.variant.fingerprint for one in found}) == len(found)


def test_find_contenders_adapters_of_a_serialisation_are_named_by_it(asked: Lineup) -> None:
    lineup = asked._replace(models=["adapter"], prompt=PromptConfig(task="attributes"), serialisations=["html"])
    with pytest.raises(AdapterError, match="adapter-html: not a complete adapter folder"):
        find_contenders(lineup._replace(prompt=PromptConfig(task="attributes", max_prompt_tokens=128)))


def test_find_contenders_that_are_scored_otherwise_are_others(asked: Lineup) -> None:
    """Also those that copy by rule, so that a run which was ended does not take up rows with other scores."""
    first, second = (
        find_contenders(asked._replace(scoring=ScoringConfig(rouge_words=words))) for words in ("paper", "unicode")
    )
    for one, other in zip(first, second, strict=True):
        assert one.variant.fingerprint != other.variant.fingerprint
        assert (one.variant.scoring.rouge_words, other.variant.scoring.rouge_words) == ("paper", "unicode")
