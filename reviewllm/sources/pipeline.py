"""Read all sources of one table, set bad rows aside, keep one row of each thing, and write the parts, one bucket in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from reviewllm.sources.counts import Tally
from reviewllm.sources.formats import ID_FIELDS, TABLE_OF_INTERACTIONS
from reviewllm.sources.identity import one_row_each
from reviewllm.sources.interactions import PURCHASE_ID_CONFLICT, parse_interactions
from reviewllm.sources.items import parse_items
from reviewllm.sources.parts import Parts
from reviewllm.sources.plan import Source
from reviewllm.spill import Spill
from reviewllm.tables import INTERACTIONS, ITEMS, NO_CATEGORY, Table

# Each bucket is a file on the way; 4,096 parts of the default size are two billion rows.
_MAX_BUCKETS = 4_096
# Rows held before they are appended to the buckets' files; five times as many cost 270 MiB more and saved no
# time (a million reviews of 500 bytes).
_ROWS_HELD = 100_000
# '146.0' and '1.2e+17', as whole numbers look that were made floating-point ones; no hexadecimal id looks so.
_LIKE_A_FLOAT = r"^-?[0-9]+\.0+$|^-?[0-9]\.[0-9]+[eE]\+?[0-9]+$"

Parse = Callable[[Source, pl.DataFrame], tuple[pl.DataFrame, pl.DataFrame]]


@dataclass(frozen=True)
class Pipeline:
    """Where rows go: tables and spilled buckets below `folder`, bad rows to `rejected`.

    `on_chunk` is told (source, bytes read of its file) after every chunk.
    """

    folder: Path
    rejected: Parts
    rows_per_part: int
    chunk_bytes: int
    on_chunk: Callable[[Source, int], None]

    def write_interactions(self, sources: Sequence[Source]) -> Tally:
        """Write the interactions, sorted by user, time, and place in the source; a user's rows lie in one part.

        Rows of the same purchase meet first, and `one_row_each` says which of them stays.
        """
        has_ids = any(source.format.name == TABLE_OF_INTERACTIONS for source in sources)
        tally = Tally()
        # Without ids of the source a purchase has one user, and one grouping serves both ends.
        spill = self._spill(sources, key="purchase_id" if has_ids else "user_id")
        self._read(
            sources,
            lambda source, raw: parse_interactions(raw, tally.noted, file_category=source.category),
            spill,
            tally,
        )
        buckets: Iterable[pl.DataFrame] = (self._resolve(rows, sources, tally) for rows in spill.drain())
        if has_ids:
            buckets = _regroup(buckets, self._spill(sources, key="user_id"))
        parts = Parts(self.folder / INTERACTIONS.name, INTERACTIONS, rows_per_part=self.rows_per_part)
        for rows in buckets:
            parts.write(rows.sort("user_id", "purchased_at", "file", "line"))
            tally.written += rows.height
            _count_filled(rows, INTERACTIONS, tally)
        parts.close()
        return tally

    def write_items(self, sources: Sequence[Source]) -> Tally:
        """Write the items, sorted by item_id within a part; of a repeated item the first with a title stays."""
        tally = Tally()
        spill = self._spill(sources, key="item_id")
        self._read(sources, lambda _, raw: parse_items(raw, tally.noted), spill, tally)
        parts = Parts(self.folder / ITEMS.name, ITEMS, rows_per_part=self.rows_per_part)
        for rows in spill.drain():
            titled_first = rows.sort(pl.col("title").is_null(), maintain_order=True)
            kept = titled_first.unique("item_id", keep="first", maintain_order=True).sort("item_id")
            parts.write(kept)
            tally.written += kept.height
            _count_filled(kept, ITEMS, tally)
            tally.duplicates += rows.height - kept.height
        parts.close()
        return tally

    def _spill(self, sources: Sequence[Source], *, key: str) -> Spill:
        rows = sum(source.estimated_rows for source in sources)
        buckets = min(1 + rows // self.rows_per_part, _MAX_BUCKETS)
        return Spill(self.folder / f"by_{key}", key=key, buckets=buckets, rows_in_memory=_ROWS_HELD)

    def _read(self, sources: Sequence[Source], parse: Parse, spill: Spill, tally: Tally) -> None:
        for number, source in enumerate(sources):
            for chunk in source.read(chunk_bytes=self.chunk_bytes):
                good, bad = parse(source, chunk.rows)
                _note_float_ids(good, tally)
                spill.add(good.with_columns(pl.lit(number, pl.Int32).alias("file")))
                self._reject(source, pl.concat([chunk.bad, bad]).sort("line"), tally)
                tally.rows_in += chunk.rows.height + chunk.bad.height
                self.on_chunk(source, chunk.bytes_done)

    def _resolve(self, rows: pl.DataFrame, sources: Sequence[Source], tally: Tally) -> pl.DataFrame:
        """Keep one row of each purchase (rows are in the order of the files and their lines)."""
        kept, conflicts, changed = one_row_each(rows)
        reasons = conflicts.select("file", "line", pl.lit(PURCHASE_ID_CONFLICT).alias("reason"))
        for bad in reasons.partition_by("file", maintain_order=True):
            self._reject(sources[bad["file"][0]], bad.select("line", "reason"), tally)
        tally.changed += changed
        tally.duplicates += rows.height - kept.height - conflicts.height - changed
        return kept

    def _reject(self, source: Source, bad: pl.DataFrame, tally: Tally) -> None:
        """Set rows (`line`, `reason`) aside."""
        if bad.is_empty():
            return
        self.rejected.add(bad.select(pl.lit(source.file.name).alias("file"), "line", "reason"))
        tally.reasons.update(bad["reason"].to_list())
        tally.first_rejected = tally.first_rejected or f"{source.file.name}:{bad['line'][0]}"


def _note_float_ids(rows: pl.DataFrame, tally: Tally) -> None:
    for name in (name for name in ID_FIELDS if name in rows.columns):
        found = int(rows[name].str.contains(_LIKE_A_FLOAT).sum())
        tally.noted[f"values of {name} look like numbers with a decimal point, as '146.0'; such ids join with no '146'"] += (
            found
        )


def _count_filled(rows: pl.DataFrame, table: Table, tally: Tally) -> None:
    """Count the values of the columns that may be empty; a category that stands for none is no value."""
    filled = {column.name: rows[column.name].count() for column in table.columns if column.nullable}
    if table is INTERACTIONS:
        filled["category"] = int((rows["category"] != NO_CATEGORY).sum())
    tally.filled.update(filled)


def _regroup(frames: Iterable[pl.DataFrame], spill: Spill) -> Iterator[pl.DataFrame]:
    for rows in frames:
        spill.add(rows)
    yield from spill.drain()
