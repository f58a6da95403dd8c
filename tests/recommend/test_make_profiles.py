"""Profiles: asked once for each history, kept as long as it stays, and never half written."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from recommend.answers import StoppedError, answer_with, no_engine
from recommend.shop import TITLES, frame

from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.model import make_variant
from reviewllm.prompts.config import PromptConfig
from reviewllm.recommend.answering import Answerer
from reviewllm.recommend.make_profiles import ASKED, FAILED, KEPT, Profiler, make_profiles
from reviewllm.recommend.names import item_names
from reviewllm.recommend.profiles import Profiles, read_profiles
from reviewllm.recommend.tables import PROFILES
from reviewllm.table_files import read_table

NAMES = item_names(list(TITLES), list(TITLES.values()), ids="ambiguous", max_chars=100)
SEQUENCES = {"u1": ["i0", "i1", "i3"], "u2": ["i5", "i6", "i4"], "u3": ["i0", "i3", "i7"], "short": ["i0"]}


def by_rule(folder: Path, sequences: dict[str, list[str]], **changed: Any) -> Counter[str]:
    return make_profiles(frame(sequences), Profiler(NAMES, None), folder, target="test", cluster=no_engine, **changed)


def rows_of(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["user_id"]: row for row in read_table(folder, PROFILES).to_pylist()}


def test_profiles_by_rule_summarise_what_is_not_held_out(tmp_path: Path) -> None:
    folder = tmp_path / "profiles" / "test"
    assert by_rule(folder, SEQUENCES) == {KEPT: 0, ASKED: 3, FAILED: 0}
    rows = rows_of(folder)
    assert set(rows) == {"u1", "u2", "u3"}  # nothing is left of the fourth's history
    assert rows["u3"]["keywords"][0] == "steel"
    assert "stapler" not in rows["u3"]["keywords"]  # the test item
    assert rows["u1"]["model"] == "rule"
    assert read_profiles(folder).of(["u3", "nobody"]) == {"u3": rows["u3"]["keywords"]}
    assert Profiles().of(["u3"]) == {}
    assert [path.name for path in folder.parent.iterdir()] == ["test"]


def test_profiles_are_made_anew_only_where_the_history_changed(tmp_path: Path) -> None:
    folder = tmp_path / "profiles" / "test"
    by_rule(folder, SEQUENCES)
    before = rows_of(folder)
    later = {"u1": SEQUENCES["u1"], "u2": [*SEQUENCES["u2"], "i7"], "new": ["i4", "i5", "i6"]}
    assert by_rule(folder, later) == {KEPT: 1, ASKED: 2, FAILED: 0}
    after = rows_of(folder)
    assert set(after) == {"u1", "u2", "new"}
    assert after["u1"] == before["u1"]
    assert after["u2"]["history_sha256"] != before["u2"]["history_sha256"]


@pytest.fixture
def profiler(random_base: Path) -> Profiler:
    generation = GenerationConfig(max_new_tokens=100)
    prompt = PromptConfig(task="profile", max_prompt_tokens=900)
    variant = make_variant(base_model=str(random_base), adapter=None, prompt=prompt, generation=generation)
    return Profiler(NAMES, Answerer(variant, generation, "constrained", Path("nowhere")))


def answer(profiler: Profiler, work: Path, texts: dict[str, str]) -> None:
    assert profiler.answerer
    answer_with(profiler.answerer, work, texts, '["tools"]')


def test_profiles_by_a_model_are_cleaned_and_asked_again_where_they_failed(tmp_path: Path, profiler: Profiler) -> None:
    folder = tmp_path / "profiles" / "test"
    texts = {"u1": '["Garden","garden tools \\"x\\"","Garden","###","' + "x" * 99 + '"]', "u2": "I cannot say"}

    def make(sequences: dict[str, list[str]]) -> Counter[str]:
        return make_profiles(frame(sequences), profiler, folder, target="test", cluster=no_engine)

    with pytest.raises(StoppedError):
        make(SEQUENCES)
    (work,) = folder.parent.glob(".profiles-*")
    answer(profiler, work, texts)
    assert make(SEQUENCES) == {KEPT: 0, ASKED: 3, FAILED: 1}
    rows = rows_of(folder)
    assert rows["u1"]["keywords"] == ["Garden", "garden tools ''x''", "x" * 40]
    assert (rows["u2"]["keywords"], rows["u2"]["error"]) == (None, "the answer is no JSON list of keywords")
    assert rows["u3"]["keywords"] == ["tools"]
    assert not work.exists()
    with pytest.raises(StoppedError):
        make(SEQUENCES)
    (asked,) = (work / "examples").iterdir()
    assert pl.read_parquet(asked)["user_id"].to_list() == ["u2"]
    assert rows_of(folder) == rows  # still there while it is asked anew


def test_profiles_of_another_model_are_not_taken_up(tmp_path: Path, profiler: Profiler) -> None:
    folder = tmp_path / "profiles" / "test"
    by_rule(folder, SEQUENCES)
    with pytest.raises(StoppedError):
        make_profiles(frame(SEQUENCES), profiler, folder, target="test", cluster=no_engine)
    (work,) = folder.parent.glob(".profiles-*")
    answer(profiler, work, {})
    made = make_profiles(frame(SEQUENCES), profiler, folder, target="test", cluster=no_engine)
    assert made == {KEPT: 0, ASKED: 3, FAILED: 0}
    assert {json.dumps(row["keywords"]) for row in rows_of(folder).values()} == {'["tools"]'}
