"""Tables are checked when read and when written, and written whole or not at all."""

from __future__ import annotations

import pickle
from pathlib import Path

import pyarrow as pa
import pytest

from reviewllm import errors
from reviewllm.table_files import read_table, table_files, write_table
from reviewllm.tables import ITEMS, REJECTED, TABLES

ROW = {"file": "a.jsonl", "line": 3, "reason": "not JSON"}


def test_write_table_read_table_round_trip(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([ROW])
    write_table(table, tmp_path / "t" / "part.parquet", REJECTED)
    assert read_table(tmp_path / "t", REJECTED).to_pylist() == [ROW]
    assert [path.name for path in (tmp_path / "t").iterdir()] == ["part.parquet"]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([{"file": "a", "line": 3}], r"lacks the column\(s\) reason"),
        ([{**ROW, "line": None}], "column 'line' of table 'rejected' holds 1 null"),
        ([{**ROW, "line": "three"}], "cannot be read as"),
    ],
)
def test_write_table_wrong_rows_write_nothing(tmp_path: Path, rows: list[dict[str, object]], problem: str) -> None:
    with pytest.raises(errors.SchemaError, match=problem):
        write_table(pa.Table.from_pylist(rows), tmp_path / "part.parquet", REJECTED)
    assert not list(tmp_path.iterdir())


def test_table_files_skips_what_is_not_published(tmp_path: Path) -> None:
    for name in ("b.parquet", "a.parquet", ".hidden.parquet", "_other.parquet", ".staging/c.parquet"):
        write_table(pa.Table.from_pylist([ROW]), tmp_path / name, REJECTED)
    assert [path.name for path in table_files(tmp_path, REJECTED)] == ["a.parquet", "b.parquet"]


def test_table_files_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.SchemaError, match="no Parquet file of table 'items'"):
        table_files(tmp_path, ITEMS)


def test_tables_every_column_says_what_it_means() -> None:
    for table in TABLES:
        assert len({column.name for column in table.columns}) == len(table.columns)
        assert all(column.meaning for column in table.columns)


def test_errors_survive_pickling_with_their_message() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ReviewLLMError)]
    assert len(kinds) > 10
    for kind in kinds:
        copy = pickle.loads(pickle.dumps(kind("what, where")))  # noqa: S301  (our own bytes)
        assert (type(copy), str(copy)) == (kind, "what, where")
