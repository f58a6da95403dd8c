"""Does the mean sentiment of the texts rise with the stars that they were written for?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from reviewllm.report.nightly.content import Finding, Star
from reviewllm.report.nightly.measure import Measures, Sum, add_up

FEWEST_ROWS = 30  # of a star, below which its standard error is itself uncertain
CRITICAL = 3.29  # standard errors: chance goes beyond them once in a thousand times
EXPECTED_RISE = 10.0  # on a scale of 200; a smaller one may go unseen, so not to see it tells nothing
LESS = 0.5  # of the rise in the nights before

_SUBJECT = "Whether sentiment rises with the stars cannot be told"


def stars_of(tonight: Measures, before: Sequence[Measures]) -> tuple[Star, ...]:
    """Mean sentiment for each star that the night has; empty where it has no sentiment."""
    return tuple(_star(stars, tonight.sentiment[stars], before) for stars in sorted(tonight.sentiment))


def rises(stars: Sequence[Star], *, with_rating: bool | None) -> Finding:
    """Say whether sentiment rises with the stars.

    It does where no star lies clearly below the one before it, and the last clearly above the first. "Clearly": by more than
    3.29 standard errors of the difference of the two means. It does not where one lies clearly below, or where a rise of 10
    would have been clear and there is none; and it wants a look where the rise is clearly less than in the nights before, and
    less than half of it. Stars of fewer than 30 rows are left out.
    """
    if not stars:
        return Finding(claim=f"{_SUBJECT}: it was not scored.", verdict="unknown")
    told = [star for star in stars if star.rows >= FEWEST_ROWS]
    if len(told) < 2:
        return Finding(claim=f"{_SUBJECT} yet: fewer than two stars have {FEWEST_ROWS} rows.", verdict="unknown")
    evidence = ", ".join(f"{star.stars} of 5: {star.mean:.1f}" for star in told)
    return _rising(told, with_rating=with_rating).model_copy(update={"evidence": (evidence,)})


def _rising(told: Sequence[Star], *, with_rating: bool | None) -> Finding:
    first, last = told[0], told[-1]
    rise, clear = last.mean - first.mean, _clear(first, last)
    span = f"{rise:.1f} from {first.stars} to {last.stars} stars"
    falls = [
        f"from {low.stars} to {high.stars} stars" for low, high in pairwise(told) if low.mean - high.mean > _clear(low, high)
    ]
    if falls:
        claim = f"Sentiment falls {', '.join(falls)}."
        return Finding(claim=claim, verdict="look", about="sentiment falls with the stars")
    if before := _rise_before(first, last):
        claim = f"Sentiment rises less with the stars than before: by {span}, before by {before:.1f}."
        return Finding(claim=claim, verdict="look", about="sentiment rises less with the stars than before")
    if rise > clear:
        return Finding(claim=f"Sentiment rises with the stars, by {span}.", verdict="fine")
    if clear > EXPECTED_RISE:
        return Finding(
            claim=f"{_SUBJECT} yet: with so few rows, a rise of {EXPECTED_RISE:g} may be chance.", verdict="unknown"
        )
    if with_rating is False:
        claim = f"Sentiment does not rise with the stars (by {span}); the prompts showed no ratings."
        return Finding(claim=claim, verdict="note")
    claim = f"Sentiment does not rise with the stars (by {span}): the texts do not follow the ratings."
    return Finding(claim=claim, verdict="look", about="sentiment does not rise with the stars")


def _star(stars: int, tonight: Sum, before: Sequence[Measures]) -> Star:
    earlier = add_up(night.sentiment.get(stars, Sum()) for night in before)
    return Star(
        stars=stars,
        rows=tonight.n,
        mean=tonight.mean,
        error=math.sqrt(tonight.variance_of_mean),
        mean_before=earlier.mean if earlier.n else None,
        error_before=math.sqrt(earlier.variance_of_mean) if earlier.n else None,
    )


def _rise_before(first: Star, last: Star) -> float | None:
    """The rise in the nights before, where this night's is less by the rule of `rises`; else None."""
    if first.mean_before is None or last.mean_before is None:
        return None
    rise, before = last.mean - first.mean, last.mean_before - first.mean_before
    clear = CRITICAL * math.hypot(first.error, last.error, first.error_before or 0.0, last.error_before or 0.0)
    return before if before > 0 and rise < LESS * before and before - rise > clear else None


def _clear(star: Star, other: Star) -> float:
    return CRITICAL * math.hypot(star.error, other.error)
