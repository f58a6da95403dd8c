"""How far a text is from what its user usually writes, and from what buyers of its item agree on, beside how far real reviews are.

After the dissonance analysis of PeReGrINE (arXiv 2604.07788). A text deviates from a group of reviews by its traits: how long it is
and how its tone goes with its stars, by the distance to their mean; how it is written (of a user) or what it says (of an item),
by the cosine with their mean direction. Each deviation is divided by its natural spread: the mean deviation of real reviews, each
from the others of its own group. The figure is the mean over the traits, so that real reviews have about 1, texts that are all
alike more than that, and a copy of what is usual less.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reviewllm.scoring.sbert import embed, sbert_reads
from reviewllm.scoring.sentiment import sentiment
from reviewllm.scoring.style import profiles
from reviewllm.scoring.words import words

Floats = NDArray[np.float64]

_MOST_GROUPS = 1_000  # by which a spread is told; its mean then moves by a few per cent


class Written(NamedTuple):
    """A text with its stars."""

    text: str
    rating: float


class _Traits(NamedTuple):
    """Of N texts: numbers [N, K], nan where one cannot be told, and directions [N, D] of length 1, all zero for none."""

    numbers: Floats
    directions: Any


def user_dissonance(texts: Sequence[Written], histories: Sequence[Sequence[Written]]) -> list[float | None]:
    """Deviation of each text from its user's reviews in length, tone beside the stars and way of writing.

    Args:
        texts: with the stars that they were written for.
        histories: the user's reviews, aligned with the texts.

    Returns:
        None without a history, and where no group has the two reviews that tell a spread.
    """
    return _dissonance(texts, histories, _habits)


def item_dissonance(
    texts: Sequence[Written], others: Sequence[Sequence[Written]], embedding: Path | None = None
) -> list[float | None]:
    """Deviation of each text from reviews of its item by others in tone beside the stars and in what it says.

    Args:
        texts: with the stars that they were written for.
        others: reviews of the item, aligned with the texts.
        embedding: folder of the model of sentence embeddings; None for that of `scoring.sbert`.

    Returns:
        None without such reviews, and where no group has the two reviews that tell a spread.
    """
    return _dissonance(texts, others, lambda known: _opinions(known, embedding))


def _dissonance(
    texts: Sequence[Written], groups: Sequence[Sequence[Written]], traits_of: Callable[[list[Written]], _Traits]
) -> list[float | None]:
    """The figure of each text beside its group; texts and reviews that come again are looked at once."""
    known = list(dict.fromkeys([*texts, *(one for group in groups for one in group)]))
    if not known:
        return []
    place = {one: number for number, one in enumerate(known)}
    traits = traits_of(known)
    members = [np.array([place[one] for one in group], dtype=np.int64) for group in map(tuple, groups)]
    spreads = natural_spreads(traits, list({tuple(group): group for group in members}.values()))
    found: list[float | None] = []
    for text, group in zip(texts, members, strict=True):
        ratios = _deviations(traits, np.array([place[text]]), group)[0] / spreads if len(group) else np.array([np.nan])
        told = ratios[np.isfinite(ratios)]
        found.append(float(told.mean()) if len(told) else None)
    return found


def natural_spreads(traits: _Traits, groups: Sequence[NDArray[np.int64]]) -> Floats:
    """By trait the mean deviation [K + 1] of a review from the others of its group; nan where none is told, or all are alike."""
    several = [group for group in groups if len(group) > 1][:_MOST_GROUPS]
    if not several:
        return np.full(traits.numbers.shape[1] + 1, np.nan)
    alone = np.concatenate([_deviations(traits, group, group) for group in several])
    means = np.array([column[~np.isnan(column)].mean() if (~np.isnan(column)).any() else np.nan for column in alone.T])
    return np.where(means > 0, means, np.nan)


def _deviations(traits: _Traits, texts: NDArray[np.int64], group: NDArray[np.int64]) -> Floats:
    """How far each text is from the reviews of a group that are not itself, [texts, K + 1], the direction last."""
    theirs = traits.directions[group]
    dots = _dense(traits.directions[texts] @ theirs.T)  # [texts, group]
    among = _dense(theirs @ theirs.T)  # [group, group]
    has_direction = np.asarray(abs(traits.directions[texts]).sum(axis=1)).ravel() > 0
    found = np.full((len(texts), traits.numbers.shape[1] + 1), np.nan)
    for row, text in enumerate(texts):
        others = np.flatnonzero(group != text)
        numbers = traits.numbers[group[others]]
        for trait in range(numbers.shape[1]):
            told = numbers[:, trait][~np.isnan(numbers[:, trait])]
            if len(told):
                found[row, trait] = abs(traits.numbers[text, trait] - told.mean())
        length = np.sqrt(among[np.ix_(others, others)].sum())
        if length > 0 and has_direction[row]:
            found[row, -1] = 1 - dots[row, others].sum() / length
    return found


def _dense(product: Any) -> Floats:
    return np.asarray(product.todense() if hasattr(product, "todense") else product, dtype=np.float64)


def _tones(known: Sequence[Written]) -> Floats:
    """How much better each sounds than its stars say, -2 to 2; nan of what is not English."""
    found = [sentiment(one.text) for one in known]
    return np.array(
        [np.nan if tone is None else tone / 100 - (one.rating - 3) / 2 for tone, one in zip(found, known, strict=True)]
    )


def _habits(known: list[Written]) -> _Traits:
    lengths = np.array([np.log1p(len(words(one.text))) for one in known])
    return _Traits(np.stack([lengths, _tones(known)], axis=1), profiles([one.text for one in known]))


def _opinions(known: list[Written], embedding: Path | None) -> _Traits:
    texts = list(dict.fromkeys(one.text for one in known))
    vectors = embed(texts, embedding).astype(np.float64) * np.array(sbert_reads(texts, embedding))[:, None]
    place = {text: number for number, text in enumerate(texts)}
    return _Traits(_tones(known)[:, None], vectors[[place[one.text] for one in known]])
