"""Which purchases a night writes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import day

from reviewllm.backfill import ids
from reviewllm.backfill.forgotten import user_hash
from reviewllm.errors import InputError, SchemaError
from reviewllm.place import Place, below
from reviewllm.tables import INTERACTIONS

if TYPE_CHECKING:
    from tests.backfill.conftest import Nights

OTHER = dt.date(2026, 11, 20)


def write_interactions(nights: Nights, rows: list[tuple[str, str, str | None]]) -> Place:
    """Interactions of (user, purchase, review)."""
    where = Place(below(nights.data.uri, "interactions"))
    table = [
        {
            "purchase_id": name,
            "user_id": user,
            "item_id": "i",
            "category": "c",
            "rating": 3.0,
            "review": text,
            "purchased_at": day(1),
        }
        for user, name, text in rows
    ]
    where.write_table("part.parquet", pa.Table.from_pylist(table, schema=INTERACTIONS.schema), INTERACTIONS)
    return where


def test_work_without_published_nights_is_everything_in_order(nights: Nights) -> None:
    nights.write_examples("a.parquet", [("u1", "e1"), ("u1", "e2"), ("u2", "e3")])
    nights.write_examples("b.parquet", [("u3", "e4")])
    work = nights.work()
    assert nights.ids(work) == [["e1", "e2"], ["e3"], ["e4"]]  # a file's end cuts where half of the size is there
    assert (work.counts.read, work.counts.pending) == (4, 4)


def test_work_leaves_out_what_is_published_or_failed_and_finds_late_ratings(nights: Nights) -> None:
    nights.write_examples("a.parquet", [("u1", "e1"), ("u1", "e2"), ("u2", "e3")])
    nights.whole_night(OTHER, failing=["e2"])
    nights.write_examples("a.parquet", [("u1", "e1"), ("u1", "e2"), ("u1", "late"), ("u2", "e3")])
    work = nights.work()
    assert nights.ids(work) == [["late"]]
    assert work.counts == (4, 2, 0, 1, 0, 0, 1)  # read = published 2 + failed 1 + pending 1
    assert nights.ids(nights.work(replay=OTHER)) == [["e2"]]
    assert nights.ids(nights.work(replay=dt.date(2026, 11, 19))) == []
    assert nights.ids(nights.work(without=OTHER)) == [["e1", "e2", "late"], ["e3"]]  # a user stays whole


def test_work_of_examples_one_level_too_high_is_refused(local_nights: Nights) -> None:
    local_nights.write_examples("backfill/a.parquet", [("u1", "e1")])
    local_nights.write_examples("train/a.parquet", [("u2", "e2")], split="train", reference="Mine.")
    with pytest.raises(InputError, match=r"than backfill: 1 backfill, 1 train; name .*examples/backfill"):
        local_nights.work()


def test_work_a_purchase_whose_user_has_written_a_review_is_dropped_or_superseded(nights: Nights) -> None:
    nights.write_examples("a.parquet", [("u1", "e1"), ("u1", "e2"), ("u2", "e3"), ("u2", "e4")])
    nights.whole_night(OTHER, limit=2)
    reviews = [("u1", "e1", "Mine."), ("u1", "e2", " \u200b"), ("u2", "e3", "My own."), ("u2", "e4", None)]
    interactions = write_interactions(nights, reviews)
    work = nights.work(interactions=interactions)
    assert nights.ids(work) == [["e4"]]
    assert (work.counts.published, work.counts.reviewed, work.counts.pending) == (2, 1, 1)
    assert work.superseded.select(["example_id", "night"]).to_pylist() == [{"example_id": "e1", "night": OTHER}]
    nights.whole_night(interactions=interactions)
    assert nights.work(interactions=interactions).superseded.num_rows == 0  # marked once


def test_work_a_hidden_review_is_no_review_since(local_nights: Nights) -> None:
    local_nights.write_examples("a.parquet", [("u1", "e1")], reference="The hidden text.")
    interactions = write_interactions(local_nights, [("u1", "e1", "The hidden text.")])
    local_nights.whole_night(interactions=interactions)
    assert local_nights.work(interactions=interactions).superseded.num_rows == 0


def test_work_since_category_limit_and_forgotten_users(local_nights: Nights) -> None:
    local_nights.write_examples("a.parquet", [("u1", "e1"), ("u2", "e2"), ("u3", "e3")])  # of days 0, 1, 2
    local_nights.write_examples("b.parquet", [("u4", "e4")], category="Lamps")

    def counted(**more: object) -> tuple[list[list[str]], int, int]:
        work = local_nights.work(shard_rows=9, **more)
        return local_nights.ids(work), work.counts.filtered, work.counts.over_limit

    assert counted(since=day(1).date()) == ([["e2", "e3"]], 2, 0)
    assert counted(category=["Lamps"]) == ([["e4"]], 3, 0)
    assert counted(limit=2) == ([["e1", "e2"]], 0, 2)
    assert counted(forgotten=frozenset({user_hash("u1")})) == ([["e2", "e3", "e4"]], 1, 0)


def test_work_narrowed_marks_nothing_superseded_that_only_plays_absent(local_nights: Nights) -> None:
    local_nights.write_examples("a.parquet", [("u1", "e1")], reference="The hidden text.", category="Toys")
    local_nights.write_examples("b.parquet", [("u2", "e2")], category="Books")
    interactions = write_interactions(local_nights, [("u1", "e1", "The hidden text.")])
    local_nights.whole_night(OTHER, interactions=interactions)
    narrowed = local_nights.work(interactions=interactions, category=["Books"])
    assert narrowed.superseded.num_rows == 0


def test_work_an_unknown_category_is_refused_and_one_with_a_comma_is_none(local_nights: Nights) -> None:
    local_nights.write_examples("a.parquet", [("u1", "e1")], category="Arts, Crafts & Sewing")
    assert local_nights.ids(local_nights.work(category=["Arts, Crafts & Sewing"])) == [["e1"]]
    with pytest.raises(InputError, match=r"--category 'Arts': no purchase in .* there are 'Arts, Crafts & Sewing'"):
        local_nights.work(category=["Arts"])


@pytest.mark.parametrize("rating", [float("nan"), 0.0, 9.0, float("inf")])
def test_work_a_rating_that_is_none_is_named(local_nights: Nights, rating: float) -> None:
    local_nights.write_examples("a.parquet", [("u1", "e1")], rating=rating)
    with pytest.raises(InputError, match=r"a\.parquet: 1 rating\(s\) are not 1 to 5 stars, .* of purchase 'e1'"):
        local_nights.work()


def test_work_interactions_that_were_named_have_to_be_there(local_nights: Nights) -> None:
    local_nights.write_examples("a.parquet", [("u1", "e1")])
    nowhere = Place(below(local_nights.data.uri, "typo"), flag="--interactions")
    with pytest.raises(InputError, match=r"--interactions .*typo: no Parquet file is there"):
        local_nights.work(interactions=nowhere)


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.set_column(0, "example_id", table["example_id"].dictionary_encode()),
        lambda table: table.set_column(
            table.schema.get_field_index("purchased_at"), "purchased_at", table["purchased_at"].cast("timestamp[ms]")
        ),
    ],
)
def test_work_reads_columns_through_the_tables_types(local_nights: Nights, change: Callable[[pa.Table], pa.Table]) -> None:
    for file, names in (("a.parquet", ["e1", "e2"]), ("b.parquet", ["e3"])):
        local_nights.write_examples(file, [("u1", name) for name in names])
    path = local_nights.examples.local / "a.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    assert local_nights.work(since=day(0).date()).counts.pending == 3


def test_work_columns_of_other_types_are_named(local_nights: Nights) -> None:
    local_nights.write_examples("a.parquet", [("u1", "e1")])
    path = local_nights.examples.local / "a.parquet"
    table = pq.read_table(path)
    pq.write_table(table.append_column("rating", table["rating"]), path)
    with pytest.raises(SchemaError, match=r"has the column\(s\) rating more than once"):
        local_nights.work()
    pq.write_table(table.drop_columns(["rating"]).append_column("rating", pa.array(["five"])), path)
    with pytest.raises(SchemaError, match=r"a\.parquet.* cannot be read as"):
        local_nights.work()


def test_work_shard_names_say_what_is_in_them(local_nights: Nights) -> None:
    for number in range(3):
        local_nights.write_examples(f"{number}.parquet", [(f"u{number}-{user}", f"e{number}-{user}") for user in range(2)])
    before = [shard.name for shard in local_nights.work().shards]
    assert [shard.name for shard in local_nights.work().shards] == before
    local_nights.write_examples("1.parquet", [("u1-0", "e1-0"), ("u1-1", "e1-1")], title="Other")
    after = [shard.name for shard in local_nights.work().shards]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, True]


def test_work_of_files_that_are_not_in_order_keeps_users_together_and_oldest_first(local_nights: Nights) -> None:
    purchases = [("u2", "d0"), ("u1", "d1"), ("u2", "d2"), ("u1", "d3")]
    local_nights.write_examples("a.parquet", purchases)
    assert local_nights.ids(local_nights.work()) == [["d1", "d3"], ["d0", "d2"]]


@pytest.mark.parametrize("shard_rows", [1, 3, 7, 50])
def test_work_cuts_every_row_once_and_users_only_where_they_are_huge(local_nights: Nights, shard_rows: int) -> None:
    draw = np.random.default_rng(shard_rows)
    wanted, number = [], 0
    for file in range(4):
        purchases = []
        for user in range(int(draw.integers(1, 12))):
            for _ in range(int(draw.integers(1, 9))):
                purchases.append((f"u{file}-{user:02d}", f"e{number}"))
                number += 1
        local_nights.write_examples(f"{file}.parquet", purchases)
        wanted += [name for _, name in purchases]
    work = local_nights.work(shard_rows=shard_rows)
    cut = local_nights.ids(work)
    assert [name for shard in cut for name in shard] == wanted
    assert all(len(names) == shard.rows <= 2 * shard_rows + 8 for names, shard in zip(cut, work.shards, strict=True))


def test_work_in_many_buckets_is_the_same(local_nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    local_nights.write_examples("a.parquet", [(f"u{number:03d}", f"e{number}") for number in range(100)])
    local_nights.whole_night(OTHER, limit=37)
    expected = local_nights.work()
    monkeypatch.setattr(ids, "_IDS_IN_BUCKET", 10)
    assert local_nights.work() == expected
    assert expected.counts.pending == 63


def test_work_bad_examples_are_refused(local_nights: Nights) -> None:
    with pytest.raises(InputError, match="no examples of rating-only purchases"):
        local_nights.work()
    local_nights.write_examples("a.parquet", [("u1", "e1"), ("u1", "e2")])
    local_nights.write_examples("b.parquet", [("u1", "e2")])
    with pytest.raises(InputError, match=r"hold 1 example_id\(s\) more than once, 'e2' among them"):
        local_nights.work()
    local_nights.examples.write("b.parquet", b"PAR1 not really")
    with pytest.raises(SchemaError, match=r"b\.parquet: not a readable Parquet file"):
        local_nights.work()
