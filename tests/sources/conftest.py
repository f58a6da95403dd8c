"""Writers of raw files and readers of tables, for the tests of sources."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from reviewllm.table_files import read_table
from reviewllm.tables import INTERACTIONS, ITEMS, REJECTED

WriteLines = Callable[..., Path]
ReadTables = Callable[[Path], dict[str, pl.DataFrame]]


@pytest.fixture
def write_lines(tmp_path: Path) -> WriteLines:
    """Write lines (objects as JSON, bytes and text as they are) to a file below tmp_path; gzipped where named .gz."""

    def write(name: str, lines: Sequence[Any]) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = b"".join(_encode(line) + b"\n" for line in lines)
        path.write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
        return path

    return write


def _encode(line: Any) -> bytes:
    if isinstance(line, bytes):
        return line
    return line.encode() if isinstance(line, str) else json.dumps(line).encode()


@pytest.fixture
def read_tables() -> ReadTables:
    """Read the three tables of an output folder."""
    return lambda out: {t.name: pl.DataFrame(read_table(out / t.name, t)) for t in (INTERACTIONS, ITEMS, REJECTED)}


@pytest.fixture
def review() -> Callable[..., dict[str, Any]]:
    """Make an Amazon 2014 review; keywords replace fields, and a field set to ... is left out."""

    def make(**fields: Any) -> dict[str, Any]:
        record = {
            "reviewerID": "U1",
            "asin": "I1",
            "reviewerName": "Jane Doe",
            "helpful": [0, 0],
            "reviewText": "Fine strings",
            "overall": 5.0,
            "summary": "good",
            "unixReviewTime": 1393545600,
            "reviewTime": "02 28, 2014",
            **fields,
        }
        return {name: value for name, value in record.items() if value is not ...}

    return make


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real input beside the repository; the tests that need it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no shared/data folder beside the repository")
    return folder
