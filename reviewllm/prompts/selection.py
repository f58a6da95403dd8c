"""Which entries of a history are wanted most, where not all of them fit into a prompt."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from reviewllm.prompts.tasks.task import Row
from reviewllm.scoring.words import words

# latest   the newest: the histories of one user begin alike
# similar  those of the items and ratings that are nearest to the new one
# spread   as many different items and ratings as there are, the newest of each
Selection = Literal["latest", "similar", "spread"]

_RATING_WEIGHT = 0.5  # of equal stars, where 1 is an equal title; not tuned


def wanted(selection: Selection, history: Sequence[Row], example: Row, *, ratings: bool) -> list[int]:
    """The places of a history's entries, the least wanted first; of equally wanted ones the older is wanted less.

    Looks at nothing but titles and ratings, and the same input gives the same order.

    Args:
        history: entries with title and rating, oldest first.
        example: the new purchase, with title and, where it is known, rating.
        ratings: whether ratings may decide; a prompt without ratings must not tell them by what it shows.

    >>> history = [{"title": title, "rating": 5.0} for title in ("A red rake", "A lamp", "A hose", "A lamp")]
    >>> wanted("similar", history, {"title": "Rake, green", "rating": 5.0}, ratings=True)
    [1, 2, 3, 0]
    >>> wanted("spread", history, {"title": "Rake, green", "rating": 5.0}, ratings=True)   # the older lamp goes first
    [1, 0, 2, 3]
    """
    if selection == "latest":
        return list(range(len(history)))
    scores = _similarity(history, example, ratings) if selection == "similar" else _rarity(history, ratings)
    return sorted(range(len(history)), key=lambda place: (scores[place], place))


def _similarity(history: Sequence[Row], example: Row, ratings: bool) -> list[float]:
    """Cosine of the titles' words, each weighed by how few titles of the history have it, and nearness of the ratings."""
    titles = [_words(entry["title"]) for entry in history]
    having = Counter(word for title in titles for word in title)
    weight = {word: 1 + math.log((1 + len(titles)) / (1 + count)) for word, count in having.items()}
    mine = _words(example["title"])
    length = _length(mine, weight)
    scores = []
    for entry, title in zip(history, titles, strict=True):
        common = sum(weight[word] ** 2 for word in sorted(title & mine))
        near = _nearness(entry["rating"], example.get("rating")) if ratings else 0.0
        scores.append((common / (length * _length(title, weight)) if common else 0.0) + _RATING_WEIGHT * near)
    return scores


def _nearness(one: float | None, other: float | None) -> float:
    """Of two ratings, 0 to 1; 0 where there is none, as a recommended item has none yet."""
    if one is None or other is None or math.isnan(one) or math.isnan(other):
        return 0.0
    return 1 - abs(one - other) / 4


def _length(title: frozenset[str], weight: dict[str, float]) -> float:
    """Of a title's vector; a word that no title of the history has weighs most."""
    rarest = 1 + math.log(1 + len(weight)) if weight else 1.0
    return math.sqrt(sum(weight.get(word, rarest) ** 2 for word in sorted(title)))


def _rarity(history: Sequence[Row], ratings: bool) -> list[tuple[int, int]]:
    """How many newer entries are of the same title, and how many have the same rating; the more, the less it is wanted."""
    titles: Counter[str] = Counter()
    stars: Counter[float] = Counter()
    found = []
    for entry in reversed(history):
        found.append((-titles[entry["title"]], -stars[entry["rating"]] if ratings else 0))
        titles[entry["title"]] += 1
        stars[entry["rating"]] += 1
    return found[::-1]


@lru_cache(maxsize=50_000)
def _words(title: str) -> frozenset[str]:
    return frozenset(words(title))
