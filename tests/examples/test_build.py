"""Interactions and items on disk -> shards of examples."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from conftest import day

from reviewllm.errors import InputError, SchemaError
from reviewllm.examples.build import build_examples
from reviewllm.examples.protocol import ExamplesConfig
from reviewllm.table_files import read_table, write_table
from reviewllm.tables import EXAMPLES, INTERACTIONS, ITEMS


def write_interactions(out: Path, rows: list[dict[str, Any]]) -> None:
    write_table(
        pa.Table.from_pylist(rows, schema=INTERACTIONS.schema), out / "interactions" / "part-00000.parquet", INTERACTIONS
    )
    write_table(ITEMS.schema.empty_table(), out / "items" / "part-00000.parquet", ITEMS)


def purchase(user: str, number: int, *, review: str | None = "Fine.", rating: float = 5.0) -> dict[str, Any]:
    return {
        "purchase_id": f"{user}-{number}",
        "user_id": user,
        "item_id": f"i{number}",
        "category": "Garden",
        "rating": rating,
        "review": review,
        "purchased_at": day(number),
    }


def build(out: Path, **config: Any) -> Any:
    return build_examples(
        interactions=out / "interactions", items=out / "items", out=out / "examples", config=ExamplesConfig(**config)
    )


def test_build_examples_history_is_earlier_newest_last_and_capped(tmp_path: Path) -> None:
    write_interactions(tmp_path, [purchase("u", number, review=f"r{number}") for number in range(6)])
    build(tmp_path, targets="all", first_target=1, max_history=3)
    rows = read_table(tmp_path / "examples" / "train", EXAMPLES).to_pylist()
    shown = {row["example_id"]: [past["review"] for past in row["history"]] for row in rows}
    assert shown["u-0"] == []
    assert shown["u-2"] == ["r0", "r1"]
    assert shown["u-5"] == ["r2", "r3", "r4"]
    assert [row["reference"] for row in rows] == [f"r{number}" for number in range(6)]


def test_build_examples_history_holds_attributes_where_they_are_asked_for(tmp_path: Path) -> None:
    write_interactions(tmp_path, [purchase("u", number) for number in range(3)])
    items = [
        {"item_id": "i0", "title": "Hose", "brand": None, "category": None, "price": None, "attributes": '{"color": "red"}'}
    ]
    write_table(pa.Table.from_pylist(items, schema=ITEMS.schema), tmp_path / "items" / "part-00000.parquet", ITEMS)
    for asked, expected in ((False, [(None, None)] * 2), (True, [("Garden", '{"color": "red"}'), ("Garden", None)])):
        build(tmp_path, targets="all", first_target=3, history_attributes=asked)
        (row,) = read_table(tmp_path / "examples" / "train", EXAMPLES).to_pylist()
        assert [(past["category"], past["attributes"]) for past in row["history"]] == expected


@pytest.mark.parametrize(
    ("same_time", "shown"),
    [("before", {"u-0": [], "u-1": ["r0"], "u-2": ["r0", "r1"]}), ("leave-out", {"u-0": [], "u-1": [], "u-2": []})],
)
def test_build_examples_of_one_day(tmp_path: Path, same_time: str, shown: dict[str, list[str]]) -> None:
    """The user wrote three reviews on one day; the table's order, which is the source's, is neither of items nor of ids."""
    rows = [
        {**purchase("u", number, review=f"r{number}"), "item_id": f"i{9 - number}", "purchased_at": day(1)}
        for number in range(3)
    ]
    write_interactions(tmp_path, rows)
    counts = build(tmp_path, targets="all", first_target=1, same_time=same_time)
    found = read_table(tmp_path / "examples" / "train", EXAMPLES).to_pylist()
    assert {row["example_id"]: [past["review"] for past in row["history"]] for row in found} == shown
    empty = [line for line in counts.lacks if "no history" in line]
    first = "train: 1 of 3 targets have no history: 1 without an earlier review of the user"
    tied = "2 whose user's earlier reviews are all of the same time (--same-time before takes them)"
    both = f"train: 3 of 3 targets have no history: {tied}, 1 without an earlier review of the user"
    assert empty == [first if same_time == "before" else both]


def test_build_examples_the_last_of_one_day_is_the_target(tmp_path: Path) -> None:
    rows = [{**purchase("u", number, review=f"r{number}"), "purchased_at": day(number // 6)} for number in range(12)]
    write_interactions(tmp_path, [*rows[:6], *rows[:5:-1]])  # the second day from its last number to its first
    build(tmp_path)
    (row,) = read_table(tmp_path / "examples" / "train", EXAMPLES).to_pylist()
    assert row["reference"] == "r6"
    assert [past["review"] for past in row["history"]] == [
        "r0",
        "r1",
        "r2",
        "r3",
        "r4",
        "r5",
        "r11",
        "r10",
        "r9",
        "r8",
        "r7",
    ]


def test_build_examples_rating_only_purchases_of_a_silent_user_have_an_empty_history(tmp_path: Path) -> None:
    write_interactions(tmp_path, [purchase("silent", number, review=None) for number in range(3)])
    counts = build(tmp_path)
    rows = read_table(tmp_path / "examples" / "backfill", EXAMPLES).to_pylist()
    assert [(row["history"], row["reference"], row["title"]) for row in rows] == [([], None, "Garden")] * 3
    assert counts.examples == {"train": 0, "simple": 0, "hard": 0, "backfill": 3}


@pytest.mark.parametrize(("history", "shown"), [("before", ["r0"]), ("all", ["r0", "r2"])])
def test_build_examples_backfill_history_before_or_all(tmp_path: Path, history: str, shown: list[str]) -> None:
    rows = [purchase("u", number, review=None if number == 1 else f"r{number}") for number in range(3)]
    write_interactions(tmp_path, rows)
    build(tmp_path, history=history)
    (row,) = read_table(tmp_path / "examples" / "backfill", EXAMPLES).to_pylist()
    assert [past["review"] for past in row["history"]] == shown


def test_build_examples_hidden_reviews_are_references_and_nowhere_else(tmp_path: Path) -> None:
    rows = [purchase(f"u{user:02}", number, review=f"words {user} {number}") for user in range(40) for number in range(15)]
    write_interactions(tmp_path, rows)
    counts = build(tmp_path, targets="all", hide_fraction=0.2)
    backfill = read_table(tmp_path / "examples" / "backfill", EXAMPLES).to_pylist()
    hidden = {row["reference"] for row in backfill}
    assert len(hidden) == len(backfill) == counts.hidden > 60
    for split in ("train", "simple", "backfill"):
        for row in read_table(tmp_path / "examples" / split, EXAMPLES).to_pylist():
            assert not hidden & {past["review"] for past in row["history"]}
            assert split == "backfill" or row["reference"] not in hidden


def test_build_examples_same_input_gives_same_bytes_and_names(tmp_path: Path) -> None:
    rows = [purchase(f"u{user:02}", number) for user in range(30) for number in range(12)]
    write_interactions(tmp_path, rows)
    build(tmp_path, hide_fraction=0.1, shard_rows=20)
    first = {path.name: path.read_bytes() for path in sorted((tmp_path / "examples").rglob("*.parquet"))}
    build(tmp_path, hide_fraction=0.1, shard_rows=20)
    assert first == {path.name: path.read_bytes() for path in sorted((tmp_path / "examples").rglob("*.parquet"))}
    assert all(hashlib.sha256(content).hexdigest()[:12] in name for name, content in first.items())


def test_build_examples_shards_never_split_a_user(tmp_path: Path) -> None:
    rows = [purchase(f"u{user:02}", number, review=None) for user in range(20) for number in range(7)]
    write_interactions(tmp_path, rows)
    build(tmp_path, shard_rows=10)
    files = sorted((tmp_path / "examples" / "backfill").iterdir())
    users = [pl.read_parquet(file)["user_id"].unique().to_list() for file in files]
    assert len(files) > 5
    assert sorted(user for shard in users for user in shard) == [f"u{user:02}" for user in range(20)]


def test_build_examples_a_user_alone_over_the_shard_size_is_cut(tmp_path: Path) -> None:
    write_interactions(tmp_path, [purchase("heavy", number, review=None) for number in range(50)])
    build(tmp_path, shard_rows=10)
    assert [len(pl.read_parquet(file)) for file in sorted((tmp_path / "examples" / "backfill").iterdir())] == [20, 20, 10]


def test_build_examples_long_reviews_are_cut_in_histories_only(tmp_path: Path) -> None:
    write_interactions(tmp_path, [purchase("u", number, review="x" * 20_000) for number in range(3)])
    build(tmp_path, targets="all", first_target=2)
    rows = read_table(tmp_path / "examples" / "train", EXAMPLES).to_pylist()
    assert {len(past["review"]) for row in rows for past in row["history"]} == {8000}
    assert {len(row["reference"]) for row in rows} == {20_000}


def test_build_examples_odd_folder_names(tmp_path: Path) -> None:
    odd = tmp_path / "rün [1] * ?"
    write_interactions(odd, [purchase("u", number, review=None) for number in range(3)])
    assert build(odd).examples["backfill"] == 3


def test_build_examples_nothing_to_do_is_refused_and_the_old_stays(tmp_path: Path) -> None:
    write_interactions(tmp_path, [purchase("u", number, review=None) for number in range(3)])
    build(tmp_path)
    before = sorted((tmp_path / "examples").rglob("*"))
    write_interactions(tmp_path, [purchase("u", number) for number in range(3)])
    with pytest.raises(InputError, match=r"none of 3 purchases .* --targets all"):
        build(tmp_path)
    assert sorted((tmp_path / "examples").rglob("*")) == before
    assert not list(tmp_path.glob(".examples*"))


def test_build_examples_corrupt_interactions_are_named(tmp_path: Path) -> None:
    write_interactions(tmp_path, [purchase("u", 1)])
    file = tmp_path / "interactions" / "part-00000.parquet"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(SchemaError, match=r"part-00000\.parquet: not a readable Parquet file"):
        build(tmp_path)


def test_build_examples_of_users_with_one_two_and_three_reviews_evaluates_new_users(tmp_path: Path) -> None:
    """The target is a user's last review, so a user with one review is evaluated with none."""
    users = [f"u{number:02}" for number in range(60)]
    rows = [purchase(user, day) for number, user in enumerate(users) for day in range(1 + number % 3)]
    write_interactions(tmp_path, [*rows, purchase("never wrote", 1, review=None)])
    counts = build(tmp_path, more_than_reviews=0, train_per_category=1, simple_per_category=40)
    assert counts.quotas[0].candidates == 60
    found = pl.DataFrame(read_table(tmp_path / "examples" / "simple", EXAMPLES))
    held = dict(found.group_by(pl.col("history").list.len()).len().rows())
    assert set(held) == {0, 1, 2}
    assert sum(held.values()) == 40
    assert found.filter(pl.col("history").list.len() == 0)["reference"].null_count() == 0
