"""How much fits: of a history by `fit_history`, or `fit_dialogue` in a dialogue; of reviews by others by `fit_evidence`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_TELLING_TOKENS = 48  # about two sentences: with less a review by another says little of the item


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


class DialogueFit(NamedTuple):
    """What a dialogue shows of a history: the purchases from `start` on.

    Of those before `cut_before` each review is cut to at most `review_tokens` (None: uncut).
    """

    start: int
    review_tokens: int | None
    cut_before: int


def fit_dialogue(
    frames: Sequence[int], reviews: Sequence[int], items: Sequence[int], *, room: int, min_entries: int
) -> DialogueFit:
    """Choose what a dialogue shows of a history within `room` tokens.

    Goes through the purchases as they came. Where one does not fit behind those before it, a new block begins: the oldest go
    until the rest takes half of the room or is `min_entries`, whose longest reviews are shortened if they must be. So the prompts
    of a user grow behind one beginning until the room is full, and what a purchase was shown behind as the new one does not
    depend on what came later: a history that is trained on is the one that prompts show.

    Args:
        frames: tokens of each purchase without its review, oldest first.
        reviews: tokens of each purchase's review.
        items: tokens of each purchase as the new one, and of the new item last.
        room: tokens that the history and the new item may take.
        min_entries: newest purchases that are kept, shortened, before one of them is dropped.

    >>> [fit_dialogue([20] * n, [10] * n, [10] * (n + 1), room=100, min_entries=1).start for n in range(8)]   # 3 fit beside 10
    [0, 0, 0, 0, 3, 3, 3, 6]
    """
    fit, used = DialogueFit(0, None, 0), 0
    for place, item in enumerate(items):
        if used + item > room:
            fit, used = _new_block(frames[:place], reviews[:place], fit.start, room=room - item, min_entries=min_entries)
        if place < len(frames):
            used += frames[place] + reviews[place]
    return fit


def _new_block(
    frames: Sequence[int], reviews: Sequence[int], start: int, *, room: int, min_entries: int
) -> tuple[DialogueFit, int]:
    """What of the purchases from `start` on begins a new block, and the tokens of that."""
    end = len(frames)
    used = sum(frames[start:]) + sum(reviews[start:])
    while end - start > min_entries and 2 * used > room:
        used -= frames[start] + reviews[start]
        start += 1
    if used <= room:
        return DialogueFit(start, None, end), used
    while start < end and room - sum(frames[start:]) < end - start:  # not one token for every review
        start += 1
    longest = _longest_that_fits(reviews[start:], room - sum(frames[start:])) if start < end else None
    used = sum(frames[start:]) + sum(min(review, longest or 0) for review in reviews[start:])
    return DialogueFit(start, longest, end), used


def fit_evidence(frames: Sequence[int], reviews: Sequence[int], *, budget: int) -> Fit:
    """Choose how many of the first reviews to show within `budget` tokens.

    As many as have room for 48 tokens of each review, or all of a shorter one; then the longest are shortened until all fit.

    >>> fit_evidence([5, 5, 5], [100, 20, 60], budget=111)   # 111 - 15 = 38 + 20 + 38: too short; 111 - 10 = 81 + 20
    Fit(kept=2, review_tokens=81)
    """
    for kept in range(len(frames), 0, -1):
        room = budget - sum(frames[:kept])
        longest = _longest_that_fits(reviews[:kept], room)
        if room > 0 and longest >= min(_TELLING_TOKENS, max(reviews[:kept])):
            return Fit(kept, longest)
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
