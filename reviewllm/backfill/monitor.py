"""The night while it runs: the error budget, what the screen shows, and metrics on Ray's own Prometheus endpoint."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from reviewllm.backfill.budget import budget_message, over_budget
from reviewllm.cluster import cluster_address, ray_session
from reviewllm.errors import BudgetError, ConfigError
from reviewllm.metrics import BACKFILL, Gauges

if TYPE_CHECKING:
    from reviewllm.backfill.night import Manifest
    from reviewllm.cluster import ClusterConfig
    from reviewllm.generation.pipeline import RunCounts
    from reviewllm.place import Place
    from reviewllm.progress import Step


class Monitor:
    """Hears of the run about twice a second (`run_tasks`'s on_progress)."""

    def __init__(self, step: Step, *, data: Place, rows: int, others: int, max_failed_fraction: float) -> None:
        """Take what the run has to write; needs a connected Ray.

        Args:
            data: where the night goes.
            rows: rows of the shards that this run writes.
            others: further rows of the night: staged or published before.
            max_failed_fraction: the error budget, 0 to 1, of all rows of the night.
        """
        self._step, self._rows, self._others, self._budget = step, rows, others, max_failed_fraction
        self._lost = 0
        self._gauges = Gauges(BACKFILL, data=label_of(data))

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
        self._step.show(done, self._rows, f"{failed} failed, {speed:.0f} tokens/s")
        self._tell(done, failed, speed, seconds_left=self._step.seconds_left)
        if counts.engines.prefix_queries:
            self._gauges.set("prefix_cache_hit_ratio", counts.engines.prefix_hits / counts.engines.prefix_queries)
        if over_budget(failed, done + self._others, self._rows + self._others, self._budget):
            raise BudgetError(budget_message(failed, done + self._others, counts.failures, self._budget))

    def _tell(self, done: int, failed: int, speed: float, *, seconds_left: float | None) -> None:
        for state, rows in {"done": done - failed, "failed": failed, "left": self._rows - done}.items():
            self._gauges.set("rows", max(0, rows), state=state)
        self._gauges.set("tokens_per_second", speed)
        self._gauges.set("engine_restarts", self._lost)
        self._gauges.set("max_failed_fraction", self._budget)
        if seconds_left is not None:
            self._gauges.set("seconds_left", seconds_left)


def tell_published(cluster: ClusterConfig, data: Place, manifest: Manifest) -> None:
    """Tell the cluster that a night is published; nobody could scrape a local Ray that ends with the job.

    This is a session of its own, of about a second, as a night is published without Ray: a cluster that is lost meanwhile
    must not end that. A cluster that cannot be reached is warned about.
    """
    midnight = datetime.datetime.combine(manifest.date, datetime.time(), datetime.UTC)
    try:
        if cluster_address(cluster) is None:
            return
        with ray_session(cluster):
            gauges = Gauges(BACKFILL, data=label_of(data))
            gauges.set("published_timestamp_seconds", manifest.published_at.timestamp())
            gauges.set("published_night_timestamp_seconds", midnight.timestamp())
    except ConfigError as error:
        print(f"  warning: the night is published, and Prometheus will not hear of it: {error}")


def label_of(data: Place) -> str:
    """A place as a metric's label: the whole path, or the URI without its options."""
    return str(data.local or data.where)
