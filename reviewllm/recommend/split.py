"""Which item of a sequence is held out: the protocol of section 3.1 of the paper, leave one out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Target = Literal["validation", "test", "next"]

LEFT_OUT: dict[Target, int] = {"next": 0, "test": 1, "validation": 2}  # items at a sequence's end that no history holds


def held_out(item_ids: Sequence[str], target: Target) -> tuple[list[str], str | None]:
    """Split a sequence into the history that may be seen and the item that is to be found.

    'test' is the last item, with all before it; 'validation' the one before the last, with all before that; 'next' is not
    known yet, and its history is everything. The item is None for 'next', and where no history would be left.
    Does not prevent leakage across users in time.

    >>> held_out(["a", "b", "c", "d"], "test"), held_out(["a", "b", "c", "d"], "validation")
    ((['a', 'b', 'c'], 'd'), (['a', 'b'], 'c'))
    >>> held_out(["a", "b"], "next"), held_out(["a"], "validation")
    ((['a', 'b'], None), ([], None))
    """
    left_out = LEFT_OUT[target]
    if left_out == 0 or len(item_ids) <= left_out:
        return list(item_ids[: max(0, len(item_ids) - left_out)]), None
    return list(item_ids[:-left_out]), item_ids[-left_out]
