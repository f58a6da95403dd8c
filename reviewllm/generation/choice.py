"""Which of several drafts of a review is taken: those that fail a check are dropped, and of the rest the one nearest to the others.

The nearest is what minimum Bayes risk decoding takes (Kumar and Byrne, 2004; of texts that were sampled: Eikema and Aziz, 2022,
"Sampling-based approximations to minimum Bayes risk decoding"): a draft's gain is its mean likeness to the others, so that a
text that says what most of them say wins over one with a chance find. Likeness is the mean of ROUGE-L and of the cosine of sentence
embeddings; ROUGE-L alone where the model cannot read one of a row's drafts. A reference is never looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reviewllm.generation.engine import Draft
from reviewllm.scoring.copying import longest_shared_runs
from reviewllm.scoring.hallucination import hallucination
from reviewllm.scoring.repetition import repetition
from reviewllm.scoring.rouge import mutual_rouge_l
from reviewllm.scoring.sbert import embed, sbert_reads
from reviewllm.scoring.scorer import Product, claims_of
from reviewllm.scoring.sentiment import sentiment, sounds_as_rated
from reviewllm.scoring.words import words

_VERSION = "1"  # raise it with any change of what is chosen
# Times the median words of the user's reviews, and its inverse: of 4,538 real reviews behind at least four of their user's
# (Musical Instruments 2014) 95.5 % are within it.
MOST_LENGTH_FACTOR = 4.0
MOST_REPETITION = 15.0  # %; of the real reviews there one in a thousand has 11.6 or more
MOST_DOUBTFUL = 50.0  # % of the claims, without a bound of the night's own
MOST_COPIED = 8  # words in a row that stand in a review by another, likewise
# Of a mean likeness, which counts to 100: behind them embeddings differ with the batch that they are computed in.
_DIGITS = 3
_LEAST_NEAREST = 3  # of two drafts each is as near to the other


class Bounds(NamedTuple):
    """A night's own bounds on claims (%) and on words copied from others; None for none. A text above one is a dead letter."""

    max_hallucination: float | None = None
    max_copied_words: int | None = None


class Asked(NamedTuple):
    """What the drafts of a row are held against.

    `rating` is None where the prompt showed no stars, `usual_words` where the user has no reviews; `others` are the reviews by
    others that the example carries.
    """

    drafts: Sequence[Draft]
    rating: float | None
    product: Product
    usual_words: float | None
    others: Sequence[str] = ()
    bounds: Bounds = Bounds()


class Choice(NamedTuple):
    """The place of the draft that is taken, how many drafts passed every check, and in words why it is this one.

    `place` is None where none passed and the least bad is not wanted; `because` then says what failed.
    """

    place: int | None
    passed: int
    because: str


def choice_version() -> dict[str, Any]:
    """What decides the choice beside the scorers' own versions, for the fingerprint."""
    return {
        "version": _VERSION,
        "checks": list(CHECKS),
        "length_factor": MOST_LENGTH_FACTOR,
        "repetition": MOST_REPETITION,
        "doubtful": MOST_DOUBTFUL,
        "copied": MOST_COPIED,
    }


def choose(rows: Sequence[Asked], *, least_bad: bool, embedding: Path | None = None) -> list[Choice]:
    """Choose a draft for each row; of equals the first, so that a row's choice depends on nothing but its drafts.

    All rows are embedded at once. Where none passes, those that fail the fewest checks are left to choose from, and none that a
    night's bound would refuse while there is another.

    Args:
        rows: each with at least one draft.
        least_bad: whether a row none of whose drafts passes gets one all the same.
        embedding: folder of a sentence-transformers model; None for all-MiniLM-L6-v2.
    """
    failed = [[failed_checks(draft, row) for draft in row.drafts] for row in rows]
    left = [_least_failed(of_row, row.bounds) for of_row, row in zip(failed, rows, strict=True)]
    texts = [[row.drafts[place].text for place in places] for row, places in zip(rows, left, strict=True)]
    chosen = [int(np.argmax(near)) for near in likeness(texts, embedding)]
    return [_choice(*one, least_bad) for one in zip(failed, left, chosen, strict=True)]


def failed_checks(draft: Draft, asked: Asked) -> list[str]:
    """The names of the checks that a draft fails."""
    return [name for name, fails in CHECKS.items() if fails(draft, asked)]


