"""A small catalogue and sequences that several tests of recommendation use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa

from reviewllm.recommend.tables import CANDIDATES, SEQUENCES
from reviewllm.table_files import write_table
from reviewllm.tables import ITEMS

TITLES = {
    "i0": "Steel rake",
    "i1": "Garden hose",
    "i2": "Hose reel",
    "i3": "Steel shovel",
    "i4": "Desk lamp",
    "i5": "Gel pens",
    "i6": "Paper tray",
    "i7": "Steel stapler",
    "i8": None,
    "i9": "Gel pens",
}
CATEGORIES = {item: "Garden" if number < 4 else "Desk" for number, item in enumerate(TITLES)}


def items_table(titles: Mapping[str, str | None] = TITLES) -> pa.Table:
    rows = [
        {
            "item_id": item,
            "title": title,
            "brand": None,
            "category": CATEGORIES.get(item),
            "price": None,
            "attributes": None,
        }
        for item, title in titles.items()
    ]
    return pa.Table.from_pylist(rows, schema=ITEMS.schema)


def sequences_table(sequences: Mapping[str, Sequence[str]]) -> pa.Table:
    rows = [{"user_id": user, "item_ids": list(items)} for user, items in sequences.items()]
    return pa.Table.from_pylist(rows, schema=SEQUENCES.schema)


def candidates_table(candidates: Mapping[str, Sequence[str]], *, retriever: str = "own") -> pa.Table:
    rows = [
        {"user_id": user, "item_id": item, "rank": rank, "score": -float(rank), "retriever": retriever}
        for user, items in candidates.items()
        for rank, item in enumerate(items, start=1)
    ]
    return pa.Table.from_pylist(rows, schema=CANDIDATES.schema)


def write_run(
    out: Path,
    sequences: Mapping[str, Sequence[str]],
    candidates: Mapping[str, Sequence[str]],
    *,
    titles: Mapping[str, str | None] = TITLES,
) -> Path:
    """A run's folder as `prepare` and `retrieve` leave it, with candidates for test of a retriever `own`."""
    write_table(items_table(titles), out / "items" / "items.parquet", ITEMS)
    write_table(sequences_table(sequences), out / "sequences" / "sequences.parquet", SEQUENCES)
    write_table(candidates_table(candidates), out / "candidates" / "test" / "own.parquet", CANDIDATES)
    return out


def frame(sequences: Mapping[str, Sequence[str]]) -> pl.DataFrame:
    return pl.DataFrame(sequences_table(sequences))
