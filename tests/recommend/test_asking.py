"""Candidates and sequences by shards of users, whatever the files look like."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from recommend.shop import TITLES, candidates_table, write_run

from reviewllm.errors import InputError, SchemaError
from reviewllm.recommend.asking import (
    IN_HISTORY,
    NO_ITEM,
    NO_SEQUENCE,
    Asked,
    Inputs,
    ask_by_shards,
    read_users,
    shuffled,
)
from reviewllm.recommend.tables import CANDIDATES
from reviewllm.table_files import write_table

SEQUENCES = {"u1": ["i0", "i1", "i2"], "u2": ["i3", "i4", "i5"], "u3": ["i0", "i4", "i6"]}


def inputs(out: Path, **changed: Any) -> Inputs:
    file = out / "candidates" / "test" / "own.parquet"
    return Inputs(**{**Inputs(out / "sequences", file, TITLES.keys(), "test", 10, None, 0)._asdict(), **changed})


def asked(found: Inputs, spill: Path) -> tuple[dict[str, Asked], Counter[str]]:
    counts: Counter[str] = Counter()
    users = {one.user_id: one for shard in ask_by_shards(found, spill, counts) for one in shard}
    assert not spill.exists()
    return users, counts


def test_ask_leaves_out_what_the_user_has_and_what_has_no_name(tmp_path: Path) -> None:
    out = write_run(tmp_path, SEQUENCES, {"u1": ["i0", "i5", "new", "i2", "i6"], "u2": ["i3"], "x": ["i1"]})
    users, counts = asked(inputs(out), tmp_path / "spill")
    # i2 is u1's test item: it may be found, and i0 and i1 may not.
    assert users["u1"] == Asked("u1", ["i0", "i1"], ["i5", "i2", "i6"], "own")
    assert users["u2"].candidates == []
    assert counts == {IN_HISTORY: 2, NO_ITEM: 1, NO_SEQUENCE: 1}
    assert set(users) == {"u1", "u2"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rank": [0, 1]}, "rank 0 of user 'u1' is below 1"),
        ({"rank": [3, 3]}, "rank 3 of user 'u1' stands there twice"),
        ({"item_id": ["i5", "i5"]}, "item_id 'i5' of user 'u1' stands there twice"),
        ({"score": [1.0, float("nan")]}, "score nan of user 'u1' is not a number"),
        ({"rank": [1, 1], "retriever": ["a", "b"]}, "user 'u1' has candidates of 2 retrievers, a, b"),
        ({"user_id": ["x", "y"]}, "none of its 2 users, as 'x', is in"),
    ],
)
def test_ask_refuses_candidates_that_say_no_order(tmp_path: Path, changed: dict[str, list[Any]], message: str) -> None:
    out = write_run(tmp_path, SEQUENCES, {})
    columns = candidates_table({"u1": ["i5", "i6"]}).to_pydict() | changed
    write_table(pa.table(columns, schema=CANDIDATES.schema), out / "candidates" / "test" / "own.parquet", CANDIDATES)
    with pytest.raises(InputError, match=message):
        asked(inputs(out), tmp_path / "spill")
    assert not (tmp_path / "spill").exists()


def test_ask_goes_by_rank_whatever_the_order_of_the_rows(tmp_path: Path) -> None:
    out = write_run(tmp_path, SEQUENCES, {"u1": ["i5", "i6", "i7"]})
    file = out / "candidates" / "test" / "own.parquet"
    rows = pq.read_table(file)
    pq.write_table(rows.take(pa.array([2, 0, 1])), file)
    users, _ = asked(inputs(out, most=2), tmp_path / "spill")
    assert users["u1"].candidates == ["i5", "i6"]


@pytest.mark.parametrize(("target", "history"), [("next", ["i0", "i1", "i2"]), ("validation", ["i0"])])
def test_ask_history_is_that_of_the_target(tmp_path: Path, target: Any, history: list[str]) -> None:
    out = write_run(tmp_path, SEQUENCES, {"u1": ["i5"]})
    users, _ = asked(inputs(out, target=target), tmp_path / "spill")
    assert users["u1"].history == history


def test_ask_many_users_come_in_shards_that_are_always_the_same(tmp_path: Path) -> None:
    many = {f"u{number}": ["i0", "i1", "i2"] for number in range(2500)}
    out = write_run(tmp_path, many, {user: ["i5", "i6"] for user in many})
    shards = [list(ask_by_shards(inputs(out), tmp_path / "spill", Counter())) for _ in range(2)]
    assert shards[0] == shards[1]
    assert len(shards[0]) == 3
    assert sum(map(len, shards[0])) == len({one.user_id for shard in shards[0] for one in shard}) == 2500
    sample = read_users(inputs(out, sample=100))
    assert len(sample) == 100
    assert sample == read_users(inputs(out, sample=100))
    assert set(sample) < set(read_users(inputs(out, sample=200)))


def test_ask_of_what_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    out = write_run(tmp_path, SEQUENCES, {"u1": ["i5"]})
    with pytest.raises(InputError, match=r"run `jobs/recommend.py retrieve` for this target first"):
        asked(inputs(out, candidates=out / "none.parquet"), tmp_path / "spill")
    empty = out / "empty.parquet"
    pq.write_table(candidates_table({}), empty)
    with pytest.raises(InputError, match="holds no candidate"):
        asked(inputs(out, candidates=empty), tmp_path / "spill")
    bad = out / "bad.parquet"
    bad.write_bytes(b"no parquet")
    with pytest.raises(SchemaError, match=r"bad.parquet: not a readable Parquet file"):
        asked(inputs(out, candidates=bad), tmp_path / "spill")
    pq.write_table(candidates_table({"u1": ["i5"]}).drop_columns(["retriever"]), bad)
    with pytest.raises(SchemaError, match=r"lacks the column\(s\) retriever"):
        asked(inputs(out, candidates=bad), tmp_path / "spill")


def test_shuffled_is_the_users_own_order_of_the_same_items() -> None:
    items = [f"i{number}" for number in range(20)]
    one, other = (Asked(user, [], items, "own") for user in ("u1", "u2"))
    assert sorted(shuffled(one, 0)) == sorted(items)
    assert shuffled(one, 0) == shuffled(one, 0) != shuffled(other, 0) != items
    assert shuffled(one, 0) != shuffled(one, 1)
    assert one.candidates == items
