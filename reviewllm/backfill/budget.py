"""The error budget of a night: the share of its rows that may fail (`--max-failed-fraction`)."""

from __future__ import annotations

import math
from collections import Counter

_ROWS_TO_JUDGE = 200
_SIGMAS = 4.0


def over_budget(failed: int, done: int, rows: int, budget: float) -> bool:
    """Whether a night of `rows` has failed, with `failed` of the `done` ones: for certain, or as good as.

    As good as: after 200 rows the failures, less four times their own uncertainty (a Poisson count's, sqrt(failed)), are
    over the budget's share of what was done.

    >>> over_budget(11, 50, 100, 0.1), over_budget(10, 50, 100, 0.1)
    (True, False)
    >>> over_budget(100, 200, 1_000_000, 0.1)
    True
    """
    if failed > budget * rows:
        return True
    return done >= _ROWS_TO_JUDGE and failed - _SIGMAS * math.sqrt(failed) > budget * done


def budget_message(failed: int, rows: int, classes: Counter[str], max_failed_fraction: float) -> str:
    """What is said of a night in which too many rows failed; the classes are those of finished shards.

    >>> budget_message(3, 9, Counter(Cut=1), 0.1).partition(". ")[0]
    '3 of 9 rows failed, more than --max-failed-fraction 0.1: 1 Cut, 2 of shards that were not finished'
    """
    others = failed - classes.total()
    named = ", ".join(
        [f"{count} {name}" for name, count in classes.most_common()]
        + ([f"{others} of shards that were not finished"] if others else [])
    )
    return (
        f"{failed} of {rows} rows failed, more than --max-failed-fraction {max_failed_fraction:g}: {named}. Nothing was "
        "published; mend the cause and run again, or allow more"
    )
