"""Read JSON lines, plain or gzipped, a block at a time, with exact line numbers and bad lines set aside."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from typing import IO, Any, NamedTuple, cast

import polars as pl

from reviewllm.errors import SourceError
from reviewllm.sources.files import DataFile

# About 20,000 reviews: long enough that the parser's fixed cost vanishes, short enough that one bad line sends few
# others the slow way.
CHUNK_BYTES = 16 * 2**20
# Far above any record; only a file without line ends (one JSON array, say) gets there.
_MAX_LINE_BYTES = 64 * 2**20
_SNIFF_BYTES = 2**20

NOT_UTF8 = "not UTF-8"
NOT_JSON = "not JSON"
NOT_AN_OBJECT = "JSON but not an object"
BAD_ROWS = pl.Schema({"line": pl.Int64(), "reason": pl.String()})


class RawRows(NamedTuple):
    """A chunk of a raw file: every value as text, unparsed, beside the lines that could not be read.

    `rows` has one string column per field asked for (null where the row lacks it) and `line`; `bad` has `line` and
    `reason`; `bytes_done` counts the file's bytes on disk read so far.
    """

    rows: pl.DataFrame
    bad: pl.DataFrame
    bytes_done: int


def read_rows(file: DataFile, fields: Sequence[str], *, chunk_bytes: int = CHUNK_BYTES) -> Iterator[RawRows]:
    """Read `fields` of every line, in order. Blank lines are not rows, but they are counted as lines.

    Numbers and truth values come as text; an object or a list comes as JSON text.

    Raises:
        SourceError: the gzip stream is truncated or corrupt, or the file has no line ends.
    """
    for first_line, chunk, bytes_done in _read_chunks(file, chunk_bytes):
        rows = _parse_chunk(chunk, first_line, fields)
        yield RawRows(*(rows or _parse_lines(chunk, first_line, fields)), bytes_done)


def sniff_fields(file: DataFile) -> frozenset[str]:
    """Return the field names of the good lines at the head of the file.

    Raises:
        SourceError: as `read_rows`.
    """
    names: set[str] = set()
    for _, chunk, _ in _read_chunks(file, _SNIFF_BYTES):
        for line in chunk.split(b"\n"):
            record, _reason = _load(line)
            names.update(record or ())
        break
    return frozenset(names)


def _read_chunks(file: DataFile, chunk_bytes: int) -> Iterator[tuple[int, bytes, int]]:
    """Yield (number of the first line, whole lines, bytes read on disk)."""
    first_line, rest = 1, b""
    with open(file.path, "rb") as raw:
        stream = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if file.is_gzip else raw
        for block in _read_blocks(stream, file, chunk_bytes):
            head, line_end, tail = block.rpartition(b"\n")
            if line_end:
                chunk = rest + head + line_end
                yield first_line, chunk, raw.tell()
                first_line += chunk.count(b"\n")
                rest = tail
            else:
                rest += block
            if len(rest) > _MAX_LINE_BYTES:
                raise SourceError(
                    f"{file.path}: line {first_line} is longer than {_MAX_LINE_BYTES:,} bytes; the file must hold "
                    f"one JSON object per line"
                )
        if rest:
            yield first_line, rest + b"\n", raw.tell()


def _read_blocks(stream: IO[bytes], file: DataFile, chunk_bytes: int) -> Iterator[bytes]:
    mark = b"\xef\xbb\xbf"  # the byte-order mark that Windows tools put first
    try:
        if block := stream.read(max(chunk_bytes, len(mark))).removeprefix(mark):
            yield block
        while block := stream.read(chunk_bytes):
            yield block
    except (EOFError, zlib.error, OSError) as error:
        raise SourceError(f"{file.path}: truncated or corrupt ({error}); fetch the file again") from error


def _parse_chunk(chunk: bytes, first_line: int, fields: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame] | None:
    """Parse a chunk at once, or return None where some line needs a look of its own.

    polars refuses the whole chunk for one bad line and skips blank lines; each other line makes one row, so equal
    counts mean exact line numbers. A line that is no object makes a row of nulls.
    """
    try:
        rows = pl.read_ndjson(chunk, schema=dict.fromkeys(fields, pl.String()), ignore_errors=True)
    except pl.exceptions.ComputeError:
        return None
    if rows.height != chunk.count(b"\n") or rows.select(pl.all_horizontal(pl.all().is_null()).any()).item():
        return None
    lines = pl.Series("line", range(first_line, first_line + rows.height), dtype=pl.Int64)
    return rows.with_columns(lines), BAD_ROWS.to_frame()


def _parse_lines(chunk: bytes, first_line: int, fields: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Parse a chunk line by line with the standard library: some 4 times slower, but every bad line gets its reason."""
    rows: list[list[Any]] = []
    bad: list[tuple[int, str]] = []
    for number, line in enumerate(chunk.split(b"\n"), start=first_line):
        if not line.strip():
            continue
        record, reason = _load(line)
        if record is None:
            bad.append((number, reason))
        else:
            rows.append([*(_as_text(record.get(field)) for field in fields), number])
    schema = {**dict.fromkeys(fields, pl.String()), "line": pl.Int64()}
    return pl.DataFrame(rows, schema=schema, orient="row"), pl.DataFrame(bad, schema=BAD_ROWS, orient="row")


def _load(line: bytes) -> tuple[dict[str, Any] | None, str]:
    """Return the object on a line, or None and the reason."""
    try:
        record = json.loads(line.decode("utf-8"), object_pairs_hook=_first_of_each_key)
    except UnicodeDecodeError:
        return None, NOT_UTF8
    except (ValueError, RecursionError):
        return None, NOT_JSON
    return (record, "") if isinstance(record, dict) else (None, NOT_AN_OBJECT)


def _first_of_each_key(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Let the first of repeated keys win, as polars does; a chunk must not read otherwise for a neighbour's fault."""
    record = dict(pairs)
    return record if len(record) == len(pairs) else dict(reversed(pairs))


def _as_text(value: Any) -> str | None:
    """Write a JSON value as polars does; half surrogate pairs, which no file can hold, go."""
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "ignore").decode("utf-8")
