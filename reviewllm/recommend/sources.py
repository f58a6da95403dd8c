"""Where interactions come from: our own table, a file of sequences, or MovieLens' files.

Each reader gives the interactions with `at`, a number that orders a user's, the items as far as their names are known, and the
lines that could not be used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import polars as pl
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from reviewllm.errors import RejectedBudgetError, SourceError
from reviewllm.sources.files import read_lines
from reviewllm.sources.text import clean_names
from reviewllm.table_files import read_table
from reviewllm.tables import INTERACTIONS, ITEMS, REJECTED
from reviewllm.texts import are_blank

_MAX_LINE = 16_000_000  # bytes; a million purchases of one user
_INTERACTION = {"user_id": pl.String, "item_id": pl.String, "at": pl.Int64}
_REJECTED_ROW = {"file": pl.String, "line": pl.Int64, "reason": pl.String}
_ITEM = {"item_id": pl.String, "title": pl.String, "category": pl.String}


class Source(NamedTuple):
    """What was read: user_id, item_id, `at`; rows of the ITEMS table, maybe not of all items; and REJECTED rows."""

    interactions: pl.DataFrame
    items: pl.DataFrame
    rejected: pl.DataFrame


class DataMaps(BaseModel):
    """A JSON file of the ids that stand for numbers in a file of sequences; other keys of it are not read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id2user: Mapping[str, str]
    id2item: Mapping[str, str]


def read_interactions(interactions: Path, items: Path | None) -> Source:
    """Read the tables that jobs/prepare.py writes; of the interactions user, item and time.

    Other tables have these three too, examples among them, but no `purchase_id`.

    Raises:
        SchemaError: a file is missing or does not fit its table.
    """
    table = read_table(interactions, INTERACTIONS.only(["purchase_id", "user_id", "item_id", "purchased_at"]))
    rows = pl.DataFrame(table).with_columns(at=pl.col("purchased_at").dt.epoch("us")).select(*_INTERACTION)
    known = pl.DataFrame(read_table(items, ITEMS)) if items else _no_items()
    return Source(rows, known, _rejected([]))


def read_sequences(file: Path, *, datamaps: Path | None = None, item_names: Path | None = None) -> Source:
    """Read lines of "user item item ...", oldest item first, plain or gzipped.

    Args:
        file: a user has one line; blank lines are not rows.
        datamaps: JSON of `DataMaps`, whose ids take the place of the file's; None where the file has the ids itself.
        item_names: lines of "item name ...", by the ids that come out.

    Raises:
        SourceError: a file cannot be read, or is not of its form.
    """
    maps = _read_datamaps(datamaps) if datamaps else None
    rows: list[tuple[str, list[str]]] = []
    bad: list[tuple[str, int, str]] = []
    known: set[str] = set()
    for number, line in _numbered(file):
        try:
            user, item_ids = _sequence(line, maps)
            if user in known:
                raise ValueError(f"the user {user[:80]!r} has a line already")
        except ValueError as error:
            bad.append((file.name, number, str(error)))
            continue
        known.add(user)
        rows.append((user, item_ids))
    sequences = pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.List(pl.String)}, orient="row")
    placed = sequences.with_columns(at=pl.int_ranges(pl.col("item_id").list.len())).explode("item_id", "at")
    items, bad_names = _read_names(item_names) if item_names else (_no_items(), [])
    return Source(placed, items, _rejected([*bad, *bad_names]))


def read_movielens(folder: Path) -> Source:
    """Read ratings.dat (user::item::rating::seconds) and movies.dat (id::title::genre|genre) of MovieLens 1M or 10M.

    Both are latin-1. An item's category is its first genre.

    Raises:
        SourceError: a file cannot be read.
    """
    ratings = _fields(folder / "ratings.dat", ["user_id", "item_id", "rating", "seconds"]).with_columns(
        pl.col("rating").cast(pl.Float64, strict=False), at=pl.col("seconds").cast(pl.Int64, strict=False)
    )
    movies = _fields(folder / "movies.dat", ["item_id", "title", "genres"])
    no_number = pl.any_horizontal(pl.col("rating", "at").is_null())
    unusable = are_blank(pl.col("user_id")) | are_blank(pl.col("item_id")) | no_number
    nameless = are_blank(pl.col("item_id")) | pl.any_horizontal(pl.col("title", "genres").is_null())
    items = movies.filter(~nameless).unique("item_id", keep="first", maintain_order=True)
    items = items.with_columns(clean_names(items["title"], Counter()), category=pl.col("genres").str.split("|").list.first())
    rejected = [
        rows.filter(is_bad).select(pl.lit(name).alias("file"), "line", pl.lit(f"expected {form}").alias("reason"))
        for rows, is_bad, name, form in (
            (ratings, unusable, "ratings.dat", "user::item::rating::seconds"),
            (movies, nameless, "movies.dat", "id::title::genres"),
        )
    ]
    return Source(
        ratings.filter(~unusable).select(*_INTERACTION),
        _as_items(items.select(*_ITEM)),
        pl.concat([_rejected([]), *rejected]),
    )


