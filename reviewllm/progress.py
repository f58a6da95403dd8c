"""What a person sees while a job runs: one line and a bar per step, with rows and seconds."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 30.0
_LEAST_DONE = 10  # a rate of so many is right to about a third
_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"  # without tqdm's own guess: an engine's start is no rate


class Pace:
    """How long a step still takes, by the rate since something of it was first done: what came before was its start.

    What is under way together also ends together, and the first of it says nothing of the others: nothing is said before the
    step has gone on for as long as the first took, nor before a few more are done.
    """

    def __init__(self) -> None:
        """Wait for the first look at the step."""
        self._total: int | None = None
        self._before, self._began = 0, 0.0
        self._first: tuple[int, float] | None = None  # what was done when something first was, and when that was

    def seconds_left(self, done: int, total: int, now: float) -> float | None:
        """Take a look at the step; None as long as there is nothing to tell it by.

        Args:
            done: of `total`. Where it is less than before, or `total` is another, something new is counted.
            now: seconds, of any clock.
        """
        if total != self._total or done < self._before:
            self._total, self._began, self._first = total, now, None
        elif done > self._before and self._first is None:
            self._first = (done, now)
        self._before = done
        if done >= total:
            return 0.0
        if self._first is None:
            return None
        first, since = self._first
        if done - first < _LEAST_DONE or now - since < since - self._began:
            return None
        return (total - done) * (now - since) / (done - first)


class Step:
    """A running step: moves its bar, and collects what its closing line says."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Start the clock, in seconds, of step `name`."""
        self.name = name
        self.result = ""
        self.seconds_left: float | None = None  # as it was shown last; None: it cannot be told yet
        self._clock = clock
        self.started = clock()
        self._pace = Pace()
        self._bar: tqdm[Any] | None = None
        self._next_line = self.started + _SECONDS_BETWEEN_LINES

    @property
    def seconds(self) -> float:
        """Since the step began."""
        return self._clock() - self.started

    def show(self, done: int, total: int, text: str = "") -> None:
        """Move the bar; where the screen is no terminal, as in a job's log, write a line now and then instead."""
        now = self._clock()
        self.seconds_left = left = self._pace.seconds_left(done, total, now)
        shown = ", ".join(([] if left is None else [f"{left:.0f} s left"]) + ([text] if text else []))
        if sys.stderr.isatty():
            self._move_bar(done, total, shown)
        elif now >= self._next_line:
            self._next_line = now + _SECONDS_BETWEEN_LINES
            print(f"  {self.name}: {done} of {total}, {self.seconds:.0f} s, {shown}".rstrip(", "), flush=True)

    def _move_bar(self, done: int, total: int, shown: str) -> None:
        if self._bar is None:
            self._bar = tqdm(
                desc=f"  {self.name}", initial=done, leave=False, dynamic_ncols=True, file=sys.stderr, bar_format=_BAR
            )
        self._bar.total = total
        self._bar.set_postfix_str(shown, refresh=False)
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
