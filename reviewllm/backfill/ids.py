"""Ids of purchases, by the million: joined bucket by bucket, so that memory never holds all of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl

from reviewllm.spill import Spill

_IDS_IN_BUCKET = 1_000_000
_ROWS_IN_MEMORY = 500_000


def buckets_for(rows: int) -> int:
    """Into how many buckets so many ids are parted."""
    return 1 + rows // _IDS_IN_BUCKET


class IdSets:
    """Named sets of rows with example_id, on disk in buckets; the same bucket of two sets holds the same ids.

    By the id and not by the user, so that an id that stands with two users is seen.
    """

    def __init__(self, folder: Path, *, buckets: int) -> None:
        self._folder = folder
        self.buckets = buckets
        self._sets: dict[str, Spill] = {}

    def add(self, name: str, rows: pl.DataFrame) -> None:
        """Add rows to a set; each call for a set must bring the same columns, `example_id` among them."""
        if name not in self._sets:
            self._sets[name] = Spill(
                self._folder / name, key="example_id", buckets=self.buckets, rows_in_memory=_ROWS_IN_MEMORY
            )
        self._sets[name].add(rows)

    def bucket(self, name: str, number: int) -> pl.DataFrame | None:
        """A bucket of a set; None where it is empty."""
        return self._sets[name].read(number) if name in self._sets else None

    def ids(self, name: str, number: int) -> pl.DataFrame:
        """The example_ids of a bucket of a set."""
        rows = self.bucket(name, number)
        return pl.DataFrame(schema={"example_id": pl.String}) if rows is None else rows.select("example_id")

    def digest(self, name: str, *, buckets: int) -> str:
        """sha256 over a set's ids, whatever order they came in; depends on `buckets`, of which the set's are a multiple."""
        whole = hashlib.sha256()
        for first in range(buckets):  # crc32 modulo a multiple is, modulo the number itself, what it would be
            ids = pl.concat([self.ids(name, number) for number in range(first, self.buckets, buckets)])["example_id"]
            whole.update(hashlib.sha256("\n".join(ids.sort().to_list()).encode()).digest())
        return whole.hexdigest()


def differences(one: pl.DataFrame, other: pl.DataFrame) -> int:
    """How many ids of one are not in the other."""
    return one.join(other, on="example_id", how="anti").height


def repeated(ids: pl.DataFrame) -> int:
    """How many ids stand there a second time."""
    return ids.height - ids["example_id"].n_unique()
