"""Write a table as a folder of parts, and put finished folders in place of older ones."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl

from reviewllm.table_files import write_table
from reviewllm.tables import Table


class Parts:
    """A folder of `part-00000.parquet`, `part-00001.parquet` and so on, of one table."""

    def __init__(self, folder: Path, table: Table, *, rows_per_part: int) -> None:
        self._folder = folder
        self._table = table
        self._rows_per_part = rows_per_part
        self._held: list[pl.DataFrame] = []
        self._written = 0

    def write(self, rows: pl.DataFrame) -> None:
        """Write `rows` as one part; columns that the table lacks are dropped."""
        names = [column.name for column in self._table.columns]
        path = self._folder / f"part-{self._written:05d}.parquet"
        # One chunk, since the layout of the file follows the chunks, and equal rows must make equal bytes.
        write_table(rows.select(names).rechunk().to_arrow(), path, self._table)
        self._written += 1

    def add(self, rows: pl.DataFrame) -> None:
        """Hold `rows` until enough for a part are there."""
        if rows.is_empty():
            return
        self._held.append(rows)
        if sum(frame.height for frame in self._held) >= self._rows_per_part:
            self._flush()

    def close(self) -> None:
        """Write what is held; a table without any row gets one empty part, so that it can be read."""
        self._flush()
        if not self._written:
            self.write(pl.DataFrame(self._table.schema.empty_table()))

    def _flush(self) -> None:
        if self._held:
            self.write(pl.concat(self._held))
            self._held.clear()


def replace_folder(finished: Path, target: Path) -> None:
    """Put the folder `finished` at `target` by renaming; what stood there is left beside `finished`, as '<name>.old'."""
    if target.exists():
        os.rename(target, finished.with_name(f"{finished.name}.old"))
    os.rename(finished, target)
