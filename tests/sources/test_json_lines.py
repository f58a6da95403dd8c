"""Reading JSON lines: exact line numbers, reasons for bad lines, the same rows for every chunk size."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from reviewllm.errors import SourceError
from reviewllm.sources import json_lines
from reviewllm.sources.files import DataFile
from reviewllm.sources.json_lines import CHUNK_BYTES, read_rows, sniff_fields

pytestmark = pytest.mark.filterwarnings("error")


def data_file(path: Path) -> DataFile:
    return DataFile(path.name, path)


def read(path: Path, *fields: str, chunk_bytes: int = CHUNK_BYTES) -> tuple[list[dict], list[tuple]]:
    chunks = list(read_rows(data_file(path), fields, chunk_bytes=chunk_bytes))
    return pl.concat([c.rows for c in chunks]).to_dicts(), pl.concat([c.bad for c in chunks]).rows()


GOOD = [
    b'{"a": "x", "n": 5.0, "extra": {"deep": [1]}}',
    b'{"a": "5", "n": "5.0"}',
    b'{"a": null, "n": true}',
    b'{"n": [1, "z"]}',
    b'{"a": {"k": 1}, "n": 1628083724757}',
    '{"a": "é 🎸", "n": -1.5}'.encode(),
    b'{"a": "first", "a": "second", "n": 1e3}',
    b'{"a": "\\ud83c\\udfb8 tab\\t", "n": 12345678901234567890123}',
]
GOOD_ROWS = [
    ("x", "5"),
    ("5", "5.0"),
    (None, "true"),
    (None, '[1, "z"]'),
    ('{"k": 1}', "1628083724757"),
    ("é 🎸", "-1.5"),
    ("first", "1000"),
    ("🎸 tab\t", "12345678901234567890123"),
]
BAD = [
    (b"not json", "not JSON"),
    (b'{"a": "cut off', "not JSON"),
    (b'{"a": 1} {"a": 2}', "not JSON"),
    (b"\x00", "not JSON"),
    (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not JSON"),
    (b"[1, 2]", "JSON but not an object"),
    (b'"text"', "JSON but not an object"),
    (b"null", "JSON but not an object"),
    (b'{"a": "\xff"}', "not UTF-8"),
]


def test_read_rows_gives_values_as_text(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"\n".join(GOOD) + b"\n")
    rows, bad = read(path, "a", "n")
    assert [(row["a"], row["n"]) for row in rows] == GOOD_ROWS
    assert [row["line"] for row in rows] == list(range(1, 1 + len(GOOD)))
    assert bad == []


def test_read_rows_gives_the_same_rows_beside_a_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"\n".join([*GOOD, b"{bad"]) + b"\n")
    rows, bad = read(path, "a", "n")
    assert [(row["a"], row["n"]) for row in rows] == GOOD_ROWS
    assert bad == [(len(GOOD) + 1, "not JSON")]


@pytest.mark.parametrize(("line", "reason"), BAD)
def test_read_rows_names_what_is_wrong_with_a_line(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'{"a": "x"}\n' + line + b'\n{"a": "y"}\n')
    rows, bad = read(path, "a")
    assert rows == [{"a": "x", "line": 1}, {"a": "y", "line": 3}]
    assert bad == [(2, reason)]


def test_read_rows_counts_blank_lines_but_makes_no_rows_of_them(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'\n{"a": 1}\r\n  \r\n\n{"a": 2}')  # the last line has no line end
    assert read(path, "a") == ([{"a": "1", "line": 2}, {"a": "2", "line": 5}], [])


def test_read_rows_drops_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n')
    assert read(path, "a") == ([{"a": "1", "line": 1}], [])


def test_read_rows_keeps_not_a_number_as_text(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'{"a": NaN}\n{"a": -Infinity}\n{"a": 1e400}\n')
    rows, _ = read(path, "a")
    assert [row["a"] for row in rows] == ["NaN", "-Infinity", "Infinity"]


def test_read_rows_drops_half_a_surrogate_pair_beside_a_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'{"a": "x\\ud83d"}\n{bad\n')
    assert read(path, "a")[0] == [{"a": "x", "line": 1}]


@pytest.mark.parametrize("chunk_bytes", [1, 7, 64, 1000])
@pytest.mark.parametrize("suffix", ["json", "json.gz"])
def test_read_rows_is_the_same_for_every_chunk_size(tmp_path: Path, chunk_bytes: int, suffix: str) -> None:
    content = b"\n".join([*GOOD, b"", b"{bad", *GOOD, b"\xff", b"[1]"])
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    assert read(path, "a", "n", chunk_bytes=chunk_bytes) == read(path, "a", "n")


def test_read_rows_counts_the_bytes_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'{"a": 1}\n' * 100)
    done = [chunk.bytes_done for chunk in read_rows(data_file(path), ["a"], chunk_bytes=90)]
    assert done == sorted(done)
    assert done[-1] == 9 * 100


@pytest.mark.parametrize("damage", ["truncated", "corrupt", "trailing"])
def test_read_rows_of_a_damaged_gzip_file_is_an_error(tmp_path: Path, damage: str) -> None:
    whole = gzip.compress(b"".join(b'{"a": %d}\n' % number for number in range(10_000)))
    middle = len(whole) // 2
    damaged = {
        "truncated": whole[:middle],
        "corrupt": whole[:middle] + bytes(byte ^ 0xFF for byte in whole[middle : middle + 50]) + whole[middle + 50 :],
        "trailing": whole + b"garbage",
    }
    path = tmp_path / "a.json.gz"
    path.write_bytes(damaged[damage])
    with pytest.raises(SourceError, match=r"a\.json\.gz: truncated or corrupt"):
        read(path, "a")


def test_read_rows_of_a_file_without_line_ends_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "_MAX_LINE_BYTES", 1000)
    path = tmp_path / "a.json"
    path.write_bytes(b'{"a": 1}\n' + b'{"a": 1},' * 1000)
    with pytest.raises(SourceError, match="line 2 is longer than 1,000 bytes"):
        read(path, "a", chunk_bytes=100)


def test_sniff_fields_joins_the_fields_of_the_good_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'{bad\n[1]\n{"a": 1}\n{"b": 1}\n')
    assert sniff_fields(data_file(path)) == {"a", "b"}
