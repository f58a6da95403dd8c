"""What others wrote before a purchase, as the examples carry it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from conftest import day

from reviewllm.examples import evidence
from reviewllm.examples.build import ExamplesCounts, build_examples
from reviewllm.examples.protocol import ExamplesConfig
from reviewllm.table_files import read_table, table_files, write_table
from reviewllm.tables import EXAMPLES, INTERACTIONS, ITEMS

TELLING = "It holds well and the grip is comfortable, I would buy it again for the garden."


def bought(
    user: str, item: str, number: int, *, review: str | None = "", rating: float = 5.0, category: str = "Garden"
) -> dict[str, Any]:
    """A purchase on day `number`; "" is a telling review of its own."""
    text = f"{TELLING} {user} of {item}." if review == "" else review
    names = ("purchase_id", "user_id", "item_id", "category", "rating", "review", "purchased_at")
    return dict(zip(names, (f"{user}-{item}-{number}", user, item, category, rating, text, day(number)), strict=True))


def build(out: Path, *parts: list[dict[str, Any]], **config: Any) -> ExamplesCounts:
    """Examples of interactions in so many files; items have no metadata."""
    for number, rows in enumerate(parts):
        table = pa.Table.from_pylist(rows, schema=INTERACTIONS.schema)
        write_table(table, out / "interactions" / f"part-{number:05d}.parquet", INTERACTIONS)
    write_table(ITEMS.schema.empty_table(), out / "items" / "part-00000.parquet", ITEMS)
    asked = {"targets": "all", "first_target": 1, "evidence": "item", **config}
    return build_examples(
        interactions=out / "interactions", items=out / "items", out=out / "examples", config=ExamplesConfig(**asked)
    )


def shown(out: Path, split: str = "train", column: str = "item_evidence") -> dict[str, Any]:
    """What each example of a split carries, by its id: pairs of user and item, or None."""
    rows = read_table(out / "examples" / split, EXAMPLES).to_pylist()
    return {
        row["example_id"]: None if row[column] is None else [(one["user_id"], one["item_id"]) for one in row[column]]
        for row in rows
    }


def test_item_evidence_is_of_others_and_strictly_earlier_over_all_parts(tmp_path: Path) -> None:
    first = [bought("a", "rake", 1), bought("a", "rake", 5), bought("b", "rake", 3), bought("b", "hose", 1)]
    second = [bought("c", "rake", 3), bought("d", "rake", 9, review=None), bought("e", "lamp", 9)]
    counts = build(tmp_path, first, second)
    found = shown(tmp_path)
    assert found["a-rake-1"] == []
    assert found["a-rake-5"] == [("c", "rake"), ("b", "rake")]  # not the user's own of day 1
    assert found["b-rake-3"] == [("a", "rake")] == found["c-rake-3"]  # of one time: neither before the other
    assert found["e-lamp-9"] == found["b-hose-1"] == []
    backfill = shown(tmp_path, "backfill")
    assert backfill == {"d-rake-9": [("a", "rake"), ("c", "rake"), ("b", "rake"), ("a", "rake")]}
    assert counts.without_evidence == {"backfill without item_evidence": 0, "train without item_evidence": 3}
    line = "train: 3 of 6 targets (50%) have no reviews of the item by others: nobody else had reviewed it before"
    assert line in counts.lacks
    assert set(shown(tmp_path, column="neighbour_evidence").values()) == {None}
    (entry,) = next(
        row for row in read_table(tmp_path / "examples" / "train", EXAMPLES).to_pylist() if row["example_id"] == "b-rake-3"
    )["item_evidence"]
    assert entry == {
        "user_id": "a",
        "item_id": "rake",
        "title": "Garden",
        "rating": 5.0,
        "review": f"{TELLING} a of rake.",
        "purchased_at": day(1),
    }


def test_examples_without_evidence_hold_null(tmp_path: Path) -> None:
    counts = build(tmp_path, [bought("a", "rake", 1), bought("b", "rake", 2)], evidence="none")
    assert shown(tmp_path) == {"a-rake-1": None, "b-rake-2": None}
    assert counts.without_evidence == {}
    assert not [name for name in tmp_path.iterdir() if name.name.startswith(".")]


def test_item_evidence_takes_turns_among_the_stars_and_prefers_telling_reviews(tmp_path: Path) -> None:
    rows = [bought("good1", "rake", 1), bought("good2", "rake", 2), bought("short", "rake", 3, review="Good.")]
    rows += [bought("essay", "rake", 4, review="word " * 400), bought("bad", "rake", 1, rating=1.0)]
    build(tmp_path, [*rows, bought("x", "rake", 9)], max_evidence=4)
    # Each number of stars in turn, of each the telling before the others, and the newer before the older.
    assert shown(tmp_path)["x-rake-9"] == [("good2", "rake"), ("bad", "rake"), ("good1", "rake"), ("essay", "rake")]


def test_item_evidence_does_not_depend_on_the_rating_that_the_user_gave(tmp_path: Path) -> None:
    others = [bought(f"u{number}", "rake", number, rating=1.0 + number % 5) for number in range(30)]
    for rating in (1.0, 5.0):
        build(tmp_path / str(rating), [*others, bought("x", "rake", 99, rating=rating)])
    assert shown(tmp_path / "1.0")["x-rake-99"] == shown(tmp_path / "5.0")["x-rake-99"]


def test_evaluated_and_hidden_reviews_are_nobodys_evidence(tmp_path: Path) -> None:
    """Users within the bounds are evaluated by their last review; others posted some of these words once more."""
    draw = np.random.default_rng(0)
    rows = [
        bought(f"u{user}", f"i{draw.integers(8)}", 10 * place + int(draw.integers(10)), rating=float(draw.integers(1, 6)))
        | {"purchase_id": f"{user}-{place}", "review": f"{TELLING} {user} {place}"}
        for user in range(60)
        for place in range(15)
    ]
    rows += [bought(f"copy{user}", "i0", 300 + user, review=f"{TELLING} {user} 14") for user in range(60)]
    rows += [bought(f"late{number}", f"i{number}", 999) for number in range(8)]
    build(tmp_path, rows[:300], rows[300:], evidence="both", hide_fraction=0.2, max_evidence=20)
    examples = {
        split: read_table(tmp_path / "examples" / split, EXAMPLES).to_pylist()
        for split in ("train", "simple", "hard", "backfill")
    }
    evaluated = {row["reference"] for split in ("simple", "hard") for row in examples[split]}
    hidden = {row["reference"] for row in examples["backfill"]}
    texts = {
        entry["review"]
        for rows_of in examples.values()
        for row in rows_of
        for entry in [*row["item_evidence"], *row["neighbour_evidence"]]
    }
    assert min(len(evaluated) / 10, len(hidden) / 50, len(texts) / 100) > 1
    assert not texts & (evaluated | hidden)


def test_neighbour_evidence_is_of_the_category_by_those_who_bought_alike(tmp_path: Path) -> None:
    rows = [bought("x", "rake", 5), bought("x", "hose", 20), bought("x", "radio", 21, category="Music")]
    rows += [bought("alike", "rake", 4), bought("alike", "lamp", 6), bought("alike", "tape", 7, category="Music")]
    rows += [bought("alike", "late", 20), bought("alike", "hose", 8)]  # of the purchase's time; of the very item
    rows += [bought("other", "bench", 6)]  # has nothing in common
    rows += [bought("after", "rake", 30), bought("after", "lamp", 7)]  # has in common what came after
    build(tmp_path, rows[:4], rows[4:], evidence="neighbours")
    found = shown(tmp_path, column="neighbour_evidence")
    assert found["x-hose-20"] == [("alike", "lamp"), ("alike", "rake")]
    assert found["x-radio-21"] == [("alike", "tape")]
    assert found["x-rake-5"] == []
    assert set(shown(tmp_path).values()) == {None}


def test_neighbours_are_found_before_the_purchase_where_histories_are_whole(tmp_path: Path) -> None:
    rows = [bought("x", "rake", 5), bought("x", "hose", 20, review=None)]
    rows += [bought("x", f"later{number}", 30 + number) for number in range(9)]
    rows += [bought("alike", "rake", 4), bought("alike", "lamp", 6)]
    build(tmp_path, rows, evidence="neighbours", history="all")
    found = shown(tmp_path, "backfill", column="neighbour_evidence")
    assert found == {"x-hose-20": [("alike", "lamp"), ("alike", "rake")]}


def test_evidence_is_equal_whatever_the_parts_and_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(1)
    rows = [
        bought(f"u{user:02d}", f"i{draw.integers(20)}", int(draw.integers(40)), rating=float(draw.integers(1, 6)))
        | {"purchase_id": f"{user}-{place}"}
        for user in range(40)
        for place in range(6)
    ]
    build(tmp_path / "one", rows, evidence="both")
    build(tmp_path / "again", rows, evidence="both")
    monkeypatch.setattr(evidence, "_TARGETS_AT_ONCE", 7)
    build(tmp_path / "parts", rows[:90], rows[90:], evidence="both", shard_rows=10)
    for column in ("item_evidence", "neighbour_evidence"):
        found = shown(tmp_path / "one", column=column)
        assert sum(map(bool, found.values())) > 100
        assert found == shown(tmp_path / "parts", column=column)
    names = [[file.name for file in table_files(tmp_path / name / "examples", EXAMPLES)] for name in ("one", "again")]
    assert names[0] == names[1]  # they carry the hash of the bytes


def test_evidence_of_a_popular_item_costs_each_purchase_the_same(tmp_path: Path) -> None:
    """Twenty thousand reviews of one item, bought by all: each target looks at a bounded number of them."""
    users = 20_000
    part = pl.DataFrame(
        {
            "purchase_id": [f"p{number}" for number in range(users)],
            "user_id": [f"u{number}" for number in range(users)],
            "item_id": "hit",
            "category": "Garden",
            "rating": 1.0 + np.arange(users) % 5,
            "review": [f"{TELLING} {number}" for number in range(users)],
            "purchased_at": pl.Series(np.arange(users) * 1_000_000).cast(pl.Datetime("us", "UTC")),
            "is_review": True,
            "history_start": np.arange(users),
            "history_end": np.arange(users) + 1,
        }
    )
    others = evidence.Evidence(tmp_path, neighbours=True)
    others.add_part(part)
    others.close(pl.Series(["p0"]))
    places = others.of_items(part, most=5)
    assert places.list.len().to_list()[:7] == [0, 0, 1, 2, 3, 4, 5]  # p0 is evaluated
    assert places[-1].to_list() == [users - 2, users - 3, users - 4, users - 5, users - 6]
    later = part.with_columns(pl.col("purchased_at").dt.offset_by("1d"), item_id=pl.lit("other"))
    near = others.of_neighbours(later, 0, most=4)
    assert near.list.len().max() == 4


@pytest.mark.parametrize("ratings", [[5.0], [4.5, 1.5]])
def test_item_evidence_of_ratings_between_stars(tmp_path: Path, ratings: list[float]) -> None:
    build(tmp_path, [bought(f"u{number}", "rake", number, rating=rating) for number, rating in enumerate(ratings)])
    assert len(shown(tmp_path)) == len(ratings)
