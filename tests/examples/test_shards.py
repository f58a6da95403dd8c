"""Shards whose names say what is in them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from conftest import example

from reviewllm.examples.shards import write_shards
from reviewllm.table_files import read_table
from reviewllm.tables import EXAMPLES


def table(rows: int, **changed: str) -> pa.Table:
    made = [example(example_id=f"e{number}", **changed) for number in range(rows)]
    return pa.Table.from_pylist(made, schema=EXAMPLES.schema)


def test_write_shards_names_follow_number_and_content(tmp_path: Path) -> None:
    names = write_shards(table(5), tmp_path, first=7, rows=2)
    assert [name[:12] for name in names] == ["shard-00007-", "shard-00008-", "shard-00009-"]
    assert [read_table([tmp_path / name], EXAMPLES).num_rows for name in names] == [2, 2, 1]
    assert write_shards(table(5), tmp_path / "again", first=7, rows=2) == names
    assert not set(write_shards(table(5, title="Other"), tmp_path / "other", first=7, rows=2)) & set(names)
    assert write_shards(table(0), tmp_path / "none") == []
