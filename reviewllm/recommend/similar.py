"""The retriever of PALR's profiles: the items whose names are nearest to a user's keywords, by sentence embeddings."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from reviewllm.recommend.names import Names
from reviewllm.recommend.profiles import Profiles
from reviewllm.recommend.split import Target, held_out
from reviewllm.recommend.tables import CANDIDATES
from reviewllm.scoring.sbert import embed

RETRIEVER = "profile"
_USERS_AT_ONCE = 512  # 512 users by a million items of float32: 2 GB

Floats = NDArray[np.float32]


def profile_candidates(sequences: pl.DataFrame, profiles: Profiles, names: Names, *, target: Target, k: int) -> pa.Table:
    """CANDIDATES of every user that has keywords: the `k` nearest items by cosine, none of the user's history.

    Equal keywords and names are embedded once. Equal items stand in the order of the names. In memory are the embeddings of all
    names (384 numbers each), and the candidates.

    Args:
        sequences: SEQUENCES.
        profiles: those of the same target, so that no keyword knows what is held out.
        names: of all items.
    """
    parts = [*profile_candidates_by_block(sequences, profiles, names, target=target, k=k)]
    return pa.concat_tables([CANDIDATES.schema.empty_table(), *parts])


def profile_candidates_by_block(
    sequences: pl.DataFrame, profiles: Profiles, names: Names, *, target: Target, k: int
) -> Iterator[pa.Table]:
    """As `profile_candidates`, some hundred users at a time."""
    items = list(names.names)
    place = {item: number for number, item in enumerate(items)}
    vectors = embed(list(names.names.values()))
    for part in sequences.sort("user_id").iter_slices(_USERS_AT_ONCE):
        keywords = profiles.of(part["user_id"])
        rows = [row for row in part.select("user_id", "item_ids").rows() if row[0] in keywords]
        if not rows:
            continue
        texts = [", ".join(keywords[user]) for user, _ in rows]
        distinct = list(dict.fromkeys(texts))
        number = {text: at for at, text in enumerate(distinct)}
        asked = embed(distinct)[[number[text] for text in texts]]
        cosines = asked @ vectors.T
        for row, (_, item_ids) in enumerate(rows):
            history, _ = held_out(item_ids, target)
            cosines[row, [place[item] for item in history if item in place]] = -np.inf
        yield _table([user for user, _ in rows], items, cosines, k)


def _table(users: list[str], items: list[str], cosines: Floats, k: int) -> pa.Table:
    """The best `k` of every row; what is minus infinity is none."""
    k = min(k, cosines.shape[1])
    best = np.argpartition(-cosines, k - 1, axis=1)[:, :k] if k else np.empty((len(users), 0), dtype=np.int64)
    best = np.sort(best, axis=1)  # so that equal ones keep the order of the items
    order = np.argsort(-np.take_along_axis(cosines, best, axis=1), axis=1, kind="stable")
    best = np.take_along_axis(best, order, axis=1)
    scores = np.take_along_axis(cosines, best, axis=1)
    row, column = np.nonzero(np.isfinite(scores))
    return pa.table(
        {
            "user_id": pa.array(users, pa.string()).take(pa.array(row)),
            "item_id": pa.array(items, pa.string()).take(pa.array(best[row, column])),
            "rank": pa.array(column + 1, pa.int32()),
            "score": pa.array(scores[row, column].astype(np.float64)),
            "retriever": pa.array([RETRIEVER] * len(row), pa.string()),
        },
        schema=CANDIDATES.schema,
    )
