"""Order, histories and labels of one part of the interactions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from conftest import day

from reviewllm.examples.purchases import gather_histories, hide_reviews, label_items, place_histories, read_part
from reviewllm.table_files import write_table
from reviewllm.tables import INTERACTIONS, ITEMS


def purchases(rows: list[tuple[str, int, str, str | None]]) -> pl.DataFrame:
    """Rows (user, day, item, review) as a part of interactions with nothing hidden."""
    return pl.DataFrame(
        {
            "purchase_id": [f"p{number}" for number in range(len(rows))],
            "user_id": [row[0] for row in rows],
            "item_id": [row[2] for row in rows],
            "category": ["Garden"] * len(rows),
            "rating": [5.0] * len(rows),
            "review": [row[3] for row in rows],
            "purchased_at": [day(row[1]) for row in rows],
            "hidden": [False] * len(rows),
        },
        schema_overrides={"review": pl.String},
    )


def test_read_part_sorts_by_time_then_item_and_blanks_are_no_review(tmp_path: Path) -> None:
    part = purchases([("u", 2, "b", "x"), ("u", 2, "a", " \n"), ("u", 1, "c", "z"), ("a", 9, "d", None)]).drop("hidden")
    write_table(part.to_arrow(), tmp_path / "p.parquet", INTERACTIONS)
    read = read_part(tmp_path / "p.parquet")
    assert read["item_id"].to_list() == ["d", "c", "a", "b"]
    assert read["review"].to_list() == [None, "z", None, "x"]


def test_place_histories_equal_times_are_not_earlier() -> None:
    part = place_histories(
        purchases([("u", 1, "a", "r"), ("u", 2, "b", "r"), ("u", 2, "c", None), ("u", 3, "d", "r"), ("v", 1, "e", "r")])
    )
    #       u/a  u/b  u/c  u/d  v/e      reviews by position: u/a 0, u/b 1, u/d 2, v/e 3
    assert part["history_start"].to_list() == [0, 0, 0, 0, 3]
    assert part["history_end"].to_list() == [0, 1, 1, 2, 3]
    assert part["user_end"].to_list() == [3, 3, 3, 3, 4]


def test_place_histories_hidden_reviews_are_not_reviews() -> None:
    part = purchases([("u", 1, "a", "r"), ("u", 2, "b", "r"), ("u", 3, "c", "r")])
    part = place_histories(part.with_columns(hidden=pl.Series([False, True, False])))
    assert part["is_review"].to_list() == [True, False, True]
    assert part["history_end"].to_list() == [0, 1, 1]


def test_hide_reviews_is_seeded_and_hides_reviews_only() -> None:
    part = purchases([("u", number, "a", None if number % 2 else "r") for number in range(2000)]).drop("hidden")
    hidden = hide_reviews(part, fraction=0.3, seed=1)["hidden"]
    assert hidden.equals(hide_reviews(part, fraction=0.3, seed=1)["hidden"])
    assert not hidden.equals(hide_reviews(part, fraction=0.3, seed=2)["hidden"])
    assert not (hidden & part["review"].is_null()).any()
    assert 240 < hidden.sum() < 360  # 1,000 reviews, p = 0.3: 300, and more than 4 standard deviations (14.5) around it


def test_label_items_falls_back_to_brand_then_category_then_id() -> None:
    part = purchases([("u", number, item, "r") for number, item in enumerate("abcd")])
    part = part.with_columns(category=pl.Series(["Garden", "Garden", "Garden", ""]))
    items = pl.DataFrame(
        {
            "item_id": ["a", "b", "x"],
            "title": ["Rake", None, "X"],
            "brand": ["Corvo", "Corvo", None],
            "category": [None, None, None],
            "price": [1.0, None, None],
            "attributes": ["{}", None, None],
        },
        schema_overrides={"category": pl.String},
    )
    ITEMS.check(items.to_arrow(), where="test")
    labelled = label_items(part, items.lazy())
    assert labelled["title"].to_list() == ["Rake", "Corvo", "Garden", "d"]
    assert labelled["purchase_id"].to_list() == ["p0", "p1", "p2", "p3"]
    assert labelled["attributes"].to_list() == ["{}", None, None, None]


def test_gather_histories_slices_overlap() -> None:
    reviews = pa.table({"item_id": ["a", "b", "c", "d"]})
    histories = gather_histories(reviews, np.array([0, 0, 2, 3]), np.array([0, 2, 3, 4]))
    assert [[row["item_id"] for row in history] for history in histories.to_pylist()] == [[], ["a", "b"], ["c"], ["d"]]


def test_gather_histories_without_any_entry() -> None:
    reviews = pa.table({"item_id": pa.array([], pa.string())})
    assert gather_histories(reviews, np.array([0, 0]), np.array([0, 0])).to_pylist() == [[], []]
