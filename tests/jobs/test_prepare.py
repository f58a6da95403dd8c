"""What `prepare` says of its input, and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import day

from jobs import prepare
from reviewllm.examples.build import SPLITS
from reviewllm.table_files import read_table
from reviewllm.tables import EXAMPLES


def write_reviews(path: Path, *, text: str | None = "Fine.", users: int = 1, days: int = 3) -> Path:
    """Reviews in the format of Amazon v2: twelve a user, on so many days, each of an item of its own."""
    rows = [
        {
            "reviewerID": f"U{user}",
            "asin": f"I{number}",
            "overall": 5.0,
            "unixReviewTime": int(day(number * days // 12).timestamp()),
            "reviewText": text and f"{text} {number}",
        }
        for user in range(users)
        for number in reversed(range(12))  # the source's order is neither of items nor of ids
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_items(path: Path, *, title: str = "", category: list[str]) -> Path:
    rows = [{"asin": f"I{number}", "title": title, "brand": "Corvo", "category": category} for number in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(out: Path, reviews: Path, items: Path | None = None, **options: Any) -> dict[str, pl.DataFrame]:
    """Run the job; returns the splits of its examples."""
    given = [str(items)] if items else []
    prepare.main(prepare.PrepareJob(reviews=[str(reviews)], items=given, out=out, **options))
    folders = {split: out / "examples" / split for split in SPLITS}
    return {split: pl.DataFrame(read_table(folder, EXAMPLES)) for split, folder in folders.items() if folder.exists()}


def test_prepare_names_untitled_items_by_brand_and_last_category_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items = write_items(tmp_path / "meta.json", category=["Magazines", "Gardening"])
    (train,) = run(tmp_path / "out", write_reviews(tmp_path / "Magazines_5.json", users=2), items).values()
    assert set(train["title"]) == {"Corvo Gardening"}
    said = capsys.readouterr().out.splitlines()
    line = "Magazines: 24 of 24 purchases are of items without a title; in its place stands brand and category (24); "
    assert f"  {line}2 targets share 1 such names" in said
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["lacks"] == [f"{line}2 targets share 1 such names"]


def test_prepare_is_silent_where_nothing_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = write_items(tmp_path / "meta.json", title="Rake", category=["Tools"])
    options = {"train_per_category": 1, "simple_per_category": 0, "hard_per_category": 0}
    run(tmp_path / "out", write_reviews(tmp_path / "Tools.json"), items, **options)
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == ["items:", "sources", "examples"]
    assert said[0] == "  items: empty throughout: category, price"


@pytest.mark.parametrize(("same_time", "shown"), [("before", 11), ("leave-out", 0)])
def test_prepare_takes_what_was_written_on_the_same_day(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], same_time: str, shown: int
) -> None:
    reviews = write_reviews(tmp_path / "Toys_5.json", days=1)
    (train,) = run(tmp_path / "out", reviews, same_time=same_time).values()
    (history,), (reference,) = train["history"].to_list(), train["reference"].to_list()
    assert reference == "Fine. 0"  # the last of the file
    assert [past["review"] for past in history] == [f"Fine. {number}" for number in range(11, 11 - shown, -1)]
    assert ("1 of 1 targets have no history" in capsys.readouterr().out) == (same_time == "leave-out")


def test_prepare_says_that_there_is_no_review_and_no_category(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    orders = {"user_id": [146.0], "item_id": ["I"], "rating": [5], "purchased_at": ["2014-02-28"], "comment": ["Fine."]}
    pl.DataFrame(orders).write_parquet(tmp_path / "part-0.snappy.parquet")
    (backfill,) = run(tmp_path / "out", tmp_path / "part-0.snappy.parquet").values()
    assert backfill.select("user_id", "category", "title").rows() == [("146", "unknown", "I")]
    said = capsys.readouterr().out
    for line in (
        "interactions: empty throughout: review (so every purchase counts as rating-only; a column of another name is mapped "
        "with --column-names), category (so all purchases share one quota)",
        "without the column 'review'; not read of them: comment; files: part-0.snappy.parquet",
        "ids that are floating-point numbers (146.0 is read as 146): part-0.snappy.parquet: user_id",
        "unknown: 1 of 1 purchases are of items without a title; in its place stands the item id (1); 1 are of items that are "
        "not in the metadata at all, as 'I'",
        "backfill: 1 of 1 targets have no history: 1 without any review of the user",
    ):
        assert f"  {line}\n" in said


def test_prepare_never_takes_the_name_of_a_file_for_a_title(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (train,) = run(tmp_path / "out", write_reviews(tmp_path / "reviews_Toys_5.json")).values()
    assert train.select("category", "title").rows() == [("Toys", "I8")]  # the last of the file
    assert "in its place stands the item id (12)" in capsys.readouterr().out
