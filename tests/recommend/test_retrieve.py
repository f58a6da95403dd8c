"""Retrievers' candidates as a table, and how often the target is among them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from reviewllm.recommend.histories import catalogue, make_histories
from reviewllm.recommend.retrieve import Popular, retrieve
from reviewllm.recommend.tables import CANDIDATES

ROWS = pl.DataFrame(
    {"user_id": ["a", "b", "c", "d"], "item_ids": [["x", "y", "z"], ["x", "z", "y"], ["x", "y", "w"], ["y"]]},
)


def popular() -> Popular:
    """Counts of the items before the two held out: x 3, all others 0."""
    return Popular(make_histories(ROWS, catalogue(ROWS), "validation"), catalogue(ROWS))


def test_retrieve_writes_the_most_popular_items_that_are_new_to_each(tmp_path: Path) -> None:
    found = retrieve(popular(), ROWS, tmp_path / "c" / "popular.parquet", target="test", k=2)
    table = pq.read_table(tmp_path / "c" / "popular.parquet")
    assert table.schema == CANDIDATES.schema
    rows = pl.DataFrame(table).sort("user_id", "rank")
    # a and c have x, y; b has x, z; d has nothing before y. Among equal counts the catalogue's order decides: w before y, z.
    assert rows.select("user_id", "item_id", "rank", "score").rows() == [
        ("a", "w", 1, 0.0), ("a", "z", 2, 0.0),
        ("b", "w", 1, 0.0), ("b", "y", 2, 0.0),
        ("c", "w", 1, 0.0), ("c", "z", 2, 0.0),
        ("d", "x", 1, 3.0), ("d", "w", 2, 0.0),
    ]  # fmt: skip
    assert (found.users, found.rows, found.without, found.asked) == (4, 8, 0, 4)
    # A tie counts against the target: of a, b and c it is rank 2 of 2; of d rank 4 of 4, beyond the two that are listed.
    assert found.hit_ratio == 3 / 4


def test_retrieve_for_next_holds_nothing_out(tmp_path: Path) -> None:
    found = retrieve(popular(), ROWS, tmp_path / "popular.parquet", target="next", k=9)
    rows = pl.DataFrame(pq.read_table(tmp_path / "popular.parquet")).sort("user_id", "rank")
    assert rows.filter(user_id="a")["item_id"].to_list() == ["w"]
    assert rows.filter(user_id="d")["item_id"].to_list() == ["x", "w", "z"]
    assert (found.asked, found.hit_ratio) == (0, None)


def test_retrieve_leaves_no_file_where_it_fails(tmp_path: Path) -> None:
    class Failing(Popular):
        def score(self, *_: object) -> None:  # type: ignore[override]
            raise ZeroDivisionError

    failing = Failing(make_histories(ROWS, catalogue(ROWS), "test"), catalogue(ROWS))
    with pytest.raises(ZeroDivisionError):
        retrieve(failing, ROWS, tmp_path / "c.parquet", target="test", k=2)
    assert list(tmp_path.iterdir()) == []
