"""Which file is read as what: every file is opened and recognised before the first row is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from reviewllm.errors import ConfigError, SourceError
from reviewllm.sources import json_lines, parquet
from reviewllm.sources.files import DataFile, find_files
from reviewllm.sources.formats import Format, Kind, known_formats, recognise
from reviewllm.sources.json_lines import RawRows

# For the number of buckets alone, so rough is enough: a short review's line, and what gzip makes of JSON. Real lines
# are 2 to 4 times longer, so the buckets come out smaller than asked for, never much larger.
_LINE_BYTES = 250
_GZIP_RATIO = 4


@dataclass(frozen=True)
class Source:
    """A raw file and its format."""

    file: DataFile
    format: Format
    estimated_rows: int

    def read(self, *, chunk_bytes: int) -> Iterator[RawRows]:
        """Read the file chunk by chunk, with its values as text under our column names, and `line`.

        Raises:
            SourceError: the file is truncated or corrupt.
        """
        theirs = list(dict.fromkeys(self.format.fields.values()))
        columns = [pl.col(name).alias(ours) for ours, name in self.format.fields.items()]
        if self.file.is_parquet:
            chunks = parquet.read_rows(self.file, theirs)
        else:
            chunks = json_lines.read_rows(self.file, theirs, chunk_bytes=chunk_bytes)
        for chunk in chunks:
            yield chunk._replace(rows=chunk.rows.select(*columns, "line"))


@dataclass(frozen=True)
class Plan:
    """The files to read, in order."""

    interactions: list[Source]
    items: list[Source]

    @property
    def size_bytes(self) -> int:
        """Size of all files on disk."""
        return sum(source.file.size_bytes for source in (*self.interactions, *self.items))


def make_plan(
    reviews: Sequence[Path],
    items: Sequence[Path],
    *,
    column_names: Mapping[str, str],
    except_below: Sequence[Path] = (),
) -> Plan:
    """Find and recognise all files. Item files among `reviews` are used where `items` is empty, else passed over.

    Raises:
        SourceError: a path holds nothing of what it was passed for, or a file cannot be read or recognised.
        ConfigError: `column_names` maps a column that is not ours, or to one that no file has.
    """
    formats = known_formats(column_names)
    sniffed: dict[Path, frozenset[str]] = {}

    def sources(paths: Sequence[Path]) -> list[Source]:
        return [_recognise(file, formats, sniffed) for file in find_files(paths, except_below=except_below)]

    among_reviews = sources(reviews)
    among_items = sources(items) if items else among_reviews
    _check_column_names(column_names, frozenset().union(*sniffed.values()))
    plan = Plan(_of_kind(among_reviews, "interactions"), _of_kind(among_items, "items"))
    _check_contributes(reviews, plan.interactions if items else among_reviews, "reviews")
    _check_contributes(items, plan.items, "items")
    if not plan.interactions:
        raise SourceError(f"{', '.join(map(str, reviews)) or 'reviews'}: no file of reviews or purchases is there")
    return plan


def _recognise(file: DataFile, formats: Sequence[Format], sniffed: dict[Path, frozenset[str]]) -> Source:
    """Recognise a file, and add its field names to `sniffed`."""
    reader = parquet if file.is_parquet else json_lines
    if file.path not in sniffed:
        sniffed[file.path] = reader.sniff_fields(file)
    return Source(file, recognise(file, sniffed[file.path], formats), _estimate_rows(file))


def _estimate_rows(file: DataFile) -> int:
    if file.is_parquet:
        return parquet.count_rows(file)
    return file.size_bytes * (_GZIP_RATIO if file.is_gzip else 1) // _LINE_BYTES


def _of_kind(sources: Sequence[Source], kind: Kind) -> list[Source]:
    return [source for source in sources if source.format.kind == kind]


def _check_column_names(column_names: Mapping[str, str], present: frozenset[str]) -> None:
    """Refuse a name that no file has: a misspelt `review` would silently make every row rating-only."""
    absent = [f"{ours}={theirs}" for ours, theirs in column_names.items() if theirs not in present]
    if absent:
        raise ConfigError(f"column_names: no file has the column of {', '.join(absent)}; correct or remove it")


def _check_contributes(paths: Sequence[Path], sources: Sequence[Source], what: str) -> None:
    files = [source.file.path.resolve() for source in sources]
    for path in paths:
        given = path.resolve()
        if not any(given == file or given in file.parents for file in files):
            raise SourceError(f"{path}: passed as {what}, but nothing in it was recognised as such")
