"""Order, histories and labels of one part of the interactions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from conftest import day

from reviewllm.examples.purchases import (
    SameTime,
    gather_histories,
    hide_reviews,
    label_items,
    place_histories,
    read_part,
)
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


def test_read_part_sorts_by_time_keeps_ties_in_order_and_blanks_are_no_review(tmp_path: Path) -> None:
    part = purchases([("u", 2, "b", "x"), ("u", 2, "a", " \n"), ("u", 1, "c", "z"), ("a", 9, "d", None)]).drop("hidden")
    write_table(part.to_arrow(), tmp_path / "p.parquet", INTERACTIONS)
    read = read_part(tmp_path / "p.parquet")
    assert read["item_id"].to_list() == ["d", "c", "b", "a"]
    assert read["review"].to_list() == [None, "z", "x", None]


def test_hide_reviews_hides_one_text_of_several_purchases_in_all_of_them() -> None:
    part = purchases([("u", number // 2, "a", "r") for number in range(200)]).drop("hidden")  # two of every day
    hidden = hide_reviews(part, fraction=0.3, seed=1)["hidden"].to_list()
    assert hidden[::2] == hidden[1::2]
    assert 0 < sum(hidden) < 200


TIED = [
    ("u", 1, "a", "r"),
    ("u", 2, "b", "r"),
    ("u", 2, "c", None),
    ("u", 2, "e", "r"),
    ("u", 3, "d", "r"),
    ("v", 1, "f", "r"),
]


@pytest.mark.parametrize(
    ("same_time", "ends", "left_out"),
    #             u/a u/b u/c u/e u/d v/f      reviews by position: u/a 0, u/b 1, u/e 2, u/d 3, v/f 4
    [("before", [0, 1, 2, 2, 3, 4], [0] * 6), ("leave-out", [0, 1, 1, 1, 3, 4], [0, 0, 1, 1, 0, 0])],
)
def test_place_histories_of_equal_times(same_time: SameTime, ends: list[int], left_out: list[int]) -> None:
    part = place_histories(purchases(TIED), same_time=same_time)
    assert part["history_start"].to_list() == [0, 0, 0, 0, 0, 4]
    assert part["history_end"].to_list() == ends
    assert part["left_out"].to_list() == left_out
    assert part["user_end"].to_list() == [4, 4, 4, 4, 4, 5]


@pytest.mark.parametrize("same_time", ["before", "leave-out"])
def test_place_histories_hidden_reviews_are_not_reviews(same_time: SameTime) -> None:
    part = purchases([("u", 1, "a", "r"), ("u", 2, "b", "r"), ("u", 3, "c", "r")])
    part = place_histories(part.with_columns(hidden=pl.Series([False, True, False])), same_time=same_time)
    assert part["is_review"].to_list() == [True, False, True]
    assert part["history_end"].to_list() == [0, 1, 1]


def test_hide_reviews_is_seeded_and_hides_reviews_only() -> None:
    part = purchases([("u", number, "a", None if number % 2 else "r") for number in range(2000)]).drop("hidden")
    assert not hide_reviews(part, fraction=0, seed=1)["hidden"].any()
    hidden = hide_reviews(part, fraction=0.3, seed=1)["hidden"]
    assert hidden.equals(hide_reviews(part, fraction=0.3, seed=1)["hidden"])
    assert not hidden.equals(hide_reviews(part, fraction=0.3, seed=2)["hidden"])
    assert not (hidden & part["review"].is_null()).any()
    assert 240 < hidden.sum() < 360  # 1,000 reviews, p = 0.3: 300, and more than 4 standard deviations (14.5) around it


ITEM_ROWS = [  # item, title, brand, main category, last of its categories
    ("titled", "Rake", "Corvo", "Tools", "Rakes"),
    ("both", None, "Corvo", "Tools", "Hand Rakes"),
    ("own", None, "Corvo", "Tools", None),
    ("brand in category", None, "corvo", "Tools", "Corvo Rakes"),
    ("category in brand", None, "The Garden Company", "Tools", None),
    ("part of a word", None, "Art", "Tools", "Arts and Crafts"),
    ("no brand", None, None, "Tools", None),
    ("main", None, None, "Tools", None),
    ("bare", None, None, None, None),
]
STAND_INS = {  # the purchase's category is Garden, but for the items 'main', 'bare' and 'unknown'
    "titled": ("Rake", None),
    "both": ("Corvo Hand Rakes", "brand and category"),
    "own": ("Corvo Garden", "brand and category"),
    "brand in category": ("Corvo Rakes", "the category"),
    "category in brand": ("The Garden Company", "the brand"),
    "part of a word": ("Art Arts and Crafts", "brand and category"),
    "no brand": ("Garden", "the category"),
    "main": ("Tools", "the category"),
    "bare": ("bare", "the item id"),
    "unknown": ("unknown", "the item id"),
}


def test_label_items_says_what_stands_in_for_a_title() -> None:
    names = ["item_id", "title", "brand", "category", "last"]
    items = pl.DataFrame(ITEM_ROWS, schema=dict.fromkeys(names, pl.String), orient="row").with_columns(
        price=pl.lit(None, pl.Float64),
        attributes=pl.format('{{"x": 1, "categories": ["Top", "{}"]}}', "last"),
    )
    part = purchases([("u", number, item, "r") for number, item in enumerate(STAND_INS)])
    part = part.with_columns(category=pl.Series(["Garden"] * 7 + ["unknown", "", "unknown"]))
    ITEMS.check(items.to_arrow(), where="test")
    labelled = label_items(part, items.lazy())
    assert labelled.select("title", "stands_in").rows() == list(STAND_INS.values())
    assert labelled["purchase_id"].to_list() == part["purchase_id"].to_list()
    assert labelled["is_known"].to_list() == [True] * 9 + [False]
    assert labelled["attributes"].is_not_null().to_list() == [last is not None for *_, last in ITEM_ROWS] + [False]


def test_label_items_without_any_item_stands_in_the_category() -> None:
    labelled = label_items(purchases([("u", 1, "a", "r")]), pl.DataFrame(ITEMS.schema.empty_table()).lazy())
    assert labelled.select("title", "stands_in", "is_known").rows() == [("Garden", "the category", False)]


def test_gather_histories_slices_overlap() -> None:
    reviews = pa.table({"item_id": ["a", "b", "c", "d"]})
    histories = gather_histories(reviews, np.array([0, 0, 2, 3]), np.array([0, 2, 3, 4]))
    assert [[row["item_id"] for row in history] for history in histories.to_pylist()] == [[], ["a", "b"], ["c"], ["d"]]


def test_gather_histories_without_any_entry() -> None:
    reviews = pa.table({"item_id": pa.array([], pa.string())})
    assert gather_histories(reviews, np.array([0, 0]), np.array([0, 0])).to_pylist() == [[], []]
