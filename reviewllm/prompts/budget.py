"""How much of a history fits into a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Fit(NamedTuple):
    """What of a history fits: the newest `kept` entries, each review cut to at most `review_tokens` (None: uncut)."""

    kept: int
    review_tokens: int | None


def fit_history(frames: Sequence[int], reviews: Sequence[int], *, budget: int, min_entries: int, block: int = 1) -> Fit:
    """Choose what of a history to keep within `budget` tokens.

    Drops the oldest entries, `block` by block where that leaves enough of them, so that the growing histories of one user
    begin alike for a while and an engine computes that beginning once. Drops them down to `min_entries`, then shortens
    the longest of the remaining reviews, again and again, until all fit; only where the frames of the entries alone are
    too long are further entries dropped.

    Args:
        frames: tokens of each entry without its review (number, title, rating), oldest first.
        reviews: tokens of each entry's review, oldest first.
        budget: tokens that the whole history may take.
        min_entries: entries that are kept, shortened, before one of them is dropped.
        block: entries that are dropped together.

    >>> fit_history([5, 5, 5], [10, 10, 10], budget=30, min_entries=1)   # two entries of 15 fit
    Fit(kept=2, review_tokens=None)
    >>> fit_history([5, 5], [100, 10], budget=40, min_entries=2)         # 40 - 10 = 20 + 10 for the reviews
    Fit(kept=2, review_tokens=20)
    """
    kept, used = 0, 0
    for frame, review in zip(reversed(frames), reversed(reviews), strict=True):
        if used + frame + review > budget:
            break
        kept, used = kept + 1, used + frame + review
    if kept >= min(min_entries, len(frames)):
        in_blocks = len(frames) - -(-(len(frames) - kept) // block) * block
        return Fit(in_blocks if in_blocks >= min_entries else kept, None)
    for entries in range(min(min_entries, len(frames)), 0, -1):
        room = budget - sum(frames[-entries:])
        if room >= entries:  # at least one token of every review, or its entry says nothing
            return Fit(entries, _longest_that_fits(reviews[-entries:], room))
    return Fit(0, None)


def _longest_that_fits(lengths: Sequence[int], room: int) -> int:
    """The largest cap with sum(min(length, cap)) <= room: where shortening the longest again and again ends."""
    remaining = sorted(lengths)
    while remaining:
        cap = room // len(remaining)
        if remaining[0] > cap:
            return cap
        room -= remaining.pop(0)
    return max(lengths)
