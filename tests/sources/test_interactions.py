"""Raw text -> interactions: numbers, times, reasons, whose id a row has."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Any

import polars as pl
import pytest

from reviewllm.sources.interactions import parse_interactions, parse_rating, parse_time
from reviewllm.sources.text import MARKS, PICTURES

pytestmark = pytest.mark.filterwarnings("error")

GOOD = {"user_id": "U1", "item_id": "I1", "rating": "5.0", "review": "Fine", "purchased_at": "1393545600"}
FEB_28 = dt.datetime(2014, 2, 28, tzinfo=dt.UTC)


def parse(*changes: dict[str, Any]) -> tuple[pl.DataFrame, pl.DataFrame]:
    rows = [{**GOOD, **change, "line": line} for line, change in enumerate(changes, start=1)]
    schema = dict.fromkeys((*GOOD, *changes[0]), pl.String()) | {"line": pl.Int64()}
    return parse_interactions(pl.DataFrame(rows, schema=schema), Counter(), file_category="File")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5.0", 5.0), (" 4 ", 4.0), ("1e0", 1.0), ("true", None), ("abc", None), ("NaN", None), ("inf", None), (None, None)],
)
def test_parse_rating_of_one_text(text: str | None, expected: float | None) -> None:
    assert parse_rating(pl.Series([text], dtype=pl.String)).to_list() == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1393545600", FEB_28),
        ("1393545600.0", FEB_28),
        ("1393545600000", FEB_28),
        ("1393545600000000", FEB_28),
        ("1393545600123", FEB_28 + dt.timedelta(milliseconds=123)),
        ("1393545600123456", FEB_28 + dt.timedelta(microseconds=123456)),
        ("2014-02-28", FEB_28),
        ("2014-02-28T01:02", FEB_28 + dt.timedelta(hours=1, minutes=2)),
        ("2014-02-28 01:02:03", FEB_28 + dt.timedelta(hours=1, minutes=2, seconds=3)),
        ("2014-02-28T01:02:03.5Z", FEB_28 + dt.timedelta(hours=1, minutes=2, seconds=3.5)),
        ("2014-02-28T02:00:00+02:00", FEB_28),
        ("2014-02-28T02:00:00+0200", FEB_28),
        ("2014-02-28 02:00:00 +02", FEB_28),
        ("2014-02-28 00:00:00 UTC", FEB_28),
        ("631152000", dt.datetime(1990, 1, 1, tzinfo=dt.UTC)),
        ("631151999", None),
        ("1989-12-31T23:59:59Z", None),
        ("2100-12-31", dt.datetime(2100, 12, 31, tzinfo=dt.UTC)),
        ("2101-01-01", None),
        ("4133980800", None),
        ("0", None),
        ("-1393545600", None),
        ("02 28, 2014", None),
        ("2014-02-30", None),
        ("soon", None),
        ("NaN", None),
        (None, None),
    ],
)
def test_parse_time_of_one_text(text: str | None, expected: dt.datetime | None) -> None:
    # The second row is of the other kind, so that one column holds both.
    assert parse_time(pl.Series([text, "2014-02-28", "1393545600"])).to_list() == [expected, FEB_28, FEB_28]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"user_id": None}, "user id missing"),
        ({"user_id": "  "}, "user id missing"),
        ({"item_id": ""}, "item id missing"),
        ({"rating": None}, "rating missing"),
        ({"rating": ""}, "rating missing"),
        ({"rating": "abc"}, "rating is not a number"),
        ({"rating": "true"}, "rating is not a number"),
        ({"rating": "[5]"}, "rating is not a number"),
        ({"rating": "NaN"}, "rating is not a number"),
        ({"rating": "Infinity"}, "rating is not a number"),
        ({"rating": "0"}, "rating outside 1 to 5"),
        ({"rating": "5.5"}, "rating outside 1 to 5"),
        ({"purchased_at": None}, "time stamp missing"),
        ({"purchased_at": "soon"}, "time stamp unreadable, or before 1990 or after 2100"),
        ({"purchased_at": "12"}, "time stamp unreadable, or before 1990 or after 2100"),
        ({"user_id": None, "rating": "abc"}, "user id missing"),
    ],
)
def test_parse_interactions_rejects_a_bad_row_and_keeps_its_neighbours(change: dict[str, Any], reason: str) -> None:
    good, bad = parse({}, change, {"user_id": "U2"})
    assert bad.rows() == [(2, reason)]
    assert good["line"].to_list() == [1, 3]


def test_parse_interactions_good_row_has_every_column() -> None:
    good, bad = parse({"review": "Fine <b>strings</b> &amp; picks"})
    assert bad.is_empty()
    assert good.row(0, named=True) == {
        "user_id": "U1",
        "item_id": "I1",
        "rating": 5.0,
        "review": "Fine strings & picks",
        "purchased_at": FEB_28,
        "line": 1,
        "purchase_id": parse({"review": None})[0]["purchase_id"][0],
        "category": "File",
        "has_own_id": False,
    }


@pytest.mark.parametrize("review", [None, "", "  ", "<br />", "&nbsp;", "\x00", "\u3164", "[[VIDEOID:5c532f5f]]"])
def test_parse_interactions_without_text_is_rating_only(review: str | None) -> None:
    assert parse({"review": review})[0]["review"].to_list() == [None]


def test_parse_interactions_keeps_own_purchase_id_and_category_unless_blank() -> None:
    own, blank = {"purchase_id": "P1", "category": "Toys"}, {"purchase_id": " ", "category": ""}
    good, _ = parse(own, blank, {"purchase_id": "\u200b", "category": "\ue000"})
    made = parse({})[0]["purchase_id"][0].rpartition("-")[0]
    assert good["purchase_id"].to_list() == ["P1", f"{made}-1", f"{made}-1"]
    assert good["has_own_id"].to_list() == [True, False, False]
    assert good["category"].to_list() == ["Toys", "File", "File"]


def test_parse_interactions_made_id_is_blind_to_how_the_source_wrote_the_time() -> None:
    rows = parse({}, {"purchased_at": "2014-02-28"}, {"purchased_at": "1393545600000"})[0]
    assert rows["purchase_id"].n_unique() == 1


def test_parse_interactions_notes_what_was_cut_out_of_good_rows() -> None:
    rows = [{**GOOD, "review": f"[[VIDEOID:1]] {number}", "category": "<img src='x' alt='Toys'>"} for number in range(3)]
    rows[1]["rating"] = "6"
    noted: Counter[str] = Counter()
    good, _ = parse_interactions(pl.DataFrame(rows).with_row_index("line"), noted, file_category="File")
    assert good.select("review", "category").rows() == [("0", "Toys"), ("2", "Toys")]
    assert +noted == {MARKS: 2, PICTURES: 2}
