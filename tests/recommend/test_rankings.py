"""A firm's own candidates, with what can be wrong in them, and recommendations."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from reviewllm.errors import InputError, SchemaError
from reviewllm.recommend.rankings import (
    IN_HISTORY,
    UNKNOWN_ITEM,
    UNKNOWN_USER,
    is_recommendations,
    read_candidates,
    read_recommendations,
)
from reviewllm.recommend.tables import CANDIDATES, RECOMMENDATIONS
from reviewllm.table_files import write_table

SEQUENCES = pl.DataFrame({"user_id": ["a", "b"], "item_ids": [["x", "y", "z"], ["y", "x", "w"]]})
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def candidates(
    file: Path, *rows: tuple[str, str, int], scores: list[float | None] | None = None, name: str = "ours"
) -> Path:
    """Write rows of user, item and rank."""
    records = [
        {"user_id": user, "item_id": item, "rank": rank, "score": None if scores is None else scores[n], "retriever": name}
        for n, (user, item, rank) in enumerate(rows)
    ]
    write_table(pa.Table.from_pylist(records, schema=CANDIDATES.schema), file, CANDIDATES)
    return file


def recommendation(user: str, item: str, rank: int, **changed: Any) -> dict[str, Any]:
    """One row of recommendations by a bare base."""
    row = {"user_id": user, "item_id": item, "rank": rank, "source": "model", "log_likelihood": None, "reason": None}
    row |= {"retriever": "sasrec", "model": "org/tiny", "adapter": None, "method": "generate"}
    return {**row, "fingerprint": "f", "generated_at": NOW, **changed}


def test_read_candidates_drops_and_counts_what_cannot_be_recommended(tmp_path: Path) -> None:
    file = candidates(
        tmp_path / "c.parquet", ("a", "y", 2), ("a", "z", 3), ("a", "q", 1), ("a", "w", 7), ("nobody", "x", 1), ("b", "w", 5)
    )
    found = read_candidates(file, SEQUENCES, "test")["ours"]
    assert found.rows.select("user_id", "item_id", "rank").rows() == [("a", "z", 1), ("a", "w", 2), ("b", "w", 1)]
    assert found.dropped == {UNKNOWN_USER: 1, UNKNOWN_ITEM: 1, IN_HISTORY: 1}


def test_read_candidates_takes_the_history_of_the_target(tmp_path: Path) -> None:
    file = candidates(tmp_path / "c.parquet", ("a", "y", 1), ("a", "z", 2))
    kept = {
        target: read_candidates(file, SEQUENCES, target)["ours"].rows["item_id"].to_list()
        for target in ("validation", "test", "next")
    }  # type: ignore[arg-type]
    assert kept == {"validation": ["y", "z"], "test": ["z"], "next": []}


def test_read_candidates_tells_retrievers_of_a_folder_apart(tmp_path: Path) -> None:
    candidates(tmp_path / "one.parquet", ("a", "z", 1), name="one")
    candidates(tmp_path / "two.parquet", ("a", "w", 1), ("b", "w", 1), name="two")
    found = read_candidates(tmp_path, SEQUENCES, "test")
    assert {name: one.rows.height for name, one in found.items()} == {"one": 1, "two": 2}


@pytest.mark.parametrize(
    ("rows", "scores", "problem"),
    [
        ([("a", "z", 1), ("a", "w", 1)], None, r"2 row\(s\): rank 1 of user 'a' stands there twice"),
        ([("a", "z", 1), ("a", "z", 2)], None, r"2 row\(s\): item_id 'z' of user 'a' stands there twice"),
        ([("a", "z", 0)], None, "rank 0 of user 'a' is below 1"),
        ([("a", "z", 1), ("a", "w", 2)], [0.5, float("nan")], "score nan of user 'a' is not a number"),
    ],
)
def test_read_candidates_refuses(
    tmp_path: Path, rows: list[tuple[str, str, int]], scores: list[float | None] | None, problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        read_candidates(candidates(tmp_path / "c.parquet", *rows, scores=scores), SEQUENCES, "test")


def test_read_candidates_refuses_nulls(tmp_path: Path) -> None:
    table = pa.table(
        {"user_id": ["a"], "item_id": pa.array([None], pa.string()), "rank": [1], "score": [1.0], "retriever": ["r"]}
    )
    pa.parquet.write_table(table, tmp_path / "c.parquet")
    with pytest.raises(SchemaError, match="'item_id' of table 'candidates' holds 1 null"):
        read_candidates(tmp_path / "c.parquet", SEQUENCES, "test")


def test_read_recommendations_names_systems_by_who_ranked(tmp_path: Path) -> None:
    rows = [
        recommendation("a", "z", 1),
        recommendation("a", "w", 1, adapter="out/run/adapter"),
        recommendation("b", "w", 1, adapter="out/run/adapter"),
        recommendation("b", "w", 1, method="likelihood"),
    ]
    file = tmp_path / "r.parquet"
    write_table(pa.Table.from_pylist(rows, schema=RECOMMENDATIONS.schema), file, RECOMMENDATIONS)
    found = read_recommendations(file, SEQUENCES, "test")
    assert {name: (one.base, one.rows.height) for name, one in found.items()} == {
        "tiny on sasrec (generate)": ("tiny", 1),
        "tiny + adapter on sasrec (generate)": ("tiny + adapter", 2),
        "tiny on sasrec (likelihood)": ("tiny", 1),
    }
    assert is_recommendations(file)
    assert not is_recommendations(candidates(tmp_path / "c.parquet", ("a", "z", 1)))
