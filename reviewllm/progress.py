"""What a person sees while a job runs: one line and a bar per step, with rows and seconds."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 30.0

Show = Callable[[int, int, str], None]


class Step:
    """A running step: moves its bar, and collects what its closing line says."""

    def __init__(self, name: str) -> None:
        """Start the clock of step `name`."""
        self.name = name
        self.result = ""
        self.started = time.monotonic()
        self._bar: tqdm[Any] | None = None
        self._next_line = self.started + _SECONDS_BETWEEN_LINES

    @property
    def seconds(self) -> float:
        """Since the step began."""
        return time.monotonic() - self.started

    def show(self, done: int, total: int, text: str = "") -> None:
        """Move the bar; where the screen is no terminal, as in a job's log, write a line now and then instead."""
        if not sys.stderr.isatty():
            if time.monotonic() >= self._next_line:
                self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
                print(f"  {self.name}: {done} of {total}, {self.seconds:.0f} s, {text}".rstrip(", "), flush=True)
            return
        if self._bar is None:
            self._bar = tqdm(desc=f"  {self.name}", leave=False, dynamic_ncols=True, file=sys.stderr)
        self._bar.total = total
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(done - self._bar.n)

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


class _Board:
    """Ray actor that holds the last thing a worker wants shown."""

    def __init__(self) -> None:
        self.last: tuple[int, int, str] | None = None

    def show(self, done: int, total: int, text: str) -> None:
        self.last = (done, total, text)

    def read(self) -> tuple[int, int, str] | None:
        return self.last


@contextlib.contextmanager
def progress_board(on_show: Show | None) -> Iterator[Any]:
    """An actor that workers tell their progress; `on_show` hears of it twice a second. None for no listener."""
    if on_show is None:
        yield None
        return
    import ray

    board = ray.remote(num_cpus=0)(_Board).remote()
    done = threading.Event()

    def poll() -> None:
        while not done.wait(0.5):
            last = ray.get(board.read.remote())
            if last is not None:
                on_show(*last)

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield board
    finally:
        done.set()
        thread.join(timeout=5)
        ray.kill(board)
