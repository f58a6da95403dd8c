"""Writing parts and replacing folders."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from reviewllm.sources.parts import Parts, replace_folder
from reviewllm.table_files import read_table
from reviewllm.tables import REJECTED

pytestmark = pytest.mark.filterwarnings("error")


def rows(*lines: int) -> pl.DataFrame:
    return pl.DataFrame({"file": "f", "line": list(lines), "reason": "r", "other": 0})


def test_add_cuts_parts_at_rows_per_part(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "t", REJECTED, rows_per_part=3)
    for line in range(1, 8):
        parts.add(rows(line))
    parts.close()
    files = sorted((tmp_path / "t").iterdir())
    assert [file.name for file in files] == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    assert [read_table(file, REJECTED)["line"].to_pylist() for file in files] == [[1, 2, 3], [4, 5, 6], [7]]


def test_close_without_rows_writes_one_empty_part(tmp_path: Path) -> None:
    Parts(tmp_path / "t", REJECTED, rows_per_part=3).close()
    assert [file.name for file in (tmp_path / "t").iterdir()] == ["part-00000.parquet"]
    assert read_table(tmp_path / "t", REJECTED).num_rows == 0


def test_write_gives_equal_bytes_for_equal_rows_in_other_chunks(tmp_path: Path) -> None:
    for name, frame in (("a", rows(1, 2)), ("b", pl.concat([rows(1), rows(2)], rechunk=False))):
        Parts(tmp_path / name, REJECTED, rows_per_part=3).write(frame)
    a, b = ((tmp_path / name / "part-00000.parquet").read_bytes() for name in "ab")
    assert a == b


def test_replace_folder_leaves_no_file_of_the_older_one(tmp_path: Path) -> None:
    for folder, name in (("target", "old"), ("staging/t", "new")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / name).touch()
    replace_folder(tmp_path / "staging" / "t", tmp_path / "target")
    assert [file.name for file in (tmp_path / "target").iterdir()] == ["new"]
