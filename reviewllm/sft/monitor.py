"""A training while it runs, as metrics on Ray's own Prometheus endpoint."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from reviewllm.errors import ReviewLLMError
from reviewllm.metrics import TRAIN, Gauges

if TYPE_CHECKING:
    from reviewllm.place import Place


class TrainingMonitor:
    """Hears what the first worker tells (`loop.train`); made by `monitoring`."""

    def __init__(self, gauges: Gauges) -> None:
        """Take the gauges of the training."""
        self._gauges = gauges
        self._gauges.set("last_step_timestamp_seconds", time.time())

    def hear(self, message: dict[str, Any]) -> None:
        """Set the gauges by one message."""
        if message["event"] == "start":
            done = len(message["curve"])
            if done:
                self._gauges.set("loss", message["curve"][-1]["loss"])
        else:
            done = int(message["step"])
            self._gauges.set("loss", message["loss"])
            self._gauges.set("tokens_per_second", message["tokens"] / message["seconds"])
        self._gauges.set("steps", done, state="done")
        self._gauges.set("steps", message["steps"] - done, state="left")
        self._gauges.set("last_step_timestamp_seconds", time.time())


@contextmanager
def monitoring(run: Place) -> Iterator[TrainingMonitor]:
    """Monitor a training in the block, repeating its gauges between steps; needs a connected Ray, also at its end.

    After the block no step is left, after an error in it `failed` says which.

    Args:
        run: the training run's folder, which is its label.
    """
    with Gauges(TRAIN, run=str(run.local or run.where)) as gauges:
        try:
            yield TrainingMonitor(gauges)
        except ReviewLLMError as error:
            gauges.set("failed", 1, error=type(error).__name__)
            raise
        gauges.set("steps", 0, state="left")
