"""Sequences as arrays: what each user's history is, in numbers of the catalogue's items, and which item is to be found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from reviewllm.recommend.split import LEFT_OUT, Target

NO_TARGET = -1  # nothing is held out
UNKNOWN = -2  # what is held out is not in the catalogue: a miss, whatever is retrieved

Ints = NDArray[np.int64]


class Histories(NamedTuple):
    """The histories of users, one after the other: user u's items are ``items[starts[u]:starts[u + 1]]``, oldest first.

    `items` are places in the catalogue; items that it lacks are left out. `targets` has one for each user, a place in the
    catalogue, `NO_TARGET` or `UNKNOWN`.
    """

    user_ids: Sequence[str]
    starts: Ints
    items: Ints
    targets: Ints

    @property
    def lengths(self) -> Ints:
        """Items of each history."""
        lengths: Ints = np.diff(self.starts)
        return lengths

    def lengths_of(self, users: Ints) -> Ints:
        """Items of the histories of some users."""
        lengths: Ints = self.starts[users + 1] - self.starts[users]
        return lengths

    def seen(self, users: Ints) -> tuple[Ints, Ints]:
        """Every (user, item) of the histories of some users, as two arrays; a user is its place among `users`."""
        lengths = self.lengths_of(users)
        owners = np.repeat(np.arange(len(users)), lengths)
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return owners, self.items[self.starts[users][owners] + within]

    def last(self, users: Ints, most: int) -> tuple[Ints, Ints]:
        """The last `most` items of some users, as rows padded with item 0 at their end, and how many each row has."""
        lengths = np.minimum(self.lengths_of(users), most)
        rows = np.zeros((len(users), max(1, lengths.max(initial=1))), dtype=np.int64)
        inside = np.arange(rows.shape[1]) < lengths[:, None]
        within = np.nonzero(inside)[1]
        rows[inside] = self.items[np.repeat(self.starts[users + 1] - lengths, lengths) + within]
        return rows, lengths


def catalogue(sequences: pl.DataFrame) -> list[str]:
    """Every item of the sequences, sorted."""
    items: list[str] = sequences["item_ids"].explode().unique().drop_nulls().sort().to_list()
    return items


def make_histories(sequences: pl.DataFrame, item_ids: Sequence[str], target: Target) -> Histories:
    """Split every sequence as `split.held_out` does, with items as places in `item_ids`.

    Reads user_id and item_ids.
    """
    lengths = sequences["item_ids"].list.len().to_numpy().astype(np.int64)
    codes = _codes(sequences["item_ids"].explode(empty_as_null=False), item_ids)
    ends = np.cumsum(lengths)
    left_out = LEFT_OUT[target]
    history_lengths = np.maximum(lengths - left_out, 0)
    users = np.repeat(np.arange(len(lengths)), lengths)
    within = np.arange(len(codes)) - np.repeat(ends - lengths, lengths)
    kept = (within < history_lengths[users]) & (codes >= 0)
    targets = np.full(len(lengths), NO_TARGET)
    has_target = (lengths > left_out) & (left_out > 0)
    targets[has_target] = codes[ends[has_target] - left_out]
    starts = np.concatenate([[0], np.cumsum(np.bincount(users[kept], minlength=len(lengths)))])
    return Histories(sequences["user_id"].to_list(), starts, codes[kept], targets)


def _codes(items: pl.Series, item_ids: Sequence[str]) -> Any:
    """Places in `item_ids`, `UNKNOWN` for what it lacks."""
    places = items.cast(pl.Enum(item_ids), strict=False).to_physical().cast(pl.Int64)
    return places.fill_null(UNKNOWN).to_numpy()
