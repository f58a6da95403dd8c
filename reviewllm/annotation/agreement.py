"""Answers of several annotators -> how far they agree beyond chance."""

from __future__ import annotations

import numpy as np
from pydantic import FiniteFloat

from reviewllm.annotation.judgements import Floats
from reviewllm.annotation.key import Record

_ALL_EQUAL = (
    "all answers are equal, and where nobody ever answers otherwise agreement cannot be told from chance; look at the shares"
)
_ALONE = "it takes two annotators to agree"
_NOTHING_SHARED = "no pair was answered by two annotators"
_NOT_ALL = "no pair was answered by all annotators"


class Agreement(Record):
    """A measure of agreement, 1 for perfect and 0 for no better than chance; null where undefined, with the `reason`.

    `pairs`: on how many pairs it rests.
    """

    value: FiniteFloat | None
    reason: str | None
    pairs: int


def fleiss_kappa(answers: Floats) -> Agreement:
    """Fleiss' kappa (Fleiss 1971) over the pairs that all annotators answered.

    Args:
        answers: by annotator (rows) and pair (columns): 1, 0, NaN for missing.
    """
    whole = answers[:, ~np.isnan(answers).any(axis=0)]
    if reason := _undefined(whole, len(answers), _NOT_ALL):
        return Agreement(value=None, reason=reason, pairs=whole.shape[1])
    from statsmodels.stats import inter_rater  # here, because it takes two seconds

    counts, _ = inter_rater.aggregate_raters(whole.T.astype(int))
    return Agreement(value=float(inter_rater.fleiss_kappa(counts)), reason=None, pairs=whole.shape[1])


def krippendorff_alpha(answers: Floats) -> Agreement:
    """Krippendorff's alpha for nominal data (Krippendorff 2011) over the pairs that two annotators or more answered.

    Args:
        answers: by annotator (rows) and pair (columns): 1, 0, NaN for missing.
    """
    shared = answers[:, (~np.isnan(answers)).sum(axis=0) >= 2]
    if reason := _undefined(shared, len(answers), _NOTHING_SHARED):
        return Agreement(value=None, reason=reason, pairs=shared.shape[1])
    import krippendorff

    alpha = krippendorff.alpha(reliability_data=shared, level_of_measurement="nominal")
    return Agreement(value=float(alpha), reason=None, pairs=shared.shape[1])


def _undefined(answers: Floats, annotators: int, nothing: str) -> str | None:
    """Why there is no measure; None where there is one."""
    if annotators < 2:
        return _ALONE
    if not answers.size:
        return nothing
    return _ALL_EQUAL if len(np.unique(answers[~np.isnan(answers)])) == 1 else None
