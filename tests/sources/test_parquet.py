"""Reading a firm's Parquet tables as text."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reviewllm.errors import SourceError
from reviewllm.sources.files import DataFile
from reviewllm.sources.parquet import count_rows, read_rows, sniff_fields

pytestmark = pytest.mark.filterwarnings("error")

NOON = dt.datetime(2014, 2, 28, 12, tzinfo=dt.UTC)
NOON_US = str(1393588800 * 1_000_000)


def write(tmp_path: Path, **columns: pa.Array) -> DataFile:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table(columns), path)
    return DataFile(path.name, path)


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        (pa.array(["x", None]), ["x", None]),
        (pa.array([5, 4]), ["5", "4"]),
        (pa.array([4.5, float("nan")]), ["4.5", "NaN"]),
        (pa.array([Decimal("4.50"), None]), ["4.50", None]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array(["x", "y"]).dictionary_encode(), ["x", "y"]),
        (pa.array([b"x", "é".encode()]), ["x", "é"]),
        (pa.nulls(2), [None, None]),
        (pa.array([NOON, None], pa.timestamp("s", "UTC")), [NOON_US, None]),
        (pa.array([NOON, None], pa.timestamp("ns", "Asia/Tokyo")), [NOON_US, None]),
        (pa.array([NOON.replace(tzinfo=None), None], pa.timestamp("ms")), [NOON_US, None]),
        (pa.array([dt.date(2014, 2, 28), None]), [str(1393545600 * 1_000_000), None]),
        (pa.array([["a", "b"], None]), ['["a", "b"]', None]),
        (pa.array([{"k": 1}, None]), ['{"k": 1}', None]),
    ],
)
def test_read_rows_gives_text_for_every_type(tmp_path: Path, column: pa.Array, texts: list[str | None]) -> None:
    [chunk] = read_rows(write(tmp_path, a=column), ["a", "absent"])
    assert chunk.rows.to_dict(as_series=False) == {"a": texts, "absent": [None, None], "line": [1, 2]}


def test_read_rows_numbers_rows_across_batches(tmp_path: Path) -> None:
    file = write(tmp_path, a=pa.array(range(5)))
    chunks = list(read_rows(file, ["a"], batch_rows=2))
    assert pl.concat([chunk.rows for chunk in chunks])["line"].to_list() == [1, 2, 3, 4, 5]
    assert chunks[-1].bytes_done == file.size_bytes


@pytest.mark.parametrize("kind", ["bytes", "text", "categories"])
def test_read_rows_sets_rows_that_are_not_utf8_aside(tmp_path: Path, kind: str) -> None:
    column = pa.array([b"x", b"\xff\xfe", b"ok", None])
    if kind != "bytes":
        column = pa.StringArray.from_buffers(4, *column.buffers()[1:], column.buffers()[0])
    if kind == "categories":
        column = column.dictionary_encode()
    [chunk] = read_rows(write(tmp_path, a=column), ["a"])
    assert chunk.rows.rows() == [("x", 1), ("ok", 3), (None, 4)]
    assert chunk.bad.rows() == [(2, "not UTF-8")]


@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_read_rows_of_a_truncated_file_is_an_error(tmp_path: Path, keep: float) -> None:
    file = write(tmp_path, a=pa.array(range(1000)))
    file.path.write_bytes(file.path.read_bytes()[: int(file.size_bytes * keep)])
    for read in (sniff_fields, count_rows, lambda f: list(read_rows(f, ["a"]))):
        with pytest.raises(SourceError, match=r"t\.parquet: truncated or corrupt Parquet"):
            read(file)


def test_read_rows_of_a_file_corrupt_in_its_pages_is_an_error(tmp_path: Path) -> None:
    file = write(tmp_path, a=pa.array([f"text {number}" for number in range(10_000)]))
    content = bytearray(file.path.read_bytes())
    content[4:2000] = b"\xff" * 1996
    file.path.write_bytes(content)
    assert count_rows(file) == 10_000  # the footer is whole
    with pytest.raises(SourceError, match=r"t\.parquet: truncated or corrupt Parquet"):
        list(read_rows(file, ["a"]))


def test_sniff_fields_are_the_column_names(tmp_path: Path) -> None:
    assert sniff_fields(write(tmp_path, a=pa.array([1]), b=pa.array([{"c": 1}]))) == {"a", "b"}
