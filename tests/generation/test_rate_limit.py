"""Requests are spread over time, on a clock of the test's own."""

from __future__ import annotations

import asyncio

import pytest

from reviewllm.generation.rate_limit import RateLimiter


class Clock:
    """Stands still but for those who sleep on it."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def times(requests: list[int], *, per_minute: float | None, tokens_per_minute: float | None) -> list[float]:
    """When each request is let through, in seconds after the first."""
    clock = Clock()
    limiter = RateLimiter(
        requests_per_minute=per_minute, tokens_per_minute=tokens_per_minute, now=clock.now, sleep=clock.sleep
    )

    async def run() -> list[float]:
        seen = []
        for tokens in requests:
            await limiter.wait(tokens)
            seen.append(clock.seconds - 100)
        return seen

    return asyncio.run(run())


def test_limiter_spreads_requests_evenly() -> None:
    assert times([1] * 4, per_minute=30, tokens_per_minute=None) == pytest.approx([0, 2, 4, 6])


def test_limiter_of_tokens_waits_as_long_as_the_request_before_was_large() -> None:
    # 6,000 tokens a minute are 100 a second
    assert times([500, 100, 0], per_minute=None, tokens_per_minute=6000) == pytest.approx([0, 5, 6])


def test_limiter_the_tighter_limit_counts() -> None:
    assert times([500, 1, 1], per_minute=30, tokens_per_minute=6000) == pytest.approx([0, 5, 5 + 2])


def test_limiter_without_limits_never_waits() -> None:
    assert times([10**9] * 3, per_minute=None, tokens_per_minute=None) == [0, 0, 0]


def test_limiter_has_no_burst_after_a_rest() -> None:
    clock = Clock()
    limiter = RateLimiter(requests_per_minute=60, tokens_per_minute=None, now=clock.now, sleep=clock.sleep)

    async def run() -> float:
        await limiter.wait(1)
        clock.seconds += 1000
        rested = clock.seconds
        for _ in range(3):
            await limiter.wait(1)
        return clock.seconds - rested

    assert asyncio.run(run()) == pytest.approx(2)


def test_limiter_pause_holds_all_and_they_come_in_their_order() -> None:
    limiter = RateLimiter(requests_per_minute=6000, tokens_per_minute=None)
    order: list[int] = []

    async def request(number: int) -> None:
        await limiter.wait(1)
        order.append(number)

    async def run() -> float:
        loop = asyncio.get_running_loop()
        limiter.pause(0.2)
        started = loop.time()
        await asyncio.gather(*(request(number) for number in range(5)))
        return loop.time() - started

    assert asyncio.run(run()) >= 0.2 + 4 * 0.01 - 0.005
    assert order == [0, 1, 2, 3, 4]
