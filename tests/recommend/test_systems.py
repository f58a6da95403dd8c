"""Systems that lie in a folder or are named, and users to measure on."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from reviewllm.errors import ConfigError, InputError, SchemaError
from reviewllm.recommend.rankings import MANIFEST
from reviewllm.recommend.systems import read_systems, read_users
from reviewllm.recommend.tables import CANDIDATES, RECOMMENDATIONS
from reviewllm.table_files import write_table
from reviewllm.tables import Table

SEQUENCES = pl.DataFrame({"user_id": ["a"], "item_ids": [["x", "y", "z"]]})
ROW = {"user_id": "a", "item_id": "z", "rank": 1, "score": 0.5, "retriever": "sasrec", "source": "model", "model": "tiny"}
ROW |= {"log_likelihood": None, "reason": None, "adapter": None, "method": "generate", "fingerprint": "f", "generated_at": 0}


def write(file: Path, kind: Table = CANDIDATES, **changed: str) -> Path:
    """Write one row."""
    row = {column.name: (ROW | changed)[column.name] for column in kind.columns}
    write_table(pa.Table.from_pylist([row], schema=kind.schema), file, kind)
    return file


def test_read_systems_takes_all_of_the_target_with_retrievers_first(tmp_path: Path) -> None:
    write(tmp_path / "recommendations" / "test" / "v2" / "part.parquet", RECOMMENDATIONS)
    write(tmp_path / "candidates" / "test" / "sasrec.parquet")
    write(tmp_path / "candidates" / "test" / ".x.parquet.tmp")
    write(tmp_path / "candidates" / "validation" / "popular.parquet", retriever="popular")
    found = read_systems([], SEQUENCES, target="test", out=tmp_path)
    assert {name: one.base for name, one in found.items()} == {"sasrec": "-", "v2": "tiny"}


def test_read_systems_by_name_and_path(tmp_path: Path) -> None:
    one, other = write(tmp_path / "a=b.parquet"), write(tmp_path / "c.parquet", RECOMMENDATIONS)
    found = read_systems([str(one), f"mine={one}", f"PALR v2={other}"], SEQUENCES, target="test", out=tmp_path)
    assert list(found) == ["sasrec", "mine", "PALR v2"]


def test_read_systems_refuses_unclear_names_and_none(tmp_path: Path) -> None:
    one = write(tmp_path / "one.parquet")
    with pytest.raises(ConfigError, match="'sasrec' is there already"):
        read_systems([str(one), str(one)], SEQUENCES, target="test", out=tmp_path)
    write(tmp_path / "folder" / "two.parquet", retriever="two")
    write(tmp_path / "folder" / "three.parquet", retriever="three")
    with pytest.raises(ConfigError, match="holds 2 systems"):
        read_systems([f"both={tmp_path / 'folder'}"], SEQUENCES, target="test", out=tmp_path)
    (tmp_path / "cut.parquet").write_bytes(one.read_bytes()[:100])
    with pytest.raises(SchemaError, match=r"cut.parquet: not a readable Parquet file"):
        read_systems([str(tmp_path / "cut.parquet")], SEQUENCES, target="test", out=tmp_path)
    with pytest.raises(SchemaError, match="/none: no Parquet file"):
        read_systems([str(tmp_path / "none")], SEQUENCES, target="test", out=tmp_path)
    with pytest.raises(InputError, match="neither candidates/test nor recommendations/test"):
        read_systems([], SEQUENCES, target="test", out=tmp_path)


def test_read_systems_of_several_runs_or_another_target_are_refused(tmp_path: Path) -> None:
    for run, target in (("test/a", "test"), ("test/b", "test"), ("dt=2026-11-21", "next")):
        write(tmp_path / "recommendations" / run / "part.parquet", RECOMMENDATIONS)
        (tmp_path / "recommendations" / run / MANIFEST).write_text(f'{{"target": "{target}"}}')
    write(tmp_path / "candidates" / "validation" / "popular.parquet")
    for named, message in (
        ("recommendations", r"holds 3 folders of recommendations; name one, as .*/recommendations/dt=2026-11-21"),
        ("recommendations/test", r"holds 2 folders of recommendations; name one, as .*/test/a"),
        ("recommendations/dt=2026-11-21", "was ranked for --target next, not for test"),
        ("candidates", r"holds tables of --target validation; name .*/candidates/test"),
    ):
        with pytest.raises(InputError, match=message):
            read_systems([str(tmp_path / named)], SEQUENCES, target="test", out=tmp_path)
    assert list(read_systems([], SEQUENCES, target="test", out=tmp_path)) == ["a", "b"]


def test_read_users_of_lines_or_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "users.txt").write_text("a\n\n b \n")
    assert read_users(tmp_path / "users.txt") == ["a", "b"]
    assert read_users(write(tmp_path / "c.parquet")) == ["a"]
    (tmp_path / "users.txt").write_text("\n")
    with pytest.raises(InputError, match="holds no user id"):
        read_users(tmp_path / "users.txt")
    with pytest.raises(InputError, match="cannot be read"):
        read_users(tmp_path / "none.txt")
