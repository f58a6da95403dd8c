"""Requests spread evenly over time, so that an endpoint's limits per minute are not run into."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


class RateLimiter:
    """Lets requests through one after another, each as long after the one before as that one takes of a minute.

    There is no burst, not even after a rest: endpoints count by the second what they call a limit per minute.
    """

    def __init__(
        self,
        *,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Take the limits; None is none. `now` and `sleep` are a clock, in seconds."""
        self._seconds_per_request = 60 / requests_per_minute if requests_per_minute else 0.0
        self._seconds_per_token = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._now, self._sleep = now, sleep
        self._turn = asyncio.Lock()
        self._free_at = 0.0

    async def wait(self, tokens: int) -> None:
        """Return when a request of so many tokens may be sent; those who wait come in their order."""
        async with self._turn:
            while (seconds := self._free_at - self._now()) > 0:
                await self._sleep(seconds)
            self._free_at = self._now() + max(self._seconds_per_request, tokens * self._seconds_per_token)

    def pause(self, seconds: float) -> None:
        """Let nothing through for so long: the endpoint asked for it."""
        self._free_at = max(self._free_at, self._now() + seconds)
