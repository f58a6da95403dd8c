"""Closeness of a text to its user's own way of writing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

_NGRAM = 4  # characters; of 3, 4, 2 to 3 and 3 within words, these tell users apart best
_FEATURES = 1 << 18


def style_cosine(texts: Sequence[str], histories: Sequence[Sequence[str]]) -> list[float | None]:
    """Cosine of character 4-gram profiles of each text and of its user's reviews together, times 100: 0 to 100.

    Letters, case, spaces and punctuation all count, so spelling, endings, function words and marks do: the n-gram profiles of
    authorship attribution (Stamatatos, 2009, "A survey of modern authorship attribution methods", section 2.2), with
    counts damped as 1 + log. It has no zero point: compare it with the figure of the users' real reviews. None
    where the user has no history or the text is too short to have a 4-gram.
    """
    if not texts:
        return []
    mine = profiles(texts)
    theirs = profiles(["\n".join(history) for history in histories])
    cosines = np.asarray(mine.multiply(theirs).sum(axis=1)).ravel()
    known = np.diff(mine.indptr).astype(bool) & np.diff(theirs.indptr).astype(bool)
    return [100 * float(cosine) if there else None for cosine, there in zip(cosines, known, strict=True)]


def profiles(texts: Sequence[str]) -> Any:
    """Character 4-gram profiles as rows of a sparse matrix (texts, 2^18), each of length 1; all zero without a 4-gram."""
    from sklearn.preprocessing import normalize

    profiles = _counter().transform(texts)
    profiles.data = 1 + np.log(profiles.data)
    return normalize(profiles)


@lru_cache(maxsize=1)
def _counter() -> Any:
    from sklearn.feature_extraction.text import HashingVectorizer

    grams = (_NGRAM, _NGRAM)
    return HashingVectorizer(
        analyzer="char", ngram_range=grams, lowercase=False, norm=None, alternate_sign=False, n_features=_FEATURES
    )
