"""Where the item to be found stands among all items, and the best items of each user, without sorting a catalogue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from reviewllm.recommend.histories import Histories, Ints

_USERS_AT_ONCE = 128  # at 12,101 items 6 MB of scores: in the cache they are read three times as fast as from memory
_SCORES_AT_ONCE = 1_500_000  # likewise, for other catalogues
_LEAST_USERS = 32  # with a million items the embeddings are read from memory for every block

Floats = NDArray[np.float32]


class Retriever(Protocol):
    """Whoever scores all items for a user; `score` gives one row of finite scores a user, over the catalogue.

    `users` are places in `histories`. Rows of users without a history are not used unless `needs_history` is False.
    """

    name: str
    needs_history: bool
    item_ids: Sequence[str]

    def score(self, histories: Histories, users: Ints) -> Floats:
        """Scores, users x items, higher is better. The array may be overwritten by the caller."""
        ...


class Ranked(NamedTuple):
    """What was found for some users: the places in the catalogue of the best `k` items, -1 where there are fewer, with scores.

    `ranks` is the place that each user's target has, or would have, in a list of all items, from 1; 0 where there is no target,
    or no list has it: it is not in the catalogue, or stands in the history. Of equal scores the first of the catalogue is
    first, in lists and ranks alike, so that a rank says the same as the list that is written.
    """

    users: Ints
    items: Ints
    scores: Floats
    ranks: Ints


def rank_all(retriever: Retriever, histories: Histories, *, k: int) -> Iterator[Ranked]:
    """Rank all items for every user, some users at a time, those with short histories first.

    Items of a user's history are never found: the common practice of the papers whose figures these are compared with.

    Args:
        k: how many of the best are wanted; 0 for ranks alone.
    """
    order = np.argsort(histories.lengths, kind="stable")  # so that padding is short
    at_once = max(_LEAST_USERS, min(_USERS_AT_ONCE, _SCORES_AT_ONCE // max(1, len(retriever.item_ids))))
    for start in range(0, len(order), at_once):
        users = order[start : start + at_once]
        if retriever.needs_history:
            users = users[histories.lengths_of(users) > 0]
        if not len(users):
            continue
        scores = retriever.score(histories, users)
        scores[histories.seen(users)] = -np.inf
        yield Ranked(users, *_best(scores, k), _ranks(scores, histories.targets[users]))


def target_ranks(retriever: Retriever, histories: Histories) -> Ints:
    """The rank of every user's target, as in `Ranked`."""
    ranks = np.zeros(len(histories.targets), dtype=np.int64)
    for found in rank_all(retriever, histories, k=0):
        ranks[found.users] = found.ranks
    return ranks


def _ranks(scores: Floats, targets: Ints) -> Ints:
    """Places in the order of `_best`: row by row, as numpy counts ten times faster so than along an axis."""
    ranks = np.zeros(len(targets), dtype=np.int64)
    for row in np.nonzero(targets >= 0)[0]:
        own, before = scores[row, targets[row]], scores[row, : targets[row]]
        if np.isfinite(own):
            ranks[row] = 1 + np.count_nonzero(scores[row] > own) + np.count_nonzero(before == own)
    return ranks


def _best(scores: Floats, k: int) -> tuple[Ints, Floats]:
    """The best k of each row, by score and then by place in the catalogue; item -1 where fewer are left."""
    k = min(k, scores.shape[1])
    if k == 0:
        return np.empty((len(scores), 0), dtype=np.int64), scores[:, :0]
    items = np.sort(np.argpartition(scores, -k, axis=1)[:, -k:], axis=1)
    found = np.take_along_axis(scores, items, axis=1)
    for row, worst in enumerate(found.min(axis=1)):  # which of equal scores a partition leaves out is any
        if np.count_nonzero(scores[row] == worst) > np.count_nonzero(found[row] == worst):
            better = np.flatnonzero(scores[row] > worst)
            equal = np.flatnonzero(scores[row] == worst)[: k - len(better)]
            items[row] = np.sort(np.concatenate([better, equal]))
            found[row] = scores[row, items[row]]
    order = np.argsort(-found, axis=1, kind="stable")
    items, found = np.take_along_axis(items, order, axis=1), np.take_along_axis(found, order, axis=1)
    return np.where(np.isneginf(found), -1, items), found
