"""Read a Parquet table of an e-commerce firm as rows of text, as the JSON reader does."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from reviewllm.errors import SourceError
from reviewllm.sources.files import DataFile
from reviewllm.sources.json_lines import BAD_ROWS, NOT_UTF8, RawRows

_BATCH_ROWS = 50_000
# Up to here a floating-point number tells every whole number from its neighbours.
_EXACT_BELOW: Mapping[pl.DataType, int] = {pl.Float16(): 2**11, pl.Float32(): 2**24, pl.Float64(): 2**53}
_UUID_PARTS = r"^(.{8})(.{4})(.{4})(.{4})(.{12})$"
_WITH_TEXT = (
    *(pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_null, pa.types.is_date),
    *(pa.types.is_timestamp, pa.types.is_time, pa.types.is_decimal32, pa.types.is_decimal64, pa.types.is_decimal128),
    *(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
)


def read_rows(
    file: DataFile, fields: Sequence[str], *, ids: Collection[str] = (), batch_rows: int = _BATCH_ROWS
) -> Iterator[RawRows]:
    """Read `fields` of every row as text; `line` is the row's number from 1, and a column that is absent is null.

    A date or time stamp becomes its microseconds since 1970 (UTC; one without a zone is taken as UTC), a UUID its usual text,
    a nested value JSON text, and a whole number has no decimal point, whatever its column's type. `ids` are the fields of ids.

    Raises:
        SourceError: the file is truncated or corrupt, or an id is a floating-point number and not whole, or not exact.
    """
    done = 0
    try:
        with pq.ParquetFile(file.path) as table:
            present = [field for field in fields if field in table.schema_arrow.names]
            for batch in table.iter_batches(batch_size=batch_rows, columns=present):
                good, lines, bad_lines = _split_utf8(batch, first_line=done + 1)
                raw = pl.DataFrame(pa.Table.from_batches([good]))
                raw = raw.with_columns(_checked_ids(file, raw[name], lines) for name in present if name in ids)
                rows = _all_text(raw, fields)
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
    with _open(file) as table:
        return frozenset(table.schema_arrow.names)


def check_columns(file: DataFile, fields: Sequence[str], *, ids: Collection[str]) -> list[str]:
    """Refuse columns that cannot be read as they are meant; return those of `ids` that are floating-point numbers.

    Raises:
        SourceError: one of `fields` is there more than once, or of a type that has no text.
    """
    floats = []
    with _open(file) as table:
        schema = table.schema_arrow
    for name in fields:
        types = [field.type for field in schema if field.name == name]
        if len(types) > 1:
            raise SourceError(
                f"{file.path}: has {len(types)} columns '{name}', and which is meant cannot be told; write it anew with one, or "
                "under other names and --column-names"
            )
        if types and not _has_text(types[0]):
            raise SourceError(
                f"{file.path}: column '{name}' is of type {types[0]}, whose values have no text that is told by the file; write it "
                "anew as text, whole numbers or, where they are UUIDs, as UUID"
            )
        if types and name in ids and pa.types.is_floating(types[0]):
            floats.append(name)
    return floats


def count_rows(file: DataFile) -> int:
    """Return the number of rows, from the file's footer.

    Raises:
        SourceError: the file is truncated or corrupt.
    """
    with _open(file) as table:
        return int(table.metadata.num_rows)


def _open(file: DataFile) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file.path)
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
    if isinstance(column.type, pa.UuidType):
        digits = pl.Series(pl.from_arrow(column.storage)).bin.encode("hex")
        return digits.str.replace(_UUID_PARTS, "$1-$2-$3-$4-$5").to_arrow()
    return column.cast(pa.large_string()) if _is_bytes(column.type) else column


def _has_text(kind: pa.DataType, *, is_nested: bool = False) -> bool:
    """Whether the values of a column have a text of their own: bytes of a fixed length, say, may be anything."""
    if pa.types.is_dictionary(kind):
        return _has_text(kind.value_type, is_nested=is_nested)
    if pa.types.is_map(kind):
        return _has_text(kind.key_type, is_nested=True) and _has_text(kind.item_type, is_nested=True)
    if pa.types.is_nested(kind):
        return all(_has_text(kind.field(at).type, is_nested=True) for at in range(kind.num_fields))
    if isinstance(kind, pa.UuidType) or _is_bytes(kind):
        return not is_nested  # JSON has no bytes
    return any(is_one(kind) for is_one in _WITH_TEXT)


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _checked_ids(file: DataFile, column: pl.Series, lines: Sequence[int]) -> pl.Series:
    """Return ids with null for NaN; refuse floating-point ones that are not whole, or too large to be told from others."""
    if not column.dtype.is_float():
        return column
    column = column.fill_nan(None)
    wrong = (~_is_whole(column)).arg_true()
    if len(wrong):
        raise SourceError(
            f"{file.path}: row {lines[wrong[0]]}: the id in '{column.name}' is {column[wrong[0]]}, a floating-point number that is "
            "not whole, or so large that it may stand for several ids; write the column as whole numbers or as text"
        )
    return column


def _is_whole(column: pl.Series) -> pl.Series:
    return (column == column.floor()) & (column.abs() < _EXACT_BELOW[column.dtype])


def _all_text(raw: pl.DataFrame, fields: Sequence[str]) -> pl.DataFrame:
    absent = pl.Series([None], dtype=pl.String).new_from_index(0, raw.height)
    return pl.DataFrame({field: _as_text(raw[field]) if field in raw.columns else absent for field in fields})


def _as_text(column: pl.Series) -> pl.Series:
    if isinstance(column.dtype, pl.Date | pl.Datetime):
        column = column.cast(pl.Datetime("us")).dt.epoch("us")
    if column.dtype.is_nested():
        values = [None if v is None else json.dumps(v, ensure_ascii=False, default=str) for v in column.to_list()]
        return pl.Series(values, dtype=pl.String)
    texts = column.cast(pl.String, strict=False)
    if column.dtype.is_float():
        whole = column.cast(pl.Int64, strict=False).cast(pl.String)
        return whole.zip_with(_is_whole(column).fill_null(False), texts)
    return texts
