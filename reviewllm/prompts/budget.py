"""How much fits: of a history by `fit_history`, or `fit_dialogue` in a dialogue; of reviews by others by `fit_evidence`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

_TELLING_TOKENS = 48  # about two sentences: with less a review by another says little of the item
_SHARES = 4  # no review takes more than this part of the budget where it would push out another entry
_CAP_BITS = 3  # that a cap is rounded to: it changes with every fifth of its length, and not with every new entry
_BLOCK_START = 0.75  # of the room, for a new block of a dialogue: docs/prompts.md has what half and two thirds give


class Fit(NamedTuple):
    """What of a history fits: the newest `kept` entries, each review cut to at most `review_tokens` (None: uncut)."""

    kept: int
    review_tokens: int | None


def fit_history(frames: Sequence[int], reviews: Sequence[int], *, budget: int, min_entries: int, block: int = 1) -> Fit:
    """Choose what of a history to keep within `budget` tokens.

    Where not all fits, a review counts for no more than its share, a quarter of the budget or `min_entries`-th of it, so that a
    long one is shortened and pushes nothing out. The oldest entries are dropped, `block` by block where that leaves enough of
    them and half of the budget in use, so that the growing histories of one user begin alike for a while and an engine computes
    that beginning once. What is then left of the budget goes to the reviews that are shortened, up to a round length, which
    holds for a while too. At least `min_entries` are kept, shortened further if they must be; only where the frames of the
    entries alone are too long are they fewer.

    A history that is longer than the budget uses at least half of it, as long as no frame takes more than a sixteenth.

    Args:
        frames: tokens of each entry without its review (number, title, rating), oldest first.
        reviews: tokens of each entry's review, oldest first.
        budget: tokens that the whole history may take.
        min_entries: entries that are kept, shortened, before one of them is dropped.
        block: entries that are dropped together.

    >>> fit_history([5, 5, 5], [10, 10, 10], budget=30, min_entries=1)   # two entries of 15 fit
    Fit(kept=2, review_tokens=None)
    >>> fit_history([5] * 4, [10, 10, 900, 10], budget=100, min_entries=2)   # 100 - 20 - 3 * 10 = 50, of three bits 48
    Fit(kept=4, review_tokens=48)
    """
    if sum(frames) + sum(reviews) <= budget:
        return Fit(len(frames), None)
    share = max(1, _round(budget // max(min_entries, _SHARES)))
    sizes = [frame + min(review, share) for frame, review in zip(frames, reviews, strict=True)]
    used = [0, *accumulate(reversed(sizes))]  # of the newest 0, 1, 2, ... entries
    kept = sum(tokens <= budget for tokens in used) - 1
    least = min(min_entries, len(frames))
    if kept < least:  # at least one token of every review, or its entry says nothing
        kept = next((some for some in range(least, 0, -1) if budget - sum(frames[-some:]) >= some), 0)
    else:
        in_blocks = len(frames) - -(-(len(frames) - kept) // block) * block
        kept = in_blocks if in_blocks >= min_entries and 2 * used[in_blocks] >= budget else kept
    first = len(frames) - kept
    return Fit(kept, _longest_that_fits(reviews[first:], budget - sum(frames[first:])))


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

    Goes through the purchases as they came. Where one does not fit behind those before it, a new block begins with what
    `fit_history` keeps of them in three quarters of the room, or in all of it where these hold fewer than `min_entries`. So the
    prompts of a user grow behind one beginning until the room is full, and what a purchase was shown behind as the new one does
    not depend on what came later: a history that is trained on is the one that prompts show.

    Args:
        frames: tokens of each purchase without its review, oldest first.
        reviews: tokens of each purchase's review.
        items: tokens of each purchase as the new one, and of the new item last.
        room: tokens that the history and the new item may take.
        min_entries: newest purchases that are kept, shortened, before one of them is dropped.

    >>> [fit_dialogue([20] * n, [10] * n, [10] * (n + 1), room=100, min_entries=1).start for n in range(8)]   # 3 fit beside 10
    [0, 0, 0, 0, 2, 2, 4, 4]
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
    fit = fit_history(frames[start:], reviews[start:], budget=int(_BLOCK_START * room), min_entries=min_entries)
    if fit.kept < min(min_entries, end - start):
        fit = fit_history(frames[start:], reviews[start:], budget=room, min_entries=min_entries)
    first = end - fit.kept
    longest = max(reviews, default=0) if fit.review_tokens is None else fit.review_tokens
    used = sum(frames[first:]) + sum(min(review, longest) for review in reviews[first:])
    return DialogueFit(first, fit.review_tokens, end), used


def fit_evidence(frames: Sequence[int], reviews: Sequence[int], *, budget: int) -> Fit:
    """Choose how many of the first reviews to show within `budget` tokens.

    As many as have room for 48 tokens of each review, or all of a shorter one; then the longest are shortened until all fit.

    >>> fit_evidence([5, 5, 5], [100, 20, 60], budget=111)   # of three 38 tokens each; of two 81, and round 80
    Fit(kept=2, review_tokens=80)
    """
    for kept in range(len(frames), 0, -1):
        room = budget - sum(frames[:kept])
        longest = _longest_that_fits(reviews[:kept], room)
        if longest is None or longest >= _TELLING_TOKENS:
            return Fit(kept, longest)
    return Fit(0, None)


def _longest_that_fits(lengths: Sequence[int], room: int) -> int | None:
    """The largest round cap with sum(min(length, cap)) <= room, to which the longest are shortened; None where all fit."""
    remaining = sorted(lengths)
    while remaining:
        cap = room // len(remaining)
        if remaining[0] > cap:
            return _round(cap)
        room -= remaining.pop(0)
    return None


def _round(tokens: int) -> int:
    """The next smaller number of three significant bits: 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, ..."""
    rest = max(0, tokens.bit_length() - _CAP_BITS)
    return tokens >> rest << rest
