"""Group rows by a key on disk, so that memory holds one bucket at a time."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa


class Spill:
    """Rows on their way into buckets by one text column, by its hash say: all rows of a key meet in one bucket.

    The bucket of a key is equal on every machine. Rows are held until `rows_in_memory` are there and then appended to
    the buckets' files under `folder`; `drain` reads each bucket and removes its file.
    """

    def __init__(
        self,
        folder: Path,
        *,
        key: str,
        buckets: int,
        rows_in_memory: int,
        bucket_of: Callable[[pl.Series], pl.Series] | None = None,
    ) -> None:
        """Take the key column; `bucket_of` gives the buckets of keys where it is not to be their hash."""
        self._bucket_of = bucket_of or self._by_hash
        self._folder = folder
        self._key = key
        self._buckets = buckets
        self._rows_in_memory = rows_in_memory
        self._held: list[pl.DataFrame] = []
        folder.mkdir(parents=True)

    def add(self, rows: pl.DataFrame) -> None:
        """Take rows; every call must bring the same columns."""
        if rows.is_empty():
            return
        self._held.append(rows)
        if sum(frame.height for frame in self._held) >= self._rows_in_memory:
            self._flush()

    def read(self, bucket: int) -> pl.DataFrame | None:
        """One bucket's rows, in the order in which they came; None where it holds none. Its file stays."""
        self._flush()
        path = self._path(bucket)
        return _read_streams(path) if path.exists() else None

    def drain(self) -> Iterator[pl.DataFrame]:
        """Yield the buckets that hold rows, in order; within one, rows stand in the order in which they came."""
        self._flush()
        for bucket in range(self._buckets):
            path = self._path(bucket)
            if path.exists():
                yield _read_streams(path)
                path.unlink()

    def _flush(self) -> None:
        if not self._held:
            return
        rows = pl.concat(self._held)
        self._held.clear()
        for bucket, part in self._split(rows):
            _append_stream(part.to_arrow(), self._path(bucket))

    def _split(self, rows: pl.DataFrame) -> Iterator[tuple[int, pl.DataFrame]]:
        if self._buckets == 1:
            yield 0, rows
            return
        numbered = rows.with_columns(self._bucket_of(rows[self._key]).cast(pl.Int32).alias("_bucket"))
        for part in numbered.partition_by("_bucket", maintain_order=True):
            yield part["_bucket"][0], part.drop("_bucket")

    def _by_hash(self, keys: pl.Series) -> pl.Series:
        # crc32, since polars' own hash differs from version to version.
        return pl.Series([zlib.crc32(key.encode()) % self._buckets for key in keys.to_list()], dtype=pl.Int32)

    def _path(self, bucket: int) -> Path:
        return self._folder / f"{bucket:05d}.arrows"


def _append_stream(table: pa.Table, path: Path) -> None:
    """Append a whole Arrow stream; opened for each, as there may be more buckets than a process may hold open files."""
    with (
        open(path, "ab") as file,
        pa.ipc.new_stream(file, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as stream,
    ):
        stream.write_table(table)


def _read_streams(path: Path) -> pl.DataFrame:
    tables = []
    with open(path, "rb") as file:
        while file.tell() < path.stat().st_size:
            with pa.ipc.open_stream(file) as stream:
                tables.append(stream.read_all())
    return pl.DataFrame(pa.concat_tables(tables))