def likeness(rows: Sequence[Sequence[str]], embedding: Path | None = None) -> list[NDArray[np.float64]]:
    """Of each text of a row its mean likeness to the row's others, 0 to 100; 0 where there are fewer than three texts.

    >>> likeness([["sehr gut", "sehr gut und billig", "nicht gut"]])[0].tolist()   # ROUGE-L alone: 2/3, 1/2 and 1/3
    [58.333, 50.0, 41.667]
    """
    told = [row for row in rows if len(row) >= _LEAST_NEAREST]
    distinct = list(dict.fromkeys(text for row in told for text in row))
    reads = dict(zip(distinct, sbert_reads(distinct, embedding), strict=True))
    embedded = list(dict.fromkeys(text for row in told if all(map(reads.get, row)) for text in row))
    vectors, place = embed(embedded, embedding), {text: number for number, text in enumerate(embedded)}

    def mean(row: Sequence[str]) -> NDArray[np.float64]:
        if len(row) < _LEAST_NEAREST:
            return np.zeros(len(row))
        table = np.array(mutual_rouge_l(row))
        if all(map(reads.get, row)):
            mine = vectors[[place[text] for text in row]].astype(np.float64)
            table = (table + 100 * mine @ mine.T) / 2
        np.fill_diagonal(table, 0.0)
        means: NDArray[np.float64] = (table.sum(axis=1) / (len(row) - 1)).round(_DIGITS)
        return means

    return [mean(row) for row in rows]


def _least_failed(failed: Sequence[Sequence[str]], bounds: Bounds) -> list[int]:
    """The places of the drafts that fail fewest checks, those of the night's bounds first."""
    bounded = {name for name, bound in zip((_CLAIMS, _COPIED), bounds, strict=True) if bound is not None}
    counts = [len(names) + len(CHECKS) * len(bounded.intersection(names)) for names in failed]
    return [place for place, count in enumerate(counts) if count == min(counts)]


def _choice(failed: Sequence[Sequence[str]], left: Sequence[int], nearest: int, least_bad: bool) -> Choice:
    passed, place = sum(not names for names in failed), left[nearest]
    if passed >= _LEAST_NEAREST:
        return Choice(place, passed, f"nearest to the others of {passed} that passed")
    if passed:
        return Choice(place, passed, "the only one that passed" if passed == 1 else "the first of two that passed")
    if least_bad:
        return Choice(place, 0, f"least bad: fails {', '.join(failed[place])}")
    counted = {name: sum(name in names for names in failed) for name in CHECKS}
    told = ", ".join(f"{count} {name}" for name, count in counted.items() if count)
    return Choice(None, 0, f"none of {len(failed)} drafts passes every check; they fail: {told}")


def _is_cut(draft: Draft, _: Asked) -> bool:
    return draft.finish_reason == "length"


def _sounds_otherwise(draft: Draft, asked: Asked) -> bool:
    """Against the stars of the prompt; without them a choice by the stars would tell the text what the model was not told."""
    return asked.rating is not None and sounds_as_rated(sentiment(draft.text), asked.rating) is False


def _claims_too_much(draft: Draft, asked: Asked) -> bool:
    """As a night's bound judges (`generation.refuse`), where there is one; else of products with data alone."""
    bound = asked.bounds.max_hallucination
    if bound is None and asked.product.attributes is None:
        return False
    claims = claims_of(draft.text, asked.product)
    if claims is None:
        return bound is not None
    return (hallucination(claims) or 0.0) > (MOST_DOUBTFUL if bound is None else bound)


def _copies_others(draft: Draft, asked: Asked) -> bool:
    bound = asked.bounds.max_copied_words
    return longest_shared_runs([draft.text], [asked.others])[0] > (MOST_COPIED if bound is None else bound)


def _is_of_other_length(draft: Draft, asked: Asked) -> bool:
    if not asked.usual_words:
        return False
    ratio = len(words(draft.text)) / asked.usual_words
    return not 1 / MOST_LENGTH_FACTOR <= ratio <= MOST_LENGTH_FACTOR


def _repeats_itself(draft: Draft, _: Asked) -> bool:
    return (repetition(draft.text) or 0.0) > MOST_REPETITION


_CLAIMS, _COPIED = "claims", "copied"
# Name to whether a draft fails it. A further check is a further line here, with what it needs in `Asked`.
CHECKS: dict[str, Callable[[Draft, Asked], bool]] = {
    "cut": _is_cut,
    "sentiment": _sounds_otherwise,
    _CLAIMS: _claims_too_much,
    _COPIED: _copies_others,
    "length": _is_of_other_length,
    "repetition": _repeats_itself,
}
