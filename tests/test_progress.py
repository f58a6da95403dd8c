"""What a step says of the time that it still takes, by a clock that the test moves."""

from __future__ import annotations

import re

import pytest

from reviewllm.progress import Pace, Step


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def seconds_left(seen: list[tuple[float, int]], *, total: int) -> list[float | None]:
    pace = Pace()
    return [pace.seconds_left(done, total, now) for now, done in seen]


def test_pace_of_a_slow_first_row_says_nothing() -> None:
    """An engine starts for 60 s, writes its first row in 15 s, and then two a second."""
    rows = 1200
    seen = [(float(now), max(0, min(rows, 1 + 2 * (now - 75) if now >= 75 else 0))) for now in range(0, 680, 5)]
    told = {now: left for (now, _), left in zip(seen, seconds_left(seen, total=rows), strict=True)}
    assert all(told[now] is None for now in told if now < 150)  # as long again as the first row took
    assert told[150] == (rows - 151) / 2
    assert all(left == max(0, rows - 1 - 2 * (now - 75)) / 2 for now, left in told.items() if left is not None)


def test_pace_of_rows_that_end_together_waits_for_the_next() -> None:
    """256 rows at once, 20 s each: the first 250 within a second are no rate of 250 a second."""
    seen = [(0.0, 0), (20.0, 5), (20.5, 130), (21.0, 250), (39.0, 255), (40.0, 500), (60.0, 750)]
    assert seconds_left(seen, total=1000) == [None, None, None, None, None, 500 * 20 / 495, 250 * 40 / 745]


def test_pace_of_a_few_rows_waits_for_more() -> None:
    assert seconds_left([(0, 0), (1, 1), (9, 9), (10, 11)], total=20) == [None, None, None, 9 * 9 / 10]


def test_pace_of_a_run_that_goes_on_counts_what_it_does_itself() -> None:
    assert seconds_left([(0, 500), (5, 501), (10, 511)], total=600) == [None, None, 89 * 5 / 10]


def test_pace_begins_again_where_something_else_is_counted() -> None:
    """As an evaluation does, whose engine is followed by endpoints."""
    pace = Pace()
    for now, done in ((0, 0), (1, 10), (2, 20)):
        left = pace.seconds_left(done, 100, now)
    assert left == 80 * 1 / 10
    assert [pace.seconds_left(done, 50, now) for now, done in ((3, 0), (4, 1), (14, 21))] == [None, None, 29 * 10 / 20]
    assert pace.seconds_left(3, 50, 15) is None  # the next endpoint, of as many rows


def test_pace_at_the_end_is_nothing() -> None:
    assert seconds_left([(0, 0), (1, 3)], total=3) == [None, 0.0]


def test_step_writes_lines_without_a_guess_until_there_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    step = Step("evaluate", clock)
    for now, done in ((0, 0), (31, 1), (62, 101), (93, 201)):
        clock.now = 1000.0 + now
        step.show(done, 1000, "engine, 0 failed")
    assert capsys.readouterr().out.splitlines() == [
        "  evaluate: 1 of 1000, 31 s, engine, 0 failed",
        f"  evaluate: 101 of 1000, 62 s, {899 * 31 / 100:.0f} s left, engine, 0 failed",
        f"  evaluate: 201 of 1000, 93 s, {799 * 62 / 200:.0f} s left, engine, 0 failed",
    ]


def test_bar_says_what_lines_say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    clock = Clock()
    step = Step("evaluate", clock)
    for now, done in ((0, 0), (75, 1), (150, 151)):
        clock.now = 1000.0 + now
        step.show(done, 1200, "0 failed")
        if now == 75:
            assert re.search(r"1/1200 \[\d\d:\d\d, 0 failed\]", str(step._bar))
    assert re.search(rf"151/1200 \[\d\d:\d\d, {1049 / 2:.0f} s left, 0 failed\]", str(step._bar))
    step.close()
