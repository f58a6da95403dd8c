"""The real files, with the counts that their own description gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from reviewllm.sources.counts import TableCounts
from reviewllm.sources.ingest import ingest
from reviewllm.sources.text import MARKS

pytestmark = pytest.mark.filterwarnings("error")

ReadTables = Callable[[Path], dict[str, pl.DataFrame]]


def ratings(rows: pl.DataFrame) -> dict[float, int]:
    return dict(rows["rating"].value_counts().sort("rating").rows())


def test_ingest_real_amazon_2014(tmp_path: Path, real_data: Path, read_tables: ReadTables) -> None:
    counts = ingest(reviews=[real_data / "amazon_2014"], items=[], out=tmp_path / "out")
    rows = read_tables(tmp_path / "out")["interactions"]
    assert counts.interactions == TableCounts(rows_in=10_261, written=10_261, rejected=0, duplicates=0)
    assert rows["review"].is_not_null().sum() == 10_254
    assert (rows["user_id"].n_unique(), rows["item_id"].n_unique()) == (1_429, 900)
    assert ratings(rows) == {1: 217, 2: 250, 3: 772, 4: 2_084, 5: 6_938}
    assert set(rows["category"]) == {"Musical Instruments"}
    assert rows["purchased_at"].dt.strftime("%Y-%m").min() == "2004-09"
    assert rows["purchased_at"].dt.strftime("%Y-%m").max() == "2014-07"
    per_user = rows.group_by("user_id").len()["len"]
    assert per_user.is_between(11, 29).sum() == 138


def test_ingest_real_amazon_2023(tmp_path: Path, real_data: Path, read_tables: ReadTables) -> None:
    counts = ingest(reviews=[real_data / "amazon_2023"], items=[], out=tmp_path / "out")
    tables = read_tables(tmp_path / "out")
    rows, items = tables["interactions"], tables["items"]
    assert counts.interactions == TableCounts(3_455, 3_455, rejected=0, duplicates=0, noted={MARKS: 31})
    assert rows["user_id"].n_unique() == 354
    assert ratings(rows) == {1: 256, 2: 138, 3: 262, 4: 487, 5: 2_312}
    assert rows["category"].n_unique() == 24
    assert set(rows["item_id"]) <= set(items["item_id"])
    assert rows["review"].is_not_null().sum() == 3_455 - 2  # two hold one space each
    titles = rows.join(items, on="item_id", how="left")["title"]
    assert round(100 * titles.is_not_null().sum() / 3_455, 1) == 97.9
    per_user = rows.group_by("user_id").len()["len"]
    assert per_user.is_between(11, 29).sum() == 60
    texts = pl.concat([rows["review"], items["title"]])
    assert not texts.str.contains(r"</?[a-zA-Z!][^<>]*>|&amp;|&#\d|\[\[").any()
