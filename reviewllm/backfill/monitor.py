"""The night while it runs: the error budget, what the screen shows, and metrics on Ray's own Prometheus endpoint."""

from __future__ import annotations

import math
from typing import Any

from reviewllm.backfill.publish import budget_message
from reviewllm.errors import BudgetError
from reviewllm.generation.pipeline import RunCounts
from reviewllm.progress import Step

_ROWS_TO_JUDGE = 200
_SIGMAS = 4.0


class Monitor:
    """Hears of the run about twice a second (`run_tasks`'s on_progress)."""

    def __init__(self, step: Step, *, rows: int, others: int, max_failed_fraction: float) -> None:
        """Take what the run has to write; needs a connected Ray.

        Args:
            rows: rows of the shards that this run writes.
            others: further rows of the night: staged or published before.
            max_failed_fraction: the error budget, 0 to 1, of all rows of the night.
        """
        from ray.util.metrics import Gauge

        self._step, self._rows, self._others, self._budget = step, rows, others, max_failed_fraction
        self._lost = 0
        self._gauge_rows = Gauge("reviewllm_backfill_rows", "rows of the running night", tag_keys=("state",))
        self._gauge_speed = Gauge("reviewllm_backfill_tokens_per_second", "prompt and completion tokens, all engines")
        self._gauge_left = Gauge("reviewllm_backfill_seconds_left", "at the present speed")

    def __call__(self, counts: RunCounts) -> None:
        """Show and judge.

        Raises:
            BudgetError: too many rows failed, or will.
        """
        done, failed = min(counts.rows_seen, self._rows), max(counts.failed, counts.engines.failed)
        working = counts.seconds - counts.start_seconds
        speed = counts.engines.tokens / working if working > 0 else 0.0
        if counts.engines.lost > self._lost:
            self._lost = counts.engines.lost
            self._step.say(f"an engine died or hung, and was replaced ({self._lost} so far); its rows run again")
        self._show(done, failed, speed, seconds_left=(self._rows - done) * working / done if done else None)
        if over_budget(failed, done + self._others, self._rows + self._others, self._budget):
            raise BudgetError(budget_message(failed, done + self._others, counts.failures, self._budget))

    def _show(self, done: int, failed: int, speed: float, *, seconds_left: float | None) -> None:
        left = self._rows - done
        self._step.show(done, self._rows, f"{failed} failed, {speed:.0f} tokens/s")
        values: dict[str, Any] = {"done": done - failed, "failed": failed, "left": left}
        for state, value in values.items():
            self._gauge_rows.set(max(0, value), tags={"state": state})
        self._gauge_speed.set(speed)
        if seconds_left is not None:
            self._gauge_left.set(seconds_left)


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
