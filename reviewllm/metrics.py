"""What the jobs tell Prometheus, through the metrics endpoint that Ray has on every node.

Ray puts `ray_` before a name and adds labels of its own (WorkerId, SessionName, NodeAddress, ...). A gauge that was set appears
there within 10 s (RAY_metrics_report_interval_ms), and is gone 20 s after it was last set: what is to be seen for longer
has to be set again. When a driver leaves Ray, what it set last is sent at once. A value that is not finite never appears.
Nothing of this ends a job.
"""

from __future__ import annotations

import sys
import threading
from typing import Any, NamedTuple
from urllib.parse import quote

PREFIX = "ray_"  # what Ray puts before every name
_SECONDS_BETWEEN_REPEATS = 5.0  # half of Ray's interval, so that each report has every gauge


class Metric(NamedTuple):
    """A gauge: its name without Ray's prefix, its labels, the unit of its value, and what it says."""

    name: str
    labels: tuple[str, ...]
    unit: str
    meaning: str


BACKFILL = {
    metric.name.removeprefix("reviewllm_backfill_"): metric
    for metric in (
        Metric("reviewllm_backfill_rows", ("data", "state"), "rows", "of this run: done, failed, left"),
        Metric("reviewllm_backfill_tokens_per_second", ("data",), "tokens/s", "prompt and completion tokens, all engines"),
        Metric("reviewllm_backfill_seconds_left", ("data",), "s", "at the present speed; not there before it is known"),
        Metric(
            "reviewllm_backfill_prefix_cache_hit_ratio",
            ("data",),
            "0 to 1",
            "prompt tokens that the engines found in their caches; not there before the first was asked for",
        ),
        Metric("reviewllm_backfill_engine_restarts", ("data",), "engines", "died or hung and were replaced, in this run"),
        Metric("reviewllm_backfill_max_failed_fraction", ("data",), "0 to 1", "the error budget: --max-failed-fraction"),
        Metric("reviewllm_backfill_published_timestamp_seconds", ("data",), "Unix time", "when a night was published"),
        Metric(
            "reviewllm_backfill_published_night_timestamp_seconds", ("data",), "Unix time", "00:00 UTC of that night's date"
        ),
    )
}
TRAIN = {
    metric.name.removeprefix("reviewllm_train_"): metric
    for metric in (
        Metric("reviewllm_train_loss", ("run",), "nats/token", "of the last optimizer step"),
        Metric(
            "reviewllm_train_steps",
            ("run", "state"),
            "steps",
            "optimizer steps: done, left; none is left after an early stop",
        ),
        Metric("reviewllm_train_tokens_per_second", ("run",), "tokens/s", "of the last step, all workers"),
        Metric(
            "reviewllm_train_last_step_timestamp_seconds", ("run",), "Unix time", "of the last step, or of the (re)start"
        ),
        Metric("reviewllm_train_failed", ("run", "error"), "1", "the training ended with this error"),
    )
}


class Gauges:
    """Sets declared gauges; needs a connected Ray. A context that is entered repeats them until it is left."""

    def __init__(self, declared: dict[str, Metric], **labels: str) -> None:
        """Take the gauges, and the labels that all of their values have."""
        from ray.util.metrics import Gauge

        self._gauges = {key: Gauge(one.name, one.meaning, tag_keys=one.labels) for key, one in declared.items()}
        self._labels = labels
        self._values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self._lost = False
        self._lock = threading.Lock()
        self._left = threading.Event()
        self._repeating = threading.Thread(target=self._repeat, daemon=True)

    def set(self, key: str, value: float, **labels: str) -> None:
        """Set a gauge, named as in its declaration; where Ray does not take it, that is said once.

        Args:
            labels: those that are the value's own.
        """
        tags = tuple((name, as_label(text)) for name, text in {**self._labels, **labels}.items())
        with self._lock:
            self._values[key, tags] = value
            self._send(key, tags)

    def _send(self, key: str, tags: tuple[tuple[str, str], ...]) -> None:
        if self._lost:
            return
        try:
            self._gauges[key].set(self._values[key, tags], tags=dict(tags))
        except Exception as error:  # noqa: BLE001  (a night must not end because nobody can watch it)
            self._lost = True
            print(f"warning: Ray does not take the metrics, and the job goes on: {error!r}", file=sys.stderr, flush=True)

    def __enter__(self) -> Gauges:
        """Begin to repeat."""
        self._repeating.start()
        return self

    def __exit__(self, *_: Any) -> None:
        """Stop, before Ray is left."""
        self._left.set()
        self._repeating.join()

    def _repeat(self) -> None:
        while not self._left.wait(_SECONDS_BETWEEN_REPEATS):
            with self._lock:
                for key, tags in self._values:
                    self._send(key, tags)


def as_label(text: str) -> str:
    """A label's value: Ray takes ASCII alone, so other letters are written as in a URI.

    >>> as_label("/data/für uns")
    '/data/f%C3%BCr uns'
    """
    return "".join(letter if letter.isascii() else quote(letter, errors="replace") for letter in text)
