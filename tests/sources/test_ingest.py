"""The way in: every format, every kind of bad input, counts, determinism, and what a failing run leaves."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from reviewllm.attributes import normalise
from reviewllm.errors import ConfigError, RejectedBudgetError, SourceError
from reviewllm.sources.ingest import ingest

pytestmark = pytest.mark.filterwarnings("error")

FEB_28 = dt.datetime(2014, 2, 28, tzinfo=dt.UTC)
WriteLines = Callable[..., Path]
ReadTables = Callable[[Path], dict[str, pl.DataFrame]]
Review = Callable[..., dict[str, Any]]


def run(reviews: list[Path], out: Path, items: list[Path] | None = None, **options: Any) -> Any:
    return ingest(reviews=reviews, items=items or [], out=out, **options)


def snapshot(out: Path) -> dict[str, bytes]:
    return {file.relative_to(out).as_posix(): file.read_bytes() for file in sorted(out.rglob("*")) if file.is_file()}


def key_columns(rows: pl.DataFrame) -> list[tuple[Any, ...]]:
    return rows.select("user_id", "item_id", "category", "rating", "review", "purchased_at").rows()


# ---- formats


@pytest.mark.parametrize("name", ["reviews_Musical_Instruments_5.json", "reviews_Musical_Instruments_5.json.gz"])
def test_ingest_amazon_2014(
    tmp_path: Path, write_lines: WriteLines, read_tables: ReadTables, review: Review, name: str
) -> None:
    path = write_lines(name, [review(), review(reviewerID="U0", reviewText="", unixReviewTime=1393545601)])
    run([path], tmp_path / "out")
    tables = read_tables(tmp_path / "out")
    assert key_columns(tables["interactions"]) == [
        ("U0", "I1", "Musical Instruments", 5.0, None, FEB_28 + dt.timedelta(seconds=1)),
        ("U1", "I1", "Musical Instruments", 5.0, "Fine strings", FEB_28),
    ]
    assert tables["items"].height == tables["rejected"].height == 0


def test_ingest_amazon_2018_with_metadata(
    tmp_path: Path, write_lines: WriteLines, read_tables: ReadTables, review: Review
) -> None:
    v2 = {"verified": True, "style": {"Color:": " Red"}, "vote": "3", "image": ["x.jpg"]}
    lines = [review(reviewText=..., **v2), review(reviewerID="U2", overall="4.0", reviewText=None, summary="Great")]
    reviews = write_lines("Toys_5.json.gz", lines)
    metadata = {
        "asin": "I1",
        "title": "Red Guitar <span class='a' id='b",
        "brand": "Fender",
        "main_cat": "Toys &amp; Games",
        "category": ["Toys", "Guitars"],
        "description": [],
        "feature": ["Loud<br>"],
        "price": "$9.99",
        "details": {},
        "tech1": "<table><tr><td>Item Weight</td><td>2 kg</td></tr></table>",
        "also_buy": ["I2"],
    }
    bare = {"asin": "I2", "title": "", "brand": "", "main_cat": "", "category": [], "price": "", "details": {}}
    items = write_lines("meta_Toys.json.gz", [metadata, bare])
    run([reviews], tmp_path / "out", [items])
    tables = read_tables(tmp_path / "out")
    assert key_columns(tables["interactions"]) == [
        ("U1", "I1", "Toys", 5.0, None, FEB_28),
        ("U2", "I1", "Toys", 4.0, None, FEB_28),
    ]
    attributes = (
        '{"brand": "Fender", "weight": {"value": 2, "unit": "kg"}, "features": ["Loud"], "categories": ["Toys", "Guitars"]}'
    )
    assert tables["items"].rows() == [
        ("I1", "Red Guitar", "Fender", "Toys & Games", 9.99, attributes),
        ("I2", None, None, None, None, None),
    ]


def test_ingest_amazon_2014_metadata_once_it_is_json_as_the_refusal_says(
    tmp_path: Path, write_lines: WriteLines, read_tables: ReadTables, review: Review
) -> None:
    literal = (
        "{'asin': 'I1', 'title': \"Fender's\", 'price': 9.99, 'categories': [['Music', 'Guitars'], ['Music', 'Strings']]}"
    )
    metadata, reviews = (
        write_lines("meta_Toys.json", [literal, literal.replace("I1", "I2")]),
        write_lines("r.json", [review()]),
    )
    with pytest.raises(SourceError) as refused:
        run([reviews], tmp_path / "out", [metadata])
    command = str(refused.value).partition("write it as JSON lines: ")[2]
    made = (
        command.replace("python", sys.executable, 1)
        .replace(" IN ", f" {metadata} ")
        .replace("OUT", str(tmp_path / "m.json"))
    )
    subprocess.run(made, shell=True, check=True)
    run([reviews], tmp_path / "out", [tmp_path / "m.json"])
    attributes = '{"categories": ["Music", "Guitars", "Strings"]}'
    assert read_tables(tmp_path / "out")["items"].rows() == [
        (item, "Fender's", None, None, 9.99, attributes) for item in ("I1", "I2")
    ]


def test_ingest_amazon_2023_finds_its_items_beside_the_reviews(
    tmp_path: Path, write_lines: WriteLines, read_tables: ReadTables
) -> None:
    record = {"rating": 4.0, "title": "Nice", "text": "Soft.<br />Warm.", "asin": "CHILD", "parent_asin": "PARENT"}
    record |= {"user_id": "U1", "timestamp": 1393545600123, "images": [], "helpful_vote": 0, "verified_purchase": True}
    write_lines("raw/All_Beauty.jsonl.gz", [record])
    item = {"main_category": "All Beauty", "title": "Cream", "price": 24.99, "store": "Acme", "features": ["Soft"]}
    write_lines("raw/meta_All_Beauty.jsonl.gz", [item | {"details": {"Size": "L"}, "parent_asin": "PARENT"}])
    run([tmp_path / "raw"], tmp_path / "out")
    tables = read_tables(tmp_path / "out")
    time = FEB_28 + dt.timedelta(milliseconds=123)
    assert key_columns(tables["interactions"]) == [("U1", "PARENT", "All Beauty", 4.0, "Soft. Warm.", time)]
    attributes = '{"brand": "Acme", "size": "L", "features": ["Soft"]}'
    assert tables["items"].rows() == [("PARENT", "Cream", "Acme", "All Beauty", 24.99, attributes)]


@pytest.mark.parametrize("times", [[FEB_28] * 2, [1393545600] * 2, [1393545600000] * 2, ["2014-02-28T00:00:00Z"] * 2])
def test_ingest_parquet_tables(tmp_path: Path, read_tables: ReadTables, times: list[Any]) -> None:
    purchases = pl.DataFrame(
        {
            "purchase_id": ["P1", "P2"],
            "user_id": [7, 7],
            "item_id": ["B", "A"],
            "category": ["Toys", None],
            "rating": [5, 4],
            "review": ["Fine &amp; dandy", None],
            "purchased_at": times,
        }
    )
    purchases.write_parquet(tmp_path / "orders.parquet")
    pl.DataFrame({"item_id": ["A"], "title": ["Ball"], "price": [1.5]}).write_parquet(tmp_path / "goods.parquet")
    run([tmp_path / "orders.parquet"], tmp_path / "out", [tmp_path / "goods.parquet"])
    tables = read_tables(tmp_path / "out")
    assert tables["interactions"].rows() == [
        ("P1", "7", "B", "Toys", 5.0, "Fine & dandy", FEB_28),
        ("P2", "7", "A", "unknown", 4.0, None, FEB_28),
    ]
    assert tables["items"].rows() == [("A", "Ball", None, None, 1.5, None)]


def test_ingest_parquet_with_column_names(tmp_path: Path, read_tables: ReadTables) -> None:
    theirs = {"customer": ["C1"], "sku": ["S1"], "stars": [3], "comment": ["ok"], "ordered": ["2014-02-28"]}
    pl.DataFrame(theirs).write_parquet(tmp_path / "orders.parquet")
    ours = {"user_id": "customer", "item_id": "sku", "rating": "stars", "review": "comment", "purchased_at": "ordered"}
    run([tmp_path], tmp_path / "out", column_names=ours)
    tables = read_tables(tmp_path / "out")
    assert key_columns(tables["interactions"]) == [("C1", "S1", "unknown", 3.0, "ok", FEB_28)]


def test_ingest_mixes_formats(tmp_path: Path, write_lines: WriteLines, read_tables: ReadTables, review: Review) -> None:
    table = {"purchased_at": [FEB_28], "rating": [3.0], "item_id": ["I9"], "user_id": ["U0"]}
    pl.DataFrame(table).write_parquet(tmp_path / "orders.parquet")
    run([tmp_path / "orders.parquet", write_lines("Toys_5.json", [review()])], tmp_path / "out")
    assert key_columns(read_tables(tmp_path / "out")["interactions"]) == [
        ("U0", "I9", "unknown", 3.0, None, FEB_28),
        ("U1", "I1", "Toys", 5.0, "Fine strings", FEB_28),
    ]


def test_ingest_never_writes_reviewer_names(tmp_path: Path, write_lines: WriteLines, review: Review) -> None:
    run([write_lines("a.json", [review(reviewerName="Jane Doe", user_name="Jane Doe")])], tmp_path / "out")
    frames = [pl.read_parquet(file) for file in (tmp_path / "out").rglob("*.parquet")]
    assert "Jane" not in str([frame.rows() for frame in frames])


# ---- bad rows


BAD_LINES: list[tuple[Any, str]] = [
    ("{cut", "not JSON"),
    ("[1]", "JSON but not an object"),
    (b'{"reviewerID": "\xff"}', "not UTF-8"),
    ({"reviewerID": ...}, "user id missing"),
    ({"asin": " "}, "item id missing"),
    ({"overall": ...}, "rating missing"),
    ({"overall": "abc"}, "rating is not a number"),
    ({"overall": True}, "rating is not a number"),
    ({"overall": float("nan")}, "rating is not a number"),
    ({"overall": float("inf")}, "rating is not a number"),
    ({"overall": [5]}, "rating is not a number"),
    ({"overall": 6}, "rating outside 1 to 5"),
    ({"unixReviewTime": ...}, "time stamp missing"),
    ({"unixReviewTime": "soon"}, "time stamp unreadable, or before 1990 or after 2100"),
    ({"unixReviewTime": 5}, "time stamp unreadable, or before 1990 or after 2100"),
]


def bad_lines(review: Review) -> list[Any]:
    """The bad lines between good ones, with blank lines that count as lines: bad line i stands on line 3 * i + 3."""
    lines: list[Any] = []
    for number, (line, _reason) in enumerate(BAD_LINES):
        lines += [review(asin=f"I{number}"), "", review(**line) if isinstance(line, dict) else line]
    return lines


def test_ingest_sets_bad_rows_aside_by_file_line_and_reason(
    tmp_path: Path, write_lines: WriteLines, read_tables: ReadTables, review: Review
) -> None:
    write_lines("raw/deep/a.json", bad_lines(review))
    counts = run([tmp_path / "raw"], tmp_path / "out", max_rejected_fraction=0.5).interactions
    tables = read_tables(tmp_path / "out")
    assert tables["rejected"].rows() == [
        ("deep/a.json", 3 * number + 3, reason) for number, (_line, reason) in enumerate(BAD_LINES)
    ]
    assert (counts.rows_in, counts.written, counts.rejected, counts.duplicates) == (2 * 15, 15, 15, 0)
    assert counts.reasons["rating is not a number"] == 5


def test_ingest_over_the_budget_writes_rejected_only(
    tmp_path: Path, write_lines: WriteLines, read_tables: ReadTables, review: Review
) -> None:
    out = tmp_path / "out"
    run([write_lines("good.json", [review()])], out)
    before = snapshot(out)
    with pytest.raises(RejectedBudgetError) as error:
        run([write_lines("bad.json", bad_lines(review))], out, max_rejected_fraction=0.4)
    for part in ("15 of 30 rows", "50.00%", "rating is not a number (5)", "bad.json:3", "--max-rejected-fraction"):
        assert part in str(error.value)
    after = snapshot(out)
    assert after.pop("rejected/part-00000.parquet") != before.pop("rejected/part-00000.parquet")
    assert after == before
    assert read_tables(out)["rejected"].height == 15


def test_ingest_budget_holds_for_items_by_themselves(tmp_path: Path, write_lines: WriteLines, review: Review) -> None:
    reviews = write_lines("a.json", [review(asin=f"I{number}") for number in range(1000)])
    items = write_lines("meta.json", [{"asin": "I1", "title": "x"}, {"title": "no id"}])
    with pytest.raises(RejectedBudgetError, match="items: 1 of 2 rows were rejected"):
        run([reviews], tmp_path / "out", [items])


# ---- repeats, and states of one purchase


def test_ingest_drops_exact_repeats_only(
    tmp_path: Path, write_lines: WriteLines, read_tables: ReadTables, review: Review
) -> None:
    lines = [review(), review(reviewText="Fine <b>strings</b>"), review(reviewText="Other"), review(overall=4)]
    lines += [review(unixReviewTime=1393545601), review(reviewText=None), review(reviewText="")]
    counts = run([write_lines("Aa.json", lines), write_lines("Bb.json", [review()])], tmp_path / "out").interactions
    assert (counts.rows_in, counts.written, counts.duplicates, counts.changed) == (7 + 1, 5, 3, 0)
    interactions = read_tables(tmp_path / "out")["interactions"]
    assert interactions["purchase_id"].n_unique() == 5
    assert sorted(interactions["category"]) == ["Aa", "Aa", "Aa", "Aa", "Bb"]  # of equal rows the newest file's stays


def test_ingest_of_two_exports_keeps_the_newest_state_with_a_text(
    tmp_path: Path, write_lines: WriteLines, read_tables: ReadTables, review: Review
) -> None:
    rated = [review(reviewerID=user, reviewText=None) for user in ("U1", "U2", "U3")]
    since = [review(reviewerID="U1", overall=2), review(reviewerID="U2", overall=1, reviewText="")]
    paths = [write_lines("2026-11-21.json", since), write_lines("2026-11-20.json", rated)]
    counts = run(paths, tmp_path / "out").interactions
    assert (counts.rows_in, counts.written, counts.duplicates, counts.changed) == (5, 3, 0, 2)
    rows = read_tables(tmp_path / "out")["interactions"].select("user_id", "rating", "review").rows()
    assert rows == [("U1", 2.0, "Fine strings"), ("U2", 1.0, None), ("U3", 5.0, None)]


def test_ingest_rejects_a_purchase_id_that_repeats_for_another_user(tmp_path: Path, read_tables: ReadTables) -> None:
    rows = [("P1", "U1", 5), ("P2", "U1", 5), ("P1", "U1", 5), ("P1", "U2", 5), ("P1", "U1", 4), (None, "U3", 5)]
    table = pl.DataFrame(rows, schema=["purchase_id", "user_id", "rating"], orient="row")
    table.with_columns(item_id=pl.lit("I"), purchased_at=pl.lit("2014-02-28")).write_parquet(tmp_path / "o.parquet")
    # Two buckets or more, so that the users of one purchase_id lie apart.
    counts = run([tmp_path / "o.parquet"], tmp_path / "out", max_rejected_fraction=0.5, rows_per_part=1).interactions
    tables = read_tables(tmp_path / "out")
    assert tables["rejected"].rows() == [("o.parquet", 4, "purchase_id repeats with another user, item or time")]
    kept = tables["interactions"].sort("user_id", "purchase_id").select("purchase_id", "user_id", "rating").rows()
    assert kept[:2] == [("P1", "U1", 4.0), ("P2", "U1", 5.0)]  # equal content under another id is another purchase
    assert (kept[2][1], len(kept[2][0])) == ("U3", 32 + len("-1"))
    assert (counts.rows_in, counts.written, counts.rejected, counts.duplicates, counts.changed) == (6, 3, 1, 0, 2)


def test_ingest_keeps_the_titled_one_of_repeated_items(
    tmp_path: Path, write_lines: WriteLines, read_tables: ReadTables, review: Review
) -> None:
    reviews = write_lines("r.json", [review()])
    one = write_lines("m1.json", [{"asin": "A", "title": "", "brand": "1"}, {"asin": "B", "brand": "1", "title": ""}])
    two = write_lines("m2.json", [{"asin": "A", "title": "t", "brand": "2"}, {"asin": "A", "title": "u"}, {"asin": "B"}])
    counts = run([reviews], tmp_path / "out", [two, one]).items
    items = read_tables(tmp_path / "out")["items"]
    assert items.select("item_id", "title", "brand").rows() == [("A", "t", "2"), ("B", None, "1")]
    assert (counts.rows_in, counts.written, counts.duplicates) == (5, 2, 3)


# ---- the same bytes, the same rows


def many_reviews(review: Review, count: int = 200) -> list[Any]:
    users = [f"U{number % 17}" for number in range(count)]
    return [review(reviewerID=user, asin=f"I{number}", overall=1 + number % 5) for number, user in enumerate(users)]


def test_ingest_twice_and_in_any_order_of_paths_gives_equal_bytes(
    tmp_path: Path, write_lines: WriteLines, review: Review
) -> None:
    lines = many_reviews(review)
    paths = [write_lines("x/a.json", lines[:120]), write_lines("y/b.json.gz", [*lines[100:], "{bad"])]
    paths.append(write_lines("y/meta.json", [{"asin": f"I{number}", "title": "t"} for number in range(50)]))
    outs = [tmp_path / name for name in ("one", "two", "three")]
    for out, order in zip(outs, (paths, paths, [paths[2], paths[1], paths[0]]), strict=True):
        run(order, out, rows_per_part=30)
    run(paths, outs[1], rows_per_part=30)  # over an earlier output
    assert len(snapshot(outs[0])) > 5
    assert snapshot(outs[0]) == snapshot(outs[1]) == snapshot(outs[2])


@pytest.mark.parametrize("suffix", ["json", "json.gz"])
def test_ingest_in_small_pieces_gives_the_same_rows(
    tmp_path: Path, write_lines: WriteLines, read_tables: ReadTables, review: Review, suffix: str
) -> None:
    ties = [review(reviewerID="U1", reviewText=text) for text in ("a", None, "b", "a")]
    lines = [*many_reviews(review), *ties, *bad_lines(review), *many_reviews(review)[:20], *ties[:1]]
    path = write_lines(f"a.{suffix}", lines)
    results = []
    for name, options in (("whole", {}), ("pieces", {"chunk_bytes": 500, "rows_per_part": 10})):
        counts = run([path], tmp_path / name, max_rejected_fraction=0.5, **options)
        tables = read_tables(tmp_path / name)
        results.append((counts, tables["interactions"].sort("purchase_id").rows(), sorted(tables["rejected"].rows())))
    assert results[0] == results[1]
    parts = [pl.read_parquet(file) for file in (tmp_path / "pieces" / "interactions").iterdir()]
    assert len(parts) > 1
    assert sum(part["user_id"].n_unique() for part in parts) == 17  # no user is split over parts (U1 of the bad is one)
    whole, pieces = (
        pl.concat([pl.read_parquet(file) for file in sorted((tmp_path / name / "interactions").iterdir())])
        for name in ("whole", "pieces")
    )
    assert whole["purchased_at"].n_unique() == 1  # so that the source's order alone tells a user's rows apart
    for user in whole["user_id"].unique():
        in_order = [rows.filter(user_id=user)["item_id"].to_list() for rows in (whole, pieces)]
        assert in_order[0] == in_order[1]


def test_ingest_small_input_gives_one_part_each(tmp_path: Path, write_lines: WriteLines, review: Review) -> None:
    run([write_lines("a.json", many_reviews(review))], tmp_path / "out")
    names = [f"{table}/part-00000.parquet" for table in ("interactions", "items", "rejected")]
    assert sorted(snapshot(tmp_path / "out")) == names


# ---- failures


def damaged(tmp_path: Path, kind: str, review: Review) -> Path:
    path = tmp_path / f"damaged.{'parquet' if kind == 'parquet' else 'json.gz'}"
    if kind == "parquet":
        pl.DataFrame({"user_id": ["U"] * 9}).write_parquet(path)
    else:
        lines = "".join(json.dumps(review(asin=str(number))) + "\n" for number in range(20_000))
        path.write_bytes(gzip.compress(lines.encode()))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 9 // 10])
    return path


@pytest.mark.parametrize("kind", ["gzip", "parquet"])
def test_ingest_damaged_file_leaves_the_earlier_output(
    tmp_path: Path, write_lines: WriteLines, review: Review, kind: str
) -> None:
    out = tmp_path / "out"
    good = write_lines("good.json", [review()])
    run([good], out)
    before = snapshot(out)
    with pytest.raises(SourceError, match=r"damaged\..*: truncated or corrupt"):
        run([good, damaged(tmp_path, kind, review)], out, chunk_bytes=100_000)
    assert snapshot(out) == before
    assert sorted(path.name for path in out.iterdir()) == ["interactions", "items", "rejected"]


def test_ingest_table_without_rows_is_an_error(tmp_path: Path) -> None:
    columns = dict.fromkeys(("user_id", "item_id", "rating", "purchased_at"), pl.String())
    pl.DataFrame(schema=columns).write_parquet(tmp_path / "o.parquet")
    with pytest.raises(SourceError, match=r"o\.parquet: the files hold no row"):
        run([tmp_path / "o.parquet"], tmp_path / "out")


@pytest.mark.parametrize(
    "options", [{"max_rejected_fraction": 1.5}, {"rows_per_part": 0}, {"chunk_bytes": 0}, {"column_names": {"no": "x"}}]
)
def test_ingest_refuses_arguments_out_of_range(
    tmp_path: Path, write_lines: WriteLines, review: Review, options: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        run([write_lines("a.json", [review()])], tmp_path / "out", **options)


def test_ingest_refuses_a_file_as_out(tmp_path: Path, write_lines: WriteLines, review: Review) -> None:
    path = write_lines("a.json", [review()])
    with pytest.raises(ConfigError, match="which is a file"):
        run([path], path)


def test_ingest_into_its_own_input_folder_reads_only_the_raw_files(
    tmp_path: Path, write_lines: WriteLines, review: Review
) -> None:
    write_lines("raw/a.json", [review()])
    counts = [run([tmp_path / "raw"], tmp_path / "raw") for _ in range(2)]
    assert counts[0] == counts[1]


def test_ingest_reports_progress_over_all_files(tmp_path: Path, write_lines: WriteLines, review: Review) -> None:
    a, b = write_lines("a.json", many_reviews(review)), write_lines("b.json", [review()])
    seen: list[tuple[str, int, int]] = []
    run([a, b], tmp_path / "out", chunk_bytes=1000, on_progress=lambda *report: seen.append(report))
    total = a.stat().st_size + b.stat().st_size
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    assert seen[-1] == ("b.json", total, total)


def test_ingest_normalises_a_firms_attributes_and_counts_what_it_could_not(
    tmp_path: Path, write_lines: WriteLines, read_tables: ReadTables, review: Callable[..., dict[str, Any]]
) -> None:
    reviews = write_lines("reviews.json", [review()])
    specs = [
        {"Colour": "Red", "color": "Blue", "net weight": {"value": "2", "unit": "Kilos"}},
        "steel",
        {"Size": "5 flibs"},
        None,
    ]
    items = write_lines(
        "items.json", [{"item_id": f"I{number}", "title": "x", "specs": one} for number, one in enumerate(specs)]
    )
    counts = ingest(reviews=[reviews], items=[items], out=tmp_path / "out", column_names={"attributes": "specs"})
    assert read_tables(tmp_path / "out")["items"]["attributes"].to_list() == [
        '{"color": ["Red", "Blue"], "weight": {"value": 2, "unit": "kg"}}',
        '{"attributes": "steel"}',
        '{"size": "5 flibs"}',
        None,
    ]
    assert counts.items.noted == {normalise.CONFLICT: 1, normalise.NO_OBJECT: 1, normalise.UNKNOWN_UNIT: 1}
    assert not counts.interactions.noted


def test_ingest_keeps_the_order_of_the_source_within_a_time(
    tmp_path: Path, write_lines: WriteLines, read_tables: ReadTables, review: Review
) -> None:
    day = [review(asin=item) for item in ("C", "A", "B")]
    paths = [
        write_lines("b.json", [review(asin="0")]),
        write_lines("a.json", [*day, review(asin="Z", unixReviewTime=1393545599)]),
    ]
    for name, options in (("whole", {}), ("pieces", {"chunk_bytes": 10, "rows_per_part": 1})):
        run(paths, tmp_path / name, **options)
        rows = read_tables(tmp_path / name)["interactions"]
        assert rows["item_id"].to_list() == ["Z", "C", "A", "B", "0"]


def test_ingest_with_purchase_ids_keeps_the_order_of_the_source_within_a_time(
    tmp_path: Path, read_tables: ReadTables
) -> None:
    columns = {"purchase_id": list("dbca"), "user_id": ["U"] * 4, "item_id": ["I"] * 4, "rating": [5] * 4}
    pl.DataFrame({**columns, "purchased_at": ["2014-02-28"] * 4}).write_parquet(tmp_path / "o.parquet")
    run([tmp_path / "o.parquet"], tmp_path / "out", rows_per_part=1)  # the rows of the user meet from several buckets
    assert read_tables(tmp_path / "out")["interactions"]["purchase_id"].to_list() == list("dbca")


def test_ingest_says_which_columns_are_empty_throughout(tmp_path: Path, write_lines: WriteLines, review: Review) -> None:
    items = write_lines("meta.json", [{"asin": "I1", "title": "Rake", "brand": ""}])
    counts = run([write_lines("part-0.json", [review(reviewText="")])], tmp_path / "out", [items])
    assert counts.interactions.empty == ("review", "category")
    assert counts.items.empty == ("brand", "category", "price", "attributes")
    assert run([write_lines("Toys.json", [review()])], tmp_path / "out").interactions.empty == ()


def test_ingest_counts_ids_that_look_like_floats(tmp_path: Path, write_lines: WriteLines, review: Review) -> None:
    ids = ["146.0", "1.2e+17", "12e4", "1.5", "B0002.0"]
    counts = run([write_lines("a.json", [review(reviewerID=user) for user in ids])], tmp_path / "out")
    ((what, count),) = counts.interactions.noted.items()
    assert count == 2
    assert what.startswith("values of user_id look like")


def test_ingest_joins_floating_point_ids_with_whole_ones(tmp_path: Path, read_tables: ReadTables) -> None:
    orders = {"user_id": [7.0, None], "item_id": [146.0, 9.0], "rating": [5, 5], "purchased_at": ["2014-02-28"] * 2}
    pl.DataFrame(orders).write_parquet(tmp_path / "o.parquet")
    pl.DataFrame({"item_id": [146], "title": ["Rake"]}).write_parquet(tmp_path / "i.parquet")
    counts = run([tmp_path / "o.parquet"], tmp_path / "out", [tmp_path / "i.parquet"], max_rejected_fraction=0.5)
    tables = read_tables(tmp_path / "out")
    assert tables["interactions"].select("user_id", "item_id").rows() == [("7", "146")]
    assert tables["items"]["item_id"].to_list() == ["146"]
    assert counts.interactions.reasons == {"user id missing": 1}
    assert any("146.0 is read as 146" in note for note in counts.notes)
