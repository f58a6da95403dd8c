"""Retrievers' candidates as a table, and how often the target is among them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from reviewllm.recommend.evaluate import asked_users, measure
from reviewllm.recommend.histories import catalogue, make_histories
from reviewllm.recommend.rankings import read_candidates
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
    # Nothing is held out of d's single item. The targets z, y and w of the others are all in the two that are listed.
    assert (found.users, found.rows, found.without, found.asked) == (4, 8, 0, 3)
    assert found.hit_ratio == 3 / 3


@pytest.mark.parametrize("k", [1, 7, 60])
def test_retrieve_says_the_hit_ratio_that_evaluate_finds_in_its_table(tmp_path: Path, k: int) -> None:
    draw = np.random.default_rng(0)
    taken = [[f"i{item:02d}" for item in draw.integers(80, size=draw.integers(1, 6))] for _ in range(300)]
    rows = pl.DataFrame({"user_id": [f"u{n}" for n in range(300)], "item_ids": taken})  # some buy an item twice
    retriever = Popular(make_histories(rows, catalogue(rows), "validation"), catalogue(rows))
    found = retrieve(retriever, rows, tmp_path / "popular.parquet", target="test", k=k)
    systems = read_candidates(tmp_path / "popular.parquet", rows, "test")
    measured = measure(systems, asked_users(rows, "test"), run="r", target="test", candidate="popular")
    (hits,) = pl.DataFrame(measured.metrics).filter(slice="all", metric="HR@50").to_dicts()
    assert (found.asked, 100 * (found.hit_ratio or 0)) == (hits["n"], pytest.approx(hits["value"]))
    assert 0 < hits["value"] < 100


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
