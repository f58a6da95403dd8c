"""Retrievers -> candidates: the best items of every user, with how often the item to be found is among them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from reviewllm.recommend.histories import NO_TARGET, Histories, Ints, make_histories
from reviewllm.recommend.metrics import hit_ratio
from reviewllm.recommend.ranks import Floats, Ranked, Retriever, rank_all
from reviewllm.recommend.split import Target
from reviewllm.recommend.tables import CANDIDATES

BOUND_AT = 50  # candidates that the paper's ranker is given


class Popular:
    """The same score for everyone: how often an item was bought."""

    name = "popular"
    needs_history = False

    def __init__(self, histories: Histories, item_ids: Sequence[str]) -> None:
        """Count the items of the histories that may be learned from."""
        self.item_ids = item_ids
        self._counts = np.bincount(histories.items, minlength=len(item_ids)).astype(np.float32)

    def score(self, histories: Histories, users: Ints) -> Floats:
        """The counts, for each user."""
        return np.tile(self._counts, (len(users), 1))


class Retrieved(NamedTuple):
    """How many users got candidates, and how often the target was among the first; None where nothing is held out."""

    users: int
    rows: int
    without: int
    """Users without any candidate: those of whose history the retriever knows no item."""
    asked: int
    """Users of whom an item is held out."""
    hit_ratio: float | None
    """HR@50 over them, as `evaluate` finds it in the table; it bounds every ranking of 50 candidates."""


def retrieve(
    retriever: Retriever,
    sequences: pl.DataFrame,
    file: Path,
    *,
    target: Target,
    k: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> Retrieved:
    """Write the best `k` items of every user to `file`, as CANDIDATES, some users at a time.

    Reads user_id and item_ids. None of a user's history is among the candidates. The file appears whole or not at all.
    """
    histories = make_histories(sequences, retriever.item_ids, target)
    names = _Names(pa.array(histories.user_ids, pa.string()), pa.array(retriever.item_ids, pa.string()), retriever.name)
    ranks = np.zeros(len(histories.targets), dtype=np.int64)
    users = rows = done = 0
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with pq.ParquetWriter(aside, CANDIDATES.schema, compression="zstd") as writer:
            for found in rank_all(retriever, histories, k=k):
                table = _candidates(found, names)
                writer.write_table(table)
                ranks[found.users] = found.ranks
                users, rows, done = (
                    users + int((found.items >= 0).any(axis=1).sum()),
                    rows + len(table),
                    done + len(found.users),
                )
                if on_progress:
                    on_progress(done, len(ranks))
        os.replace(aside, file)
    finally:
        aside.unlink(missing_ok=True)
    asked = histories.targets != NO_TARGET
    bound = float(hit_ratio(ranks[asked], min(k, BOUND_AT)).mean()) if asked.any() else None
    return Retrieved(users, rows, len(ranks) - users, int(asked.sum()), bound)


class _Names(NamedTuple):
    """What numbers stand for."""

    user_ids: pa.Array
    item_ids: pa.Array
    retriever: str


def _candidates(found: Ranked, names: _Names) -> pa.Table:
    there = found.items >= 0
    owners, nth = np.nonzero(there)
    columns = {
        "user_id": names.user_ids.take(pa.array(found.users[owners])),
        "item_id": names.item_ids.take(pa.array(found.items[there])),
        "rank": pa.array(nth + 1, pa.int32()),
        "score": pa.array(found.scores[there].astype(np.float64)),
        "retriever": pa.array([names.retriever] * len(nth), pa.string()),
    }
    return pa.table(columns, schema=CANDIDATES.schema)
