"""A source -> the folders `sequences/` and `items/` of a run."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from reviewllm.errors import InputError
from reviewllm.recommend.protocol import Sequences, make_sequences
from reviewllm.recommend.sources import Source, check_rejected
from reviewllm.recommend.tables import SEQUENCES
from reviewllm.table_files import read_table, write_table
from reviewllm.tables import ITEMS, REJECTED, Table


def write_sequences(source: Source, out: Path, *, core: int, max_rejected_fraction: float, keep_items: bool) -> Sequences:
    """Write `out/sequences`, `out/items` (of the items in them, null for what is not known) and `out/rejected`.

    Args:
        keep_items: leave `out/items` as it is, since the source read it there.

    Raises:
        RejectedBudgetError: too many lines cannot be used; only `out/rejected` was written.
        InputError: the protocol leaves no user, or `out` has items or sequences that somebody else wrote.
    """
    for folder in ("sequences",) if keep_items else ("sequences", "items"):
        _refuse_others(out / folder)
    _write(source.rejected, out / "rejected" / "sequences.parquet", REJECTED)
    check_rejected(source, max_rejected_fraction)
    made = make_sequences(source.interactions, core=core)
    if made.rows.is_empty():
        raise InputError(
            f"of {made.rows_in} interactions no user is left: {made.repeats} repeats, {made.below_core} of users or items "
            f"with fewer than {core}, {made.too_short} of users with fewer than 3 items; lower --core, or give more data"
        )
    if not keep_items:
        bought = made.rows.select(pl.col("item_ids").explode().unique().sort().alias("item_id"))
        known = source.items.unique("item_id", keep="first", maintain_order=True)
        _write(bought.join(known, on="item_id", how="left"), out / "items" / "items.parquet", ITEMS)
    _write(made.rows, out / "sequences" / "sequences.parquet", SEQUENCES)
    return made


def read_all_sequences(out: Path) -> pl.DataFrame:
    """Read `out/sequences`.

    Raises:
        InputError: it is not there or empty, or has a user twice, or an item twice for a user, or none where one belongs.
        SchemaError: it does not fit.
    """
    folder = out / "sequences"
    if not folder.exists():
        raise InputError(f"{folder}: is not there; run `jobs/recommend.py prepare --out {out}` first")
    rows = pl.DataFrame(read_table(folder, SEQUENCES))
    if rows.is_empty():
        raise InputError(f"{folder}: holds no user; make it anew with `jobs/recommend.py prepare`")
    nulls = rows.filter(pl.col("item_ids").list.eval(pl.element().is_null()).list.any())
    if nulls.height:
        raise InputError(
            f"{folder}: {nulls.height} user(s), as {nulls['user_id'][0][:80]!r}, have a null among the items; expected an id: make "
            "it anew with `jobs/recommend.py prepare`"
        )
    if rows["user_id"].n_unique() != rows.height:
        raise InputError(f"{folder}: a user stands there in two rows; make it anew with `jobs/recommend.py prepare`")
    repeated = rows.filter(pl.col("item_ids").list.n_unique() < pl.col("item_ids").list.len())
    if repeated.height:
        raise InputError(
            f"{folder}: {repeated.height} user(s), as {repeated['user_id'][0][:80]!r}, have an item twice; each may stand once, "
            "where it was bought first: make it anew with `jobs/recommend.py prepare`"
        )
    return rows


def _refuse_others(folder: Path) -> None:
    """Refuse a folder with files that `write_sequences` would stand beside: every row of it would count twice."""
    others = sorted(path for path in folder.rglob("*.parquet") if path != folder / f"{folder.name}.parquet")
    if others:
        own = f", or pass --items {folder} to keep them" if folder.name == "items" else ""
        raise InputError(f"{folder}: has {others[0].name}, which another job wrote; name another --out{own}")


def _write(rows: pl.DataFrame, file: Path, kind: Table) -> None:
    names = [column.name for column in kind.columns]
    write_table(rows.select(names).rechunk().to_arrow(), file, kind)
