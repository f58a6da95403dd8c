"""Spilling rows to buckets on disk."""

from __future__ import annotations

import zlib
from pathlib import Path

import polars as pl
import pytest

from reviewllm.spill import Spill

pytestmark = pytest.mark.filterwarnings("error")

ROWS = pl.DataFrame({"key": [f"k{number % 7}" for number in range(100)], "value": range(100)})


@pytest.mark.parametrize("buckets", [1, 4])
@pytest.mark.parametrize("rows_in_memory", [1, 30, 1000])
def test_drain_gives_every_row_once_with_keys_together(tmp_path: Path, buckets: int, rows_in_memory: int) -> None:
    spill = Spill(tmp_path / "s", key="key", buckets=buckets, rows_in_memory=rows_in_memory)
    for start in range(0, 100, 9):
        spill.add(ROWS.slice(start, 9))
    drained = list(spill.drain())
    assert pl.concat(drained).sort("value").equals(ROWS)
    assert sum(bucket["key"].n_unique() for bucket in drained) == 7
    assert all(bucket["value"].is_sorted() for bucket in drained)  # arrival order within a bucket
    assert list((tmp_path / "s").iterdir()) == []


def test_drain_buckets_are_those_of_crc32(tmp_path: Path) -> None:
    spill = Spill(tmp_path / "s", key="key", buckets=3, rows_in_memory=10)
    spill.add(ROWS)
    by_bucket = [{zlib.crc32(key.encode()) % 3 for key in bucket["key"]} for bucket in spill.drain()]
    assert by_bucket == [{0}, {1}, {2}]


def test_drain_without_rows_gives_nothing(tmp_path: Path) -> None:
    spill = Spill(tmp_path / "s", key="key", buckets=3, rows_in_memory=10)
    spill.add(ROWS.clear())
    assert list(spill.drain()) == []
