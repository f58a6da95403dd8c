"""Texts by rule, without any model: they keep everybody honest, and often score well.

A baseline may see what a nightly job could: reviews by users who are not evaluated, the user's own history, and
reviews of the item that were written before the purchase. It never sees the review that it stands in for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from reviewllm.scoring.sbert import embed
from reviewllm.scoring.style import profiles
from reviewllm.scoring.words import words

Texts = list[str | None]
Examples = pl.DataFrame
_MOST_CANDIDATES = 200  # reviews of one item, newest first, among which the nearest user is looked for


class Reviews(NamedTuple):
    """Reviews that baselines may copy from: `trained` by users who are not evaluated, `items` of the evaluated items.

    Columns: user_id, item_id, category, rating, review, purchased_at; `histories` maps the users of `items` to all of
    their reviews there are, as one text.
    """

    trained: pl.DataFrame
    items: pl.DataFrame
    histories: dict[str, str]
    embedding: Path | None = None  # that tells which titles are near; None: that of `scoring.sbert`


class Baseline(NamedTuple):
    """A rule: its name in the tables, whether it looks at the rating, what it says where it finds no text, and itself."""

    name: str
    with_rating: bool
    nothing: str
    write: Callable[[Examples, Reviews], Texts]


def own_latest(examples: Examples, _: Reviews) -> Texts:
    """The user's latest review, of whatever item. None for a user without one."""
    return [history[-1]["review"] if history else None for history in examples["history"].to_list()]


def own_most_similar(examples: Examples, reviews: Reviews) -> Texts:
    """The user's review of the item with the title nearest to the new one's (`scoring.sbert`); of equals the latest."""
    histories = examples["history"].to_list()
    titles = list(dict.fromkeys([*examples["title"], *(entry["title"] for history in histories for entry in history)]))
    vectors = dict(zip(titles, embed(titles, reviews.embedding), strict=True))
    found: Texts = []
    for title, history in zip(examples["title"], histories, strict=True):
        near = [float(vectors[title] @ vectors[entry["title"]]) for entry in history]
        found.append(
            max(zip(near, range(len(near)), history, strict=True), key=lambda one: one[:2])[2]["review"] if near else None
        )
    return found


def nearest_user(examples: Examples, reviews: Reviews) -> Texts:
    """The earlier review of the item by the other user who writes most like this one (`scoring.style`).

    Of an item with very many reviews the newest 200 are looked at. None where no other user had reviewed the item.
    """
    by_item = {key[0]: rows for key, rows in reviews.items.sort("purchased_at").group_by("item_id", maintain_order=True)}
    return [_by_nearest(row, by_item.get(row["item_id"]), reviews.histories) for row in examples.iter_rows(named=True)]


def majority(examples: Examples, reviews: Reviews) -> Texts:
    """The majority text of the rating and category: the commonest review of users who are not evaluated.

    Of equally common ones (all, where no two users wrote the same) the most typical: of those of usual length (the middle
    half) the one nearest to the mean of the style profiles, which a long text would always be. Without reviews of the
    rating in the category, those of the rating in every category.
    """
    return _majority(examples, reviews.trained, ["rating", "category"], ["rating"])


def majority_of_category(examples: Examples, reviews: Reviews) -> Texts:
    """As `majority`, without looking at the rating."""
    return _majority(examples, reviews.trained, ["category"], [])


def real(examples: Examples, _: Reviews) -> Texts:
    """The real reviews themselves: what the figures without a reference give for people."""
    return list(examples["reference"])


_NO_HISTORY = "the user has no review to copy"
_NO_REVIEWS = "there is no review of this kind to copy"
_MAJORITY_NAME = "majority review"
REAL = Baseline("the real reviews", False, "", real)  # a yardstick in every evaluation, never a contender
BASELINES = {  # by the name in --models
    "own-similar": (Baseline("own review of the most similar item", False, _NO_HISTORY, own_most_similar),),
    "own-latest": (Baseline("own latest review", False, _NO_HISTORY, own_latest),),
    "nearest-user": (
        Baseline("nearest user's review of the item", False, "no other user had reviewed the item", nearest_user),
    ),
    "majority": (
        Baseline(_MAJORITY_NAME, True, _NO_REVIEWS, majority),
        Baseline(_MAJORITY_NAME, False, _NO_REVIEWS, majority_of_category),
    ),
}


def _by_nearest(row: dict[str, Any], others: pl.DataFrame | None, histories: dict[str, str]) -> str | None:
    if others is None:
        return None
    older = others.filter((pl.col("purchased_at") < row["purchased_at"]) & (pl.col("user_id") != row["user_id"]))
    older = older.tail(_MOST_CANDIDATES)
    if older.is_empty():
        return None
    mine = profiles(["\n".join(entry["review"] for entry in row["history"])])
    theirs = profiles([histories[user] for user in older["user_id"]])
    nearness = (theirs @ mine.T).toarray().ravel()
    return str(older["review"][int(nearness.argmax())])


def _majority(examples: Examples, trained: pl.DataFrame, key: Sequence[str], wider: Sequence[str]) -> Texts:
    by_key = _typical(trained, key)
    asked = examples.select(key).rows()
    missing = any(group not in by_key for group in asked)
    by_wider = _typical(trained, wider) if missing else {}
    return [by_key.get(group, by_wider.get(other)) for group, other in zip(asked, _groups(examples, wider), strict=True)]


def _groups(examples: Examples, key: Sequence[str]) -> list[tuple[Any, ...]]:
    return examples.select(key).rows() if key else [()] * len(examples)


def _typical(trained: pl.DataFrame, key: Sequence[str]) -> dict[tuple[Any, ...], str]:
    groups = trained.group_by(key, maintain_order=True) if key else [((), trained)]
    return {tuple(group): _most_typical(rows["review"].to_list()) for group, rows in groups if len(rows)}


def _most_typical(texts: Sequence[str]) -> str:
    counts = Counter(texts)
    most = max(counts.values())
    commonest = [text for text, count in counts.items() if count == most]
    if len(commonest) == 1:
        return commonest[0]
    commonest = _of_usual_length(commonest)
    each = profiles(commonest)
    mean = np.asarray(profiles(texts).mean(axis=0)).ravel()
    return commonest[int((each @ mean).argmax())]


def _of_usual_length(texts: Sequence[str]) -> list[str]:
    lengths = [len(words(text)) for text in texts]
    low, high = np.percentile(lengths, [25, 75])
    return [text for text, length in zip(texts, lengths, strict=True) if low <= length <= high] or list(texts)
