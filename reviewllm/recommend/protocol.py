"""Purchases -> sequences, by section 3.1 of the paper: implicit feedback, repeats dropped, 5-core, in the order of time.

Whatever stars were given, a purchase or a review is one interaction. The same protocol is that of SASRec (Kang and McAuley 2018)
and BERT4Rec (Sun et al. 2019).
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

MIN_ITEMS = 3  # of a user: one to learn from, the validation item and the test item


class Sequences(NamedTuple):
    """SEQUENCES rows, by user, and what became of the interactions; `rows_in` = interactions + the three others."""

    rows: pl.DataFrame
    items: int
    interactions: int
    rows_in: int
    repeats: int
    below_core: int
    too_short: int

    @property
    def counts(self) -> dict[str, int]:
        """What is told of them."""
        return {"users": self.rows.height, **{name: value for name, value in self._asdict().items() if name != "rows"}}


def make_sequences(interactions: pl.DataFrame, *, core: int) -> Sequences:
    """Make one sequence of every user's interactions, oldest first.

    Reads user_id, item_id and `at` (any order of time). Ties in time are broken by item_id, so the result does not depend on
    the order of the rows; of repeats of a (user, item) the first stays. Then users and items with fewer than `core`
    interactions go, again and again until none is left, and last users with fewer than `MIN_ITEMS`.
    """
    once = interactions.sort("user_id", "at", "item_id").unique(["user_id", "item_id"], keep="first", maintain_order=True)
    dense = keep_core(once, core)
    long_enough = dense.filter(pl.len().over("user_id") >= MIN_ITEMS)
    return Sequences(
        long_enough.group_by("user_id", maintain_order=True).agg(pl.col("item_id").alias("item_ids")),
        long_enough["item_id"].n_unique(),
        long_enough.height,
        interactions.height,
        interactions.height - once.height,
        once.height - dense.height,
        dense.height - long_enough.height,
    )


def keep_core(interactions: pl.DataFrame, core: int) -> pl.DataFrame:
    """Drop users and items with fewer than `core` rows, until all that are left have as many; the order of rows stays.

    >>> rows = pl.DataFrame({"user_id": ["a", "a", "b", "b", "c"], "item_id": ["x", "y", "x", "y", "z"]})
    >>> keep_core(rows, 2)["user_id"].to_list()
    ['a', 'a', 'b', 'b']
    """
    while True:
        enough = (pl.len().over("user_id") >= core) & (pl.len().over("item_id") >= core)
        kept = interactions.filter(enough)
        if kept.height == interactions.height:
            return kept
        interactions = kept
