"""Which purchase a row is of, and which of its rows stays."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewllm.sources.identity import MADE_ID, fill_ids, made_by_earlier_rule, one_row_each

pytestmark = pytest.mark.filterwarnings("error")

FEB_28 = dt.datetime(2014, 2, 28, tzinfo=dt.UTC)
GOOD: dict[str, Any] = {
    "purchase_id": None,
    "user_id": "U1",
    "item_id": "I1",
    "rating": 5.0,
    "review": "Fine",
    "purchased_at": FEB_28,
    "file": 0,
}


def rows_of(*changes: dict[str, Any]) -> pl.DataFrame:
    return fill_ids(
        pl.DataFrame(
            [{**GOOD, **change, "line": line} for line, change in enumerate(changes, start=1)],
            schema_overrides={"purchase_id": pl.String, "review": pl.String, "purchased_at": pl.Datetime("us", "UTC")},
        )
    )


def kept(*changes: dict[str, Any]) -> list[tuple[Any, ...]]:
    """(end of the id, rating, review) of each purchase that stays."""
    rows = one_row_each(rows_of(*changes)).kept.sort("purchase_id")
    return rows.select(pl.col("purchase_id").str.replace(r"^[0-9a-f]{32}", ""), "rating", "review").rows()


def old(**change: Any) -> dict[str, Any]:
    return {"file": 0, **change}


def new(**change: Any) -> dict[str, Any]:
    return {"file": 1, **change}


# ---- the id


def test_fill_ids_hashes_who_what_and_when_and_keeps_own_ids() -> None:
    rows = rows_of({}, {"purchase_id": "P1"})
    made = hashlib.blake2b(b"1393545600000000 2 U1I1", digest_size=16).hexdigest() + "-1"
    assert rows.select("purchase_id", "has_own_id").rows() == [(made, False), ("P1", True)]
    assert rows["purchase_id"].str.contains(MADE_ID).to_list() == [True, False]


def test_fill_ids_tells_users_items_and_times_apart_and_no_more() -> None:
    others = [
        {},
        {"user_id": "U1I", "item_id": "1"},
        {"user_id": "U2"},
        {"item_id": "I2"},
        {"purchased_at": FEB_28 + dt.timedelta(microseconds=1)},
    ]
    assert rows_of(*others)["purchase_id"].n_unique() == len(others)
    assert rows_of({}, {"rating": 1.0}, {"review": None}, {"file": 1})["purchase_id"].n_unique() == 1


def test_made_by_earlier_rule_tells_an_earlier_id_from_an_own_one_of_its_look() -> None:
    earlier = hashlib.blake2b(b"1393545600000000 5000000 2 2 U1I1", digest_size=16).hexdigest()
    with_text = hashlib.blake2b(b"1393545600000000 5000000 2 2 U1I1Fine", digest_size=16).hexdigest()

    def judged(name: str, reference: str | None) -> bool:
        return made_by_earlier_rule(
            rows_of({"purchase_id": "own"}, {"purchase_id": name, "review": reference}).rename(
                {"purchase_id": "example_id", "review": "reference"}
            )
        )

    assert judged(earlier, None)
    assert judged(with_text, "Fine")  # a hidden review
    assert not judged(earlier, "Fine")
    assert not judged("0" * 32, None)


# ---- one file


def test_one_row_each_drops_repeats_and_numbers_ties_of_a_file_in_its_order() -> None:
    rows = [{"review": "b"}, {"review": "a"}, {"review": "b"}, {"rating": 4.0, "review": "a"}, {"review": None}]
    assert kept(*rows) == [("-1", 5.0, "b"), ("-2", 5.0, "a"), ("-4", 4.0, "a"), ("-5", 5.0, None)]


def test_one_row_each_of_own_ids_takes_the_newest_state_with_a_review_within_a_file() -> None:
    states = [
        {"purchase_id": "P1", "rating": rating, "review": text} for rating, text in ((1.0, None), (2.0, "a"), (3.0, None))
    ]
    assert kept(*states) == [("P1", 2.0, "a")]
    found = one_row_each(rows_of(*states))
    assert (found.changed, found.conflicts.height) == (2, 0)


@pytest.mark.parametrize("change", [{"user_id": "U2"}, {"item_id": "I2"}, {"purchased_at": FEB_28 + dt.timedelta(days=1)}])
def test_one_row_each_of_an_own_id_with_another_user_item_or_time_is_a_conflict(change: dict[str, Any]) -> None:
    found = one_row_each(rows_of({"purchase_id": "P1"}, {"purchase_id": "P1", **change}, {"purchase_id": "P2", **change}))
    assert found.conflicts["line"].to_list() == [2]
    assert sorted(found.kept["line"]) == [1, 3]


# ---- two files


@pytest.mark.parametrize("own", [None, "P1"])
@pytest.mark.parametrize(
    ("before", "after", "stays", "changed"),
    [
        ({"review": None}, {"review": "a"}, (5.0, "a"), 1),
        ({"review": "a"}, {"review": None, "rating": 1.0}, (5.0, "a"), 1),
        ({"review": "a"}, {"review": "b"}, (5.0, "b"), 1),
        ({"review": None}, {"review": None, "rating": 1.0}, (1.0, None), 1),
        ({"review": "a"}, {"review": "a"}, (5.0, "a"), 0),
        ({"review": None}, {"review": None}, (5.0, None), 0),
    ],
)
def test_one_row_each_of_two_files_takes_the_newest_state_with_a_review(
    own: str | None, before: dict[str, Any], after: dict[str, Any], stays: tuple[Any, ...], changed: int
) -> None:
    rows = rows_of(old(purchase_id=own, **before), new(purchase_id=own, **after))
    found = one_row_each(rows)
    assert found.kept.select("rating", "review").rows() == [stays]
    assert found.changed == changed
    assert found.kept["purchase_id"].to_list() == rows["purchase_id"][:1].to_list()


def test_one_row_each_of_ties_in_two_files_matches_them_by_their_place() -> None:
    before = [old(review=None), old(rating=4.0, review=None)]
    assert kept(*before, new(review=None), new(rating=4.0, review="b")) == [("-1", 5.0, None), ("-2", 4.0, "b")]
    assert kept(*before, new(review="a")) == [("-1", 5.0, "a"), ("-2", 4.0, None)]
    assert kept(*before, *[new(review=text) for text in "abc"])[2] == ("-3", 5.0, "c")


def test_one_row_each_a_repeat_of_the_older_file_does_not_come_back_as_a_purchase_of_its_own() -> None:
    twice = [old(review=None), old(review=None)]
    assert kept(*twice, new(review="a")) == [("-1", 5.0, "a")]
    assert kept(*twice, new(review="a"), new(review="a")) == [("-1", 5.0, "a")]
    assert kept(*twice, new(review="a"), new(review=None)) == [("-1", 5.0, "a"), ("-2", 5.0, None)]


def test_one_row_each_a_tie_that_has_become_equal_to_another_is_a_repeat() -> None:
    assert kept(old(review="a"), old(review="b"), new(review="b")) == [("-1", 5.0, "b")]


# ---- whatever the rows

KEYS = st.tuples(st.sampled_from(["U1", "U2"]), st.sampled_from(["I1", "I2"]), st.sampled_from([0, 1]))
STATES = st.tuples(st.sampled_from([1.0, 5.0]), st.sampled_from([None, "a", "b"]))


def made(keys: list[Any], states: list[Any], *, file: int = 0, own: bool = False) -> list[dict[str, Any]]:
    return [
        {
            "purchase_id": f"P{user}{item}{hour}" if own else None,
            "user_id": user,
            "item_id": item,
            "purchased_at": FEB_28 + dt.timedelta(hours=hour),
            "rating": rating,
            "review": text,
            "file": file,
        }
        for (user, item, hour), (rating, text) in zip(keys, states, strict=True)
    ]


def as_set(rows: pl.DataFrame) -> set[tuple[Any, ...]]:
    return set(rows.drop("file", "line").rows())


@settings(deadline=None, max_examples=50)
@given(st.lists(KEYS, min_size=1, max_size=12), st.data())
def test_ids_are_the_same_whatever_the_ratings_and_the_texts(keys: list[Any], data: st.DataObject) -> None:
    distinct = [(5.0, f"text {number}") for number in range(len(keys))]
    states = data.draw(st.lists(STATES, min_size=len(keys), max_size=len(keys)))
    every = one_row_each(rows_of(*made(keys, distinct))).kept
    assert every.height == len(keys)
    by_line = dict(every.select("line", "purchase_id").rows())
    some = one_row_each(rows_of(*made(keys, states))).kept
    assert all(by_line[line] == name for line, name in some.select("line", "purchase_id").rows())


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(KEYS, STATES), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_rows_of_others_may_stand_anywhere_and_in_another_file(pairs: list[Any], random: Any) -> None:
    whole = as_set(one_row_each(rows_of(*made(*map(list, zip(*pairs, strict=True))))).kept)
    shuffled = [*pairs]
    random.shuffle(shuffled)
    in_order = {key: iter([state for other, state in pairs if other == key]) for key, _ in pairs}
    moved = [(key, next(in_order[key])) for key, _ in shuffled]  # each purchase's rows in their own order
    assert as_set(one_row_each(rows_of(*made(*map(list, zip(*moved, strict=True))))).kept) == whole
    here = {key for key, _ in pairs if random.random() < 0.5}
    parts = [[pair for pair in pairs if (pair[0] in here) == is_here] for is_here in (True, False)]
    split = [row for file, part in enumerate(parts) if part for row in made(*map(list, zip(*part, strict=True)), file=file)]
    assert as_set(one_row_each(rows_of(*split)).kept) == whole


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(KEYS, STATES, st.sampled_from([1.0, 5.0])), min_size=1, max_size=12), st.booleans())
def test_an_older_export_of_ratings_alone_changes_nothing(triples: list[Any], own: bool) -> None:
    keys, states, ratings = map(list, zip(*triples, strict=True))
    newer = made(keys, states, file=1, own=own)
    older = made(keys, [(rating, None) for rating in ratings], own=own)
    alone, both = one_row_each(rows_of(*newer)), one_row_each(rows_of(*older, *newer))
    assert as_set(both.kept) == as_set(alone.kept)
    assert both.conflicts.is_empty()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(KEYS, STATES, st.integers(0, 2)), min_size=1, max_size=15))
def test_every_row_is_kept_a_repeat_or_another_state(triples: list[Any]) -> None:
    rows = rows_of(*(made([key], [state], file=file)[0] for key, state, file in sorted(triples, key=lambda one: one[2])))
    found = one_row_each(rows)
    content = ["user_id", "item_id", "purchased_at", "rating", "review"]
    repeats = rows.height - found.kept.height - found.changed
    assert repeats >= 0
    assert found.kept["purchase_id"].is_unique().all()
    assert found.kept.select(content).is_unique().all()
    assert set(found.kept.select(content[:3]).rows()) == set(rows.select(content[:3]).rows())
    reviewed = rows.filter(pl.col("review").is_not_null()).select(content[:3])
    still = found.kept.filter(pl.col("review").is_not_null()).select(content[:3])
    assert set(still.rows()) == set(reviewed.rows())  # no purchase loses its text
