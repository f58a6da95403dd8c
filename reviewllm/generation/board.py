"""What the engines of a run and its driver tell each other: counts one way, "stop" the other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple


class BoardCounts(NamedTuple):
    """What the engines have told so far; `lost` are engines that died or hung, `deaths` those since a shard was finished."""

    rows: int = 0
    failed: int = 0
    tokens: int = 0
    prefix_queries: int = 0
    prefix_hits: int = 0
    lost: int = 0
    deaths: int = 0
    engines: int = 0
    ready_at: float = 0.0  # when the first engine was ready, in seconds since 1970; 0 before


class Board:
    """Ray actor; lives on the driver's node and ends with the driver."""

    def __init__(self) -> None:
        self._counts = BoardCounts()
        self._stop = False
        self._reason = ""

    def started(self, restarted: bool) -> None:
        """An engine is ready; `restarted`: in the place of one that was lost."""
        counts = self._counts
        lost = int(restarted)
        self._counts = counts._replace(
            engines=counts.engines + 1 - lost,
            lost=counts.lost + lost,
            deaths=counts.deaths + lost,
            ready_at=counts.ready_at or time.time(),
        )

    def finished_shard(self) -> None:
        """An engine has finished a shard."""
        self._counts = self._counts._replace(deaths=0)

    def tell(self, more: dict[str, int]) -> bool:
        """Add to the counts; returns whether to stop taking shards."""
        self._counts = self._counts._replace(**{name: getattr(self._counts, name) + value for name, value in more.items()})
        return self._stop

    def stop(self) -> None:
        """Let the engines finish the shards that they have, and take no other."""
        self._stop = True

    def lose(self, reason: str) -> None:
        """An engine is about to end for this reason."""
        self._reason = reason

    def reason(self) -> str:
        """Why the last engine was lost; empty where it could not say."""
        return self._reason

    def counts(self) -> dict[str, float]:
        """The counts so far."""
        return self._counts._asdict()


@contextmanager
def open_board() -> Iterator[Any]:
    """A board on this driver's own node, as with another node the whole run would be lost."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    board = ray.remote(num_cpus=0, scheduling_strategy=here)(Board).remote()
    try:
        yield board
    finally:
        ray.kill(board)
