"""What a person sees while a job runs: one line and a bar per step, with rows and seconds."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 30.0


class Step:
    """A running step: moves its bar, and collects what its closing line says."""

    def __init__(self, name: str) -> None:
        """Start the clock of step `name`."""
        self.name = name
        self.result = ""
        self.started = time.monotonic()
        self._bar: tqdm[Any] | None = None
        self._next_line = self.started + _SECONDS_BETWEEN_LINES
        self._first: tuple[int, float] | None = None  # what was done when the first was shown, and when that was

    @property
    def seconds(self) -> float:
        """Since the step began."""
        return time.monotonic() - self.started

    def show(self, done: int, total: int, text: str = "") -> None:
        """Move the bar; where the screen is no terminal, as in a job's log, write a line now and then instead."""
        now = time.monotonic()
        first, since = self._first = self._first or (done, now)
        if not sys.stderr.isatty():
            if now >= self._next_line:
                self._next_line = now + _SECONDS_BETWEEN_LINES
                left = f", {(total - done) * (now - since) / (done - first):.0f} s left" if done > first else ""
                print(f"  {self.name}: {done} of {total}, {self.seconds:.0f} s{left}, {text}".rstrip(", "), flush=True)
            return
        if self._bar is None:
            self._bar = tqdm(desc=f"  {self.name}", initial=done, leave=False, dynamic_ncols=True, file=sys.stderr)
        self._bar.total = total
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(done - self._bar.n)

    def say(self, text: str) -> None:
        """Say something on a line of its own, above the bar."""
        tqdm.write(f"  {self.name}: {text}", file=sys.stdout)
        sys.stdout.flush()

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()


@contextlib.contextmanager
def step(name: str) -> Iterator[Step]:
    """Run a step: a bar while it works, then one line with its seconds and its result."""
    running = Step(name)
    try:
        yield running
    finally:
        running.close()
    print(f"{name:<22} {running.seconds:7.1f} s   {running.result}", flush=True)
