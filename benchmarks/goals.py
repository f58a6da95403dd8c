"""What a benchmark's figures should be, and whether they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Goal(NamedTuple):
    """A figure of the summary, and what it should be."""

    figure: str
    bound: float
    at_least: bool

    def met(self, value: float) -> bool:
        """Whether a value reaches the goal."""
        return value >= self.bound if self.at_least else value <= self.bound


def print_goals(goals: Sequence[Goal], summary: Mapping[str, float]) -> None:
    """Print each goal's figure, and whether it was met."""
    print()
    for goal in goals:
        if goal.figure in summary:
            sign, verdict = "at least" if goal.at_least else "at most", "met" if goal.met(summary[goal.figure]) else "MISSED"
            print(f"{goal.figure:42}{summary[goal.figure]:12.4g}   {sign} {goal.bound:g}: {verdict}")
