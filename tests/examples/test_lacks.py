"""What is said of titles and histories that are missing."""

from __future__ import annotations

import polars as pl

from reviewllm.examples.lacks import Lacks


def part(rows: list[tuple[str, str, str | None, bool]]) -> pl.DataFrame:
    """Purchases of (category, item, what stands in, whether the item is known)."""
    schema = {"category": pl.String, "item_id": pl.String, "stands_in": pl.String, "is_known": pl.Boolean}
    return pl.DataFrame(rows, schema=schema, orient="row")


def targets(rows: list[tuple[str, str, str | None]], *, split: str = "train", **places: int) -> pl.DataFrame:
    """Targets of (item, title, what stands in), with a history unless `places` says otherwise."""
    frame = pl.DataFrame(rows, schema={"item_id": pl.String, "title": pl.String, "stands_in": pl.String}, orient="row")
    default = {"history_start": 0, "history_end": 1, "user_end": 2, "left_out": 0}
    columns = {name: pl.lit(value) for name, value in {**default, **places}.items()}
    return frame.with_columns(category=pl.lit("Magazines"), split=pl.lit(split), **columns)


def test_lines_say_what_stands_in_for_titles_over_all_parts() -> None:
    lacks = Lacks()
    lacks.add_part(part([("Magazines", "a", "brand and category", True), ("Magazines", "b", "the item id", False)]))
    lacks.add_part(part([("Magazines", "c", "brand and category", True), ("Magazines", "d", None, True)]))
    lacks.add_targets(
        targets([("a", "Corvo Magazines", "brand and category"), ("b", "b", "the item id"), ("d", "Rakes", None)])
    )
    lacks.add_targets(targets([("c", "Corvo Magazines", "brand and category")]))
    assert lacks.lines() == [
        "Magazines: 3 of 4 purchases are of items without a title; in its place stands brand and category (2), the item id (1); "
        "2 targets share 1 such names; 1 are of items that are not in the metadata at all, as 'b'"
    ]


def test_lines_leave_out_what_few_lack() -> None:
    lacks = Lacks()
    lacks.add_part(part([("Garden", "a", "the category", True), *[("Garden", "b", None, True)] * 19]))  # one in twenty
    lacks.add_targets(targets([("b", "Rake", None)] * 19))
    lacks.add_targets(targets([("b", "Rake", None)], history_end=0))
    assert lacks.lines() == []


def test_lines_put_many_categories_into_one() -> None:
    lacks = Lacks()
    lacks.add_part(part([(f"c{number}", "a", "the category", True) for number in range(6)]))
    assert lacks.lines() == [
        "6 categories together: 6 of 6 purchases are of items without a title; in its place stands the category (6)"
    ]


def test_lines_say_why_histories_are_empty_by_split() -> None:
    lacks = Lacks()
    row = [("a", "Rake", None)]
    lacks.add_targets(targets(row * 3, split="simple"))
    lacks.add_targets(targets(row, split="simple", history_end=0, left_out=2))
    lacks.add_targets(targets(row, split="backfill", history_end=0, user_end=0))
    lacks.add_targets(targets(row, split="backfill", history_end=0))
    lacks.add_targets(targets(row * 9, split="train"))
    assert lacks.lines() == [
        "backfill: 2 of 2 targets have no history: 1 without an earlier review of the user, 1 without any review of the user",
        "simple: 1 of 4 targets have no history: 1 whose user's earlier reviews are all of the same time (--same-time before "
        "takes them)",
    ]
