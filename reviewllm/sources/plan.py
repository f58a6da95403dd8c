"""Which file is read as what: every file is opened and recognised before the first row is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from reviewllm.errors import ConfigError, SourceError
from reviewllm.sources import json_lines, parquet
from reviewllm.sources.files import DataFile, find_files
from reviewllm.sources.formats import ID_FIELDS, Format, Kind, known_formats, recognise
from reviewllm.sources.json_lines import RawRows
from reviewllm.sources.layouts import HEAD_BYTES, refuse_other_format
from reviewllm.tables import NO_CATEGORY

# For the number of buckets alone, so rough is enough: a short review's line, and what gzip makes of JSON. Real lines
# are 2 to 4 times longer, so the buckets come out smaller than asked for, never much larger.
_LINE_BYTES = 250
_GZIP_RATIO = 4
_MOST_NAMED = 5


@dataclass(frozen=True)
class Source:
    """A raw file, its format, and the fields of its rows (of JSON, those at its head)."""

    file: DataFile
    format: Format
    present: frozenset[str]
    estimated_rows: int

    @property
    def category(self) -> str:
        """Of the rows that have none themselves."""
        return (self.format.names_say_category and self.file.category) or NO_CATEGORY

    @property
    def ids(self) -> frozenset[str]:
        """The file's names of its columns of ids."""
        return frozenset(theirs for ours, theirs in self.format.fields.items() if ours in ID_FIELDS)

    def read(self, *, chunk_bytes: int) -> Iterator[RawRows]:
        """Read the file chunk by chunk, with its values as text under our column names, and `line`.

        Raises:
            SourceError: the file is truncated or corrupt.
        """
        theirs = list(dict.fromkeys(self.format.fields.values()))
        columns = [pl.col(name).alias(ours) for ours, name in self.format.fields.items()]
        if self.file.is_parquet:
            chunks = parquet.read_rows(self.file, theirs, ids=self.ids)
        else:
            chunks = json_lines.read_rows(self.file, theirs, chunk_bytes=chunk_bytes)
        for chunk in chunks:
            yield chunk._replace(rows=chunk.rows.select(*columns, "line"))


@dataclass(frozen=True)
class Plan:
    """The files to read, in order, and what is to be said of them and of those that are not read."""

    interactions: list[Source]
    items: list[Source]
    notes: list[str]

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
        SourceError: a path holds nothing of what it was passed for, or a file cannot be read or recognised, or the layout
            of a folder or a column of a file means what reading it would not give.
        ConfigError: `column_names` maps a column that is not ours, or to one that no file has.
    """
    formats = known_formats(column_names)
    columns = frozenset().union(*(set(one.fields) | set(one.fields.values()) for one in formats))
    known: dict[Path, Source] = {}
    others: dict[str, None] = {}

    def sources(paths: Sequence[Path]) -> list[Source]:
        found = find_files(paths, columns=columns, except_below=except_below)
        others.update(dict.fromkeys(found.others))
        for file in found.data:
            if file.path not in known:
                known[file.path] = _recognise(file, formats)
        return [known[file.path] for file in found.data]

    among_reviews = sources(reviews)
    among_items = sources(items) if items else among_reviews
    _check_column_names(column_names, frozenset().union(*(source.present for source in known.values())))
    of_interactions, of_items = _of_kind(among_reviews, "interactions"), _of_kind(among_items, "items")
    _check_contributes(reviews, of_interactions if items else among_reviews, "reviews")
    _check_contributes(items, of_items, "items")
    if not of_interactions:
        raise SourceError(f"{', '.join(map(str, reviews)) or 'reviews'}: no file of reviews or purchases is there")
    read = [*of_interactions, *of_items]
    paths = {source.file.path.resolve() for source in read}
    unread = sorted({source.file.name for source in known.values() if source.file.path.resolve() not in paths})
    floats = [f"{source.file.name}: {', '.join(names)}" for source in read if (names := _check_columns(source))]
    notes = [
        *_name_some("not read", [*others, *unread]),
        *_name_some("ids that are floating-point numbers (146.0 is read as 146)", floats),
        *_without_review(of_interactions),
    ]
    return Plan(of_interactions, of_items, notes)


def _recognise(file: DataFile, formats: Sequence[Format]) -> Source:
    if file.is_parquet:
        present, rows = parquet.sniff_fields(file), parquet.count_rows(file)
    else:
        refuse_other_format(file.path, file.read_head(HEAD_BYTES))
        present, rows = json_lines.sniff_fields(file), _estimate_rows(file)
    return Source(file, recognise(file, present, formats), present, rows)


def _check_columns(source: Source) -> list[str]:
    """Refuse columns that cannot be read as they are meant; return those of ids that are floating-point numbers."""
    if not source.file.is_parquet:
        return []
    return parquet.check_columns(source.file, list(dict.fromkeys(source.format.fields.values())), ids=source.ids)


def _without_review(sources: Sequence[Source]) -> list[str]:
    """Name the tables without the column of reviews, and their columns that are not read: it may be among them."""
    bare = [source for source in sources if source.file.is_parquet and source.format.fields["review"] not in source.present]
    if not bare:
        return []
    unread = sorted(frozenset().union(*(source.present - set(source.format.fields.values()) for source in bare)))
    return _name_some(
        f"without the column '{bare[0].format.fields['review']}'; not read of them: {', '.join(unread) or 'nothing'}; files",
        [source.file.name for source in bare],
    )


def _name_some(what: str, names: Sequence[str]) -> list[str]:
    """One line that names the first of what there is; none where there is none."""
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return [f"{what}: {', '.join(names[:_MOST_NAMED])}{more}"] if names else []


def _estimate_rows(file: DataFile) -> int:
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
