"""Reading a firm's Parquet tables as text."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reviewllm.errors import SourceError
from reviewllm.sources.files import DataFile
from reviewllm.sources.parquet import check_columns, count_rows, read_rows, sniff_fields

pytestmark = pytest.mark.filterwarnings("error")

NOON = dt.datetime(2014, 2, 28, 12, tzinfo=dt.UTC)
NOON_US = str(1393588800 * 1_000_000)
UUIDS = [uuid.UUID(int=number) for number in (77, 2**127 + 9)]


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
        (pa.array([146.0, -0.0]), ["146", "0"]),
        (pa.array([146.0, None], pa.float32()), ["146", None]),
        (pa.array([UUIDS[0].bytes, None], pa.uuid()), [str(UUIDS[0]), None]),
        (pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())), ['{"a": 1}', None]),
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


def test_read_rows_of_whole_floating_point_ids_joins_with_whole_numbers(tmp_path: Path) -> None:
    [chunk] = read_rows(write(tmp_path, user=pa.array([146.0, 2.0**53 - 1, float("nan"), None])), ["user"], ids={"user"})
    assert chunk.rows["user"].to_list() == ["146", "9007199254740991", None, None]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (pa.array([1.0, 146.5]), r"146\.5"),
        (pa.array([1.0, 2.0**53]), r"9007199254740992\.0"),
        (pa.array([1.0, 2.0**24], pa.float32()), r"16777216\.0"),
        (pa.array([1.0, float("inf")]), "inf"),
    ],
)
def test_read_rows_of_ids_that_are_not_whole_or_not_exact_is_an_error(tmp_path: Path, column: pa.Array, value: str) -> None:
    file = write(tmp_path, user=column, price=column)
    with pytest.raises(SourceError, match=rf"t\.parquet: row 2: the id in 'user' is {value}, .*whole numbers or as text"):
        list(read_rows(file, ["user", "price"], ids={"user"}))
    assert sum(chunk.rows.height for chunk in read_rows(file, ["price"], ids={"user"})) == 2


@pytest.mark.parametrize("stored", [True, False], ids=["with Arrow's schema", "without"])
def test_read_rows_of_uuids_is_their_text(tmp_path: Path, stored: bool) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"user": pa.array([one.bytes for one in UUIDS], pa.uuid())}), path, store_schema=stored)
    file = DataFile(path.name, path)
    assert check_columns(file, ["user"], ids={"user"}) == []
    [chunk] = read_rows(file, ["user"], ids={"user"})
    assert chunk.rows["user"].to_list() == [str(one) for one in UUIDS]


@pytest.mark.parametrize(
    ("column", "named"),
    [
        (pa.array([UUIDS[0].bytes], pa.binary(16)), r"fixed_size_binary\[16\]"),
        (pa.array([UUIDS[0].bytes], pa.binary(16)).dictionary_encode(), r"fixed_size_binary\[16\]"),
        (pa.array([[b"x"]]), "list<element: binary>"),
        (pa.array([1], pa.duration("s")), r"duration\[s\]"),
        (pa.array([Decimal(1)], pa.decimal256(60, 2)), r"decimal256\(60, 2\)"),
    ],
)
def test_check_columns_refuses_values_without_a_text(tmp_path: Path, column: pa.Array, named: str) -> None:
    file = write(tmp_path, user=column, other=pa.array(["x"]))
    with pytest.raises(SourceError, match=rf"t\.parquet: column 'user' is of type {named}, .* write it anew as text"):
        check_columns(file, ["user"], ids={"user"})
    assert check_columns(file, ["other", "absent"], ids={"other"}) == []  # what is not read may be anything


def test_check_columns_refuses_a_column_twice(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table([pa.array(["a"]), pa.array(["b"]), pa.array(["c"])], names=["user", "user", "item"]), path)
    file = DataFile(path.name, path)
    with pytest.raises(SourceError, match=r"t\.parquet: has 2 columns 'user', .*write it anew with one"):
        check_columns(file, ["user", "item"], ids=())
    assert check_columns(file, ["item"], ids=()) == []


def test_check_columns_names_ids_that_are_floating_point_numbers(tmp_path: Path) -> None:
    file = write(tmp_path, user=pa.array([146.0]), rating=pa.array([5.0]), item=pa.array(["x"]))
    assert check_columns(file, ["user", "rating", "item"], ids={"user", "item"}) == ["user"]
