"""Metrics to TensorBoard's event files."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from reviewllm.errors import ConfigError

Status = Literal["FINISHED", "FAILED", "KILLED"]  # of a run that has ended
Row = Mapping[str, float | None]  # "step", and any metrics of it; one that is None is skipped


class TensorBoard:
    """One folder of event files, a new file for every start.

    Events are written and synced at once: tensorboardX's SummaryWriter would keep up to two minutes of them in a queue
    that a kill loses, and block for good once its thread has met a full disk.
    """

    def __init__(self, folder: Path, parameters: Mapping[str, Any]) -> None:
        """Make the folder; `parameters` are shown with the run.

        Raises:
            ConfigError: it cannot be made.
        """
        self._folder = folder
        self._parameters = parameters
        self._events: Any = None
        self._lost = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--tensorboard-dir {folder}: cannot be made ({error}); choose another") from error

    def log(self, rows: Sequence[Row]) -> None:
        """Write rows; a disk that is full is warned about once."""
        if self._lost or not rows:
            return
        try:
            self._write(rows)
        except OSError as error:
            self._lost = True
            warn(f"TensorBoard's folder {self._folder} cannot be written; the training goes on: {error}")

    def close(self, status: Status) -> None:
        """End the file; TensorBoard knows no status."""
        if self._events is not None and not self._lost:
            self._events.close()

    def _write(self, rows: Sequence[Row]) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        if self._events is None:
            self._open(min(split(row)[0] for row in rows))
        for step, metrics in map(split, rows):
            values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
            self._events.write_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))
        self._events.flush()

    def _open(self, first_step: int) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.summary import hparams

        continued = any(self._folder.iterdir())
        # File names have seconds only, and a file of the same name would be overwritten.
        self._events = EventsWriter(str(self._folder / "events"), f".{time.time_ns()}")
        if continued:  # what SummaryWriter's purge_step writes: TensorBoard drops this step and the later ones
            start = SessionLog(status=SessionLog.START)
            self._events.write_event(Event(wall_time=time.time(), step=first_step, session_log=start))
        else:
            for summary in hparams(self._parameters, {"loss": 0.0, "validation_loss": 0.0})[:2]:
                self._events.write_event(Event(wall_time=time.time(), summary=summary))


def split(row: Row) -> tuple[int, dict[str, float]]:
    """The step of a row, and its metrics without those that are None."""
    step = row["step"]
    assert step is not None, row
    return int(step), {name: float(value) for name, value in row.items() if name != "step" and value is not None}


def warn(message: str) -> None:
    """Say what is not as it should be, where the training goes on all the same."""
    print(f"warning: {message}", file=sys.stderr, flush=True)