def check_rejected(source: Source, max_rejected_fraction: float) -> None:
    """Refuse a source with too many lines that cannot be used, and one that holds nothing.

    Raises:
        RejectedBudgetError: more lines than the budget were rejected.
        SourceError: no interaction was read.
    """
    rejected, users = source.rejected, source.interactions["user_id"].n_unique()
    first = "" if rejected.is_empty() else "; {file}, line {line}: {reason}".format(**rejected.row(0, named=True))
    if not users:
        raise SourceError(f"the source holds no interaction{first}")
    lines = rejected.height + source.interactions.height
    if rejected.height > max_rejected_fraction * lines:
        raise RejectedBudgetError(
            f"{rejected.height} lines cannot be used beside {source.interactions.height} interactions, more than "
            f"--max-rejected-fraction {max_rejected_fraction:g}{first}"
        )


def _numbered(file: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers."""
    if not file.is_file():
        raise SourceError(f"{file}: no such file; check the path")
    for number, line in enumerate(read_lines(file, max_bytes=_MAX_LINE), start=1):
        if line.strip():
            yield number, line


def _sequence(line: bytes, maps: DataMaps | None) -> tuple[str, list[str]]:
    if len(line) > _MAX_LINE:
        raise ValueError(f"the line is longer than {_MAX_LINE} bytes")
    user, *item_ids = _text(line).split()
    if not item_ids:
        raise ValueError("expected a user and items, found one word")
    if maps is None:
        return user, item_ids
    unknown = [*([user] if user not in maps.id2user else []), *(one for one in item_ids if one not in maps.id2item)]
    if unknown:
        raise ValueError(f"the data maps lack {len(unknown)} id(s) of the line, as {unknown[0][:80]!r}")
    return maps.id2user[user], [maps.id2item[one] for one in item_ids]


def _text(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None


def _read_datamaps(file: Path) -> DataMaps:
    text = b"".join(line for _, line in _numbered(file))
    try:
        return TypeAdapter(DataMaps).validate_json(text)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part)[:80] for part in problem["loc"]) or "the whole file"
        raise SourceError(
            f"{file}: expected a JSON object with 'id2user' and 'id2item', ids to ids; {place}: {problem['msg']} "
            f"({error.error_count()} problem(s) in all)"
        ) from error


def _read_names(file: Path) -> tuple[pl.DataFrame, list[tuple[str, int, str]]]:
    """Items by "item name ..." lines; of an item that is named twice the first name stays."""
    names: dict[str, str | None] = {}
    bad = []
    for number, line in _numbered(file):
        try:
            item_id, _, name = _text(line).strip().partition(" ")
        except ValueError as error:
            bad.append((file.name, number, str(error)))
            continue
        names.setdefault(item_id, name)
    items = pl.DataFrame({"item_id": list(names), "title": list(names.values())}, schema_overrides=_ITEM)
    return _as_items(items.with_columns(clean_names(items["title"], Counter()), category=pl.lit(None, pl.String))), bad


def _fields(file: Path, names: list[str]) -> pl.DataFrame:
    """The '::'-separated fields of a latin-1 file with `line`; all null where a line has more or fewer."""
    lines = [(number, line.decode("latin-1").rstrip("\r\n")) for number, line in _numbered(file)]
    rows = pl.DataFrame(lines, schema={"line": pl.Int64, "text": pl.String}, orient="row")
    parts = rows.select("line", parts=pl.col("text").str.split("::"))
    fits = pl.col("parts").list.len() == len(names)
    return parts.select(
        "line",
        *(pl.when(fits).then(pl.col("parts").list.get(n, null_on_oob=True)).alias(name) for n, name in enumerate(names)),
    )


def _no_items() -> pl.DataFrame:
    return pl.DataFrame(ITEMS.schema.empty_table())


def _as_items(items: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([_no_items(), items], how="diagonal")


def _rejected(rows: list[tuple[str, int, str]]) -> pl.DataFrame:
    assert list(_REJECTED_ROW) == [column.name for column in REJECTED.columns]
    return pl.DataFrame(rows, schema=_REJECTED_ROW, orient="row")
