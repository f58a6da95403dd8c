"""Rankings of items by whoever made them, read and checked: a firm's own candidates, ours, and recommendations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from reviewllm.errors import InputError, SchemaError
from reviewllm.files import read_json
from reviewllm.recommend.split import LEFT_OUT, Target
from reviewllm.recommend.tables import CANDIDATES, RECOMMENDATIONS
from reviewllm.table_files import read_table, table_files
from reviewllm.tables import Table

UNKNOWN_USER = "of users that the sequences lack"
UNKNOWN_ITEM = "of items that nobody bought"
IN_HISTORY = "of items in the user's history"
NO_BASE = "-"  # no language model took part


MANIFEST = "_manifest.json"  # beside recommendations: what was ranked, for which target


class Ranking(NamedTuple):
    """One system's items by user: user_id, item_id and `rank`, from 1 without gaps; and how many rows were dropped, and why."""

    rows: pl.DataFrame
    dropped: Mapping[str, int]
    base: str = NO_BASE
    """The language model that ranks, with its adapter."""


def nothing_ranked() -> Ranking:
    """The ranking of a system without a row."""
    return Ranking(pl.DataFrame(schema={"user_id": pl.String, "item_id": pl.String, "rank": pl.Int64}), {})


def read_candidates(source: Path, sequences: pl.DataFrame, target: Target) -> dict[str, Ranking]:
    """Read CANDIDATES, one ranking for each retriever in them; `rows` has `score` too.

    Rows of users or items that the sequences lack, and of items that stand in the history, are dropped and counted; the
    ranks of what is left are closed up.

    Raises:
        SchemaError: there is no file, or one does not fit the table.
        InputError: a score is not a number, a rank is below 1, or a user has a rank or an item twice.
    """
    rows = pl.DataFrame(read_table(source, CANDIDATES))
    parts = rows.partition_by("retriever", as_dict=True, include_key=False, maintain_order=True)
    return {str(name): check_ranking(part, sequences, target, where=source) for (name,), part in parts.items()}


def read_recommendations(source: Path, sequences: pl.DataFrame, target: Target) -> dict[str, Ranking]:
    """Read RECOMMENDATIONS as `read_candidates` does, one ranking for each base, adapter, retriever and method in them.

    Raises:
        SchemaError, InputError: as `read_candidates`.
    """
    who = ["model", "adapter", "retriever", "method"]
    rows = pl.DataFrame(read_table(source, RECOMMENDATIONS.only(["user_id", "item_id", "rank", *who])))
    found: dict[str, Ranking] = {}
    for (model, adapter, retriever, method), part in rows.partition_by(
        who, as_dict=True, include_key=False, maintain_order=True
    ).items():
        base = _base(str(model), None if adapter is None else str(adapter))
        checked = check_ranking(part, sequences, target, where=source)
        found[f"{base} on {retriever} ({method})"] = checked._replace(base=base)
    return found


def refuse_several(source: Path, target: Target) -> None:
    """Refuse a folder that holds tables of several rankings or of another target: they would be read as one.

    Raises:
        InputError: names the folders in it, or the target that it was written for.
    """
    if not source.is_dir():
        return
    inside = [path.relative_to(source) for path in sorted(source.rglob(MANIFEST))]
    runs = [path.parent for path in inside if not any(part.startswith(".") for part in path.parts)]
    if runs == [Path()]:
        told = read_json(source / MANIFEST, TypeAdapter(dict[str, object])).get("target")
        if told != target:
            raise InputError(f"{source}: was ranked for --target {told}, not for {target}; name the one of this target")
    elif runs:
        raise InputError(f"{source}: holds {len(runs)} folders of recommendations; name one, as {source / runs[0]}")
    targets = {part for file in source.rglob("*.parquet") for part in file.relative_to(source).parts[:-1]} & {*LEFT_OUT}
    if targets:
        raise InputError(f"{source}: holds tables of --target {' and '.join(sorted(targets))}; name {source / target}")


def is_recommendations(source: Path) -> bool:
    """Whether a file or folder holds RECOMMENDATIONS; else it is to hold CANDIDATES.

    Raises:
        SchemaError: no Parquet file is there, or the first is none.
    """
    kind: Table = RECOMMENDATIONS
    first = table_files(source, kind)[0]
    try:
        names = pq.ParquetFile(first).schema_arrow.names
    except (pa.ArrowInvalid, OSError) as error:
        raise SchemaError(f"{first}: not a readable Parquet file ({error}); make it anew or remove it") from error
    return "method" in names and "score" not in names  # a firm's candidates may have columns of their own


def check_ranking(rows: pl.DataFrame, sequences: pl.DataFrame, target: Target, *, where: Path) -> Ranking:
    """Check one system's rows, drop what cannot be recommended, and close up the ranks.

    Raises:
        InputError: a rank is below 1, or a user has a rank or an item twice.
    """
    check_ranks(rows, where=where)
    left_out = LEFT_OUT[target]
    history = pl.col("item_ids").list.head((pl.col("item_ids").list.len().cast(pl.Int64) - left_out).clip(0))
    seen = sequences.select("user_id", history.alias("item_id")).explode("item_id", empty_as_null=False)
    bought = sequences.select(pl.col("item_ids").explode(empty_as_null=False).unique().alias("item_id"))
    known = rows.join(sequences, on="user_id", how="semi")
    sold = known.join(bought, on="item_id", how="semi")
    new = sold.join(seen, on=["user_id", "item_id"], how="anti")
    dropped = {
        UNKNOWN_USER: rows.height - known.height,
        UNKNOWN_ITEM: known.height - sold.height,
        IN_HISTORY: sold.height - new.height,
    }
    closed = new.sort("user_id", "rank").with_columns(rank=pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("user_id"))
    return Ranking(closed, {why: count for why, count in dropped.items() if count})


def check_ranks(rows: pl.DataFrame, *, where: Path) -> None:
    """Check the ranks, and where there are any the scores, of one system's rows, whole users at a time.

    Raises:
        InputError: a score is not a number, a rank is below 1, or a user has a rank or an item twice.
    """
    if "score" in rows.columns:
        _refuse(rows.filter(pl.col("score").is_nan()), where, "score", "is not a number; leave it null where there is none")
    _refuse(rows.filter(pl.col("rank") < 1), where, "rank", "is below 1; the best has rank 1")
    for name in ("rank", "item_id"):
        twice = rows.filter(pl.struct("user_id", name).is_duplicated())
        _refuse(twice, where, name, "stands there twice for this user; each may stand there once")


def _refuse(bad: pl.DataFrame, where: Path, column: str, why: str) -> None:
    if bad.height:
        user, value = bad.select("user_id", column).row(0)
        shown = repr(value[:80] if isinstance(value, str) else value)
        raise InputError(f"{where}: {bad.height} row(s): {column} {shown} of user {user[:80]!r} {why}")


def _base(model: str, adapter: str | None) -> str:
    """A name that people can read.

    >>> _base("org/tiny", "out/run/adapter")
    'tiny + adapter'
    """
    return " + ".join(Path(part).name or part for part in (model, adapter) if part)
