"""Interactions as sequences: repeats, ties, the core, and the counts of the paper."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from reviewllm.recommend.protocol import keep_core, make_sequences
from reviewllm.recommend.sources import read_sequences


def interactions(*rows: tuple[str, str, int]) -> pl.DataFrame:
    """Rows of user, item and time."""
    return pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String, "at": pl.Int64}, orient="row")


def test_make_sequences_keeps_the_first_of_repeats_and_breaks_ties_by_item() -> None:
    rows = interactions(
        ("b", "z", 1), ("a", "y", 2), ("a", "x", 2), ("a", "w", 9), ("a", "x", 1), ("b", "y", 0), ("b", "x", 5)
    )
    made = make_sequences(rows, core=1)
    assert made.rows.rows() == [("a", ["x", "y", "w"]), ("b", ["y", "z", "x"])]
    assert (made.rows_in, made.repeats, made.below_core, made.too_short, made.interactions, made.items) == (7, 1, 0, 0, 6, 4)


def test_make_sequences_does_not_depend_on_the_order_of_rows() -> None:
    rows = interactions(*[(f"u{n % 7}", f"i{n * n % 11}", n % 3) for n in range(60)])
    assert make_sequences(rows, core=2).rows.equals(make_sequences(rows.reverse(), core=2).rows)


def test_make_sequences_drops_users_too_short_to_hold_two_items_out() -> None:
    rows = interactions(("a", "x", 1), ("a", "y", 2), ("b", "x", 1), ("b", "y", 2), ("b", "z", 3))
    made = make_sequences(rows, core=1)
    assert made.rows["user_id"].to_list() == ["b"]
    assert (made.too_short, made.items) == (2, 3)


def test_keep_core_goes_on_until_nothing_changes() -> None:
    # Without d, z has one buyer and goes; without z, c has one item and goes; a and b with x and y are left.
    rows = interactions(
        *[(user, item, 0) for user, items in (("a", "xy"), ("b", "xy"), ("c", "yz"), ("d", "z")) for item in items]
    )
    assert keep_core(rows, 2).select("user_id", "item_id").rows() == [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]
    assert keep_core(rows, 5).is_empty()


def test_make_sequences_of_beauty_has_the_counts_of_the_paper(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("data/beauty_2014")
    source = read_sequences(folder / "sequences.txt.gz", datamaps=folder / "datamaps.json.gz")
    made = make_sequences(source.interactions, core=5)
    assert (made.rows.height, made.items, made.interactions) == (22_363, 12_101, 198_502)
    assert source.rejected.is_empty()
