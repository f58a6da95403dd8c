"""Read a Parquet table of an e-commerce firm as rows of text, as the JSON reader does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from reviewllm.errors import SourceError
from reviewllm.sources.files import DataFile
from reviewllm.sources.json_lines import BAD_ROWS, NOT_UTF8, RawRows

_BATCH_ROWS = 50_000


def read_rows(file: DataFile, fields: Sequence[str], *, batch_rows: int = _BATCH_ROWS) -> Iterator[RawRows]:
    """Read `fields` of every row as text; `line` is the row's number from 1, and a column that is absent is null.

    A date or time stamp becomes its microseconds since 1970 (UTC; one without a zone is taken as UTC), a nested value
    JSON text.

    Raises:
        SourceError: the file is truncated or corrupt.
    """
    done = 0
    try:
        with pq.ParquetFile(file.path) as table:
            present = [field for field in fields if field in table.schema_arrow.names]
            for batch in table.iter_batches(batch_size=batch_rows, columns=present):
                good, lines, bad_lines = _split_utf8(batch, first_line=done + 1)
                rows = _all_text(pl.DataFrame(pa.Table.from_batches([good])), fields)
                bad = pl.DataFrame({"line": bad_lines, "reason": [NOT_UTF8] * len(bad_lines)}, schema=BAD_ROWS)
                done += len(batch)
                bytes_done = file.size_bytes * done // table.metadata.num_rows
                yield RawRows(rows.with_columns(pl.Series("line", lines, dtype=pl.Int64)), bad, bytes_done)
    except (pa.ArrowException, OSError, pl.exceptions.PolarsError) as error:
        raise SourceError(f"{file.path}: truncated or corrupt Parquet ({error}); fetch the file again") from error


def sniff_fields(file: DataFile) -> frozenset[str]:
    """Return the table's column names.

    Raises:
        SourceError: the file is truncated or corrupt.
    """
    return frozenset(_metadata(file).schema.to_arrow_schema().names)


def count_rows(file: DataFile) -> int:
    """Return the number of rows, from the file's footer.

    Raises:
        SourceError: the file is truncated or corrupt.
    """
    return int(_metadata(file).num_rows)


def _metadata(file: DataFile) -> pq.FileMetaData:
    try:
        return pq.read_metadata(file.path)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{file.path}: truncated or corrupt Parquet ({error}); fetch the file again") from error


def _split_utf8(batch: pa.RecordBatch, *, first_line: int) -> tuple[pa.RecordBatch, Sequence[int], list[int]]:
    """Return the rows whose text is UTF-8, their lines, and the lines of the others.

    Parquet does not promise UTF-8 and Arrow does not check unless asked, but polars takes it for granted: a wrong byte
    makes it panic later, or worse.
    """
    lines = range(first_line, first_line + len(batch))
    try:
        return _checked(batch), lines, []
    except pa.ArrowInvalid:
        keep = [_is_utf8(batch.slice(row, 1)) for row in range(len(batch))]
    good = batch.filter(pa.array(keep))
    bad_lines = [line for line, is_good in zip(lines, keep, strict=True) if not is_good]
    return _checked(good), [line for line, is_good in zip(lines, keep, strict=True) if is_good], bad_lines


def _is_utf8(batch: pa.RecordBatch) -> bool:
    try:
        _checked(batch)
    except pa.ArrowInvalid:
        return False
    return True


def _checked(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the batch with bytes as text and categories as plain text, or raise ArrowInvalid."""
    columns = [_plain(column) for column in batch.columns]
    checked = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
    checked.validate(full=True)
    return checked


def _plain(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    is_bytes = pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)
    return column.cast(pa.large_string()) if is_bytes else column


def _all_text(raw: pl.DataFrame, fields: Sequence[str]) -> pl.DataFrame:
    absent = pl.Series([None], dtype=pl.String).new_from_index(0, raw.height)
    return pl.DataFrame({field: _as_text(raw[field]) if field in raw.columns else absent for field in fields})


def _as_text(column: pl.Series) -> pl.Series:
    if isinstance(column.dtype, pl.Date | pl.Datetime):
        column = column.cast(pl.Datetime("us")).dt.epoch("us")
    if column.dtype.is_nested():
        values = [None if v is None else json.dumps(v, ensure_ascii=False, default=str) for v in column.to_list()]
        return pl.Series(values, dtype=pl.String)
    return column.cast(pl.String, strict=False)
