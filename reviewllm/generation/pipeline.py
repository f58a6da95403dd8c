"""Shards through the actors, on Ray Data."""

from __future__ import annotations

import json
import os
import queue
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from reviewllm.cluster import log_folder, own_error, require_resources
from reviewllm.errors import EngineError, PreemptedError, ReviewLLMError
from reviewllm.generation.board import BoardCounts, open_board
from reviewllm.generation.generate_shard import ShardGenerator
from reviewllm.generation.render_shard import ShardRenderer
from reviewllm.generation.score_shard import ShardScorer
from reviewllm.generation.tasks import GenerationSpec, Task, task_table

_LOOK_SECONDS = 0.5


_SUMMED = ("rows", "failed", "prompt_tokens", "completion_tokens", "attributes_dropped")


class RunCounts(NamedTuple):
    """What a run wrote; seconds include the start of the first engine (start_seconds), and `failures` are rows by class.

    `attributes_dropped` are rows whose prompt had no room for all attributes of the item.
    """

    shards: int = 0
    rows: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    attributes_dropped: int = 0
    seconds: float = 0.0
    start_seconds: float = 0.0
    handed_back: int = 0
    failures: Counter[str] = Counter()
    engines: BoardCounts = BoardCounts()

    @property
    def rows_seen(self) -> int:
        """Rows that the engines have told of, those of unfinished shards included."""
        return max(self.rows, self.engines.rows)


def run_tasks(
    tasks: Sequence[Task],
    spec: GenerationSpec,
    *,
    on_progress: Callable[[RunCounts], None] | None = None,
    grace_seconds: float = 30.0,
) -> RunCounts:
    """Write every task's output on the connected Ray cluster, and return the sums.

    Ray Data's rows are shards: a shard is the unit of work, of commit and of what a crash loses. Every path must be
    visible to every node. On SIGTERM, and where `on_progress` raises, no further shard is begun; those under way have
    `grace_seconds` to end.

    Args:
        on_progress: called about twice a second; a ReviewLLMError that it raises stops the run.

    Raises:
        ReviewLLMError: what an actor or `on_progress` raised.
        PreemptedError: SIGTERM came.
        EngineError: engines die again and again.
    """
    import ray.data

    if not tasks:
        return RunCounts()
    config = spec.generation
    require_resources(
        cpus=config.num_engines * config.cpus_per_engine
        + config.num_renderers * config.cpus_per_renderer
        + config.num_scorers * config.cpus_per_scorer,
        gpus=config.num_engines * config.gpus_per_engine,
        flags="--num-engines, --cpus-per-engine, --gpus-per-engine, --num-renderers, --cpus-per-renderer, --num-scorers, "
        "--cpus-per-scorer",
    )
    with open_board() as board, _sigterm(grace_seconds) as terminated:
        # One block a shard, made here: to repartition would take a CPU that the actors may already hold, and hang.
        shards = ray.data.from_arrow([task_table([task]) for task in tasks])
        written = _stages(shards, spec, board)
        return _follow(written, board, terminated, on_progress, grace_seconds, config.max_engine_deaths)


def _stages(shards: Any, spec: GenerationSpec, board: Any) -> Any:
    import ray.data

    config = spec.generation
    batch = {"batch_size": 1, "batch_format": "pyarrow"}
    rendered = shards.map_batches(
        ShardRenderer,
        fn_constructor_kwargs={"spec": spec},
        num_cpus=config.cpus_per_renderer,
        compute=ray.data.ActorPoolStrategy(size=config.num_renderers),
        **batch,
    )
    generated = rendered.map_batches(
        ShardGenerator,
        fn_constructor_kwargs={"spec": spec, "board": board},
        num_cpus=config.cpus_per_engine,
        num_gpus=config.gpus_per_engine,
        compute=ray.data.ActorPoolStrategy(
            size=config.num_engines,
            max_concurrent_calls_per_actor=config.shards_in_flight,
            max_tasks_in_flight_per_actor=config.shards_in_flight + 1,
        ),
        **batch,
    )
    return generated.map_batches(
        ShardScorer,
        fn_constructor_kwargs={"spec": spec},
        num_cpus=config.cpus_per_scorer,
        compute=ray.data.ActorPoolStrategy(size=config.num_scorers),
        **batch,
    )


def _follow(
    written: Any,
    board: Any,
    terminated: threading.Event,
    on_progress: Callable[[RunCounts], None] | None,
    grace_seconds: float,
    max_engine_deaths: int,
) -> RunCounts:
    """Add up what comes out, look at the engines now and then, and stop where there is a reason to."""
    import ray
    import ray.exceptions

    rows: queue.SimpleQueue[dict[str, Any] | BaseException | None] = queue.SimpleQueue()
    threading.Thread(target=_consume, args=(written, rows), daemon=True).start()
    started = time.time()  # wall time, as the engines' is
    counts, reason, deadline = RunCounts(), None, float("inf")
    while True:
        try:
            row = rows.get(timeout=_LOOK_SECONDS)
        except queue.Empty:
            row = {}
        if row is None or time.monotonic() > deadline:
            break
        if isinstance(row, BaseException):
            raise reason or own_error(row, EngineError) from row
        counts = add_shard(counts, row)
        try:
            engines = BoardCounts(**ray.get(board.counts.remote(), timeout=30))
        except ray.exceptions.GetTimeoutError:
            engines = counts.engines
        seconds = time.time() - started
        start_seconds = engines.ready_at - started if engines.ready_at else seconds
        counts = counts._replace(engines=engines, seconds=seconds, start_seconds=start_seconds)
        if reason is None:
            reason = _reason_to_stop(counts, terminated, on_progress, max_engine_deaths, board)
            if reason is not None:
                board.stop.remote()
                deadline = time.monotonic() + grace_seconds
    if reason is not None:
        raise reason
    return counts


def _reason_to_stop(
    counts: RunCounts,
    terminated: threading.Event,
    on_progress: Callable[[RunCounts], None] | None,
    max_engine_deaths: int,
    board: Any,
) -> ReviewLLMError | None:
    import ray

    if terminated.is_set():
        return PreemptedError("SIGTERM came; the finished shards are kept, and the same command goes on with the others")
    if counts.engines.deaths > max_engine_deaths:
        why = ray.get(board.reason.remote(), timeout=30) or "they could not say why"
        return EngineError(
            f"{counts.engines.deaths} engines died or hung without one finished shard between them (--max-engine-deaths "
            f"{max_engine_deaths}); the last one: {why}; see the workers' logs in {log_folder()}"
        )
    try:
        if on_progress:
            on_progress(counts)
    except ReviewLLMError as error:
        return error
    return None


def add_shard(counts: RunCounts, row: dict[str, Any]) -> RunCounts:
    """Counts with those of one more shard: a row of what `ShardScorer` gives, or {} for none."""
    if not row:
        return counts
    if row["handed_back"]:
        return counts._replace(handed_back=counts.handed_back + 1)
    sums = {name: getattr(counts, name) + row[name] for name in _SUMMED}
    failures = counts.failures + Counter(json.loads(row["failures"]))
    return counts._replace(shards=counts.shards + 1, failures=failures, **sums)


def _consume(written: Any, rows: queue.SimpleQueue[dict[str, Any] | BaseException | None]) -> None:
    """Thread: Ray Data's rows, then None, or what went wrong."""
    try:
        for row in written.iter_rows():
            rows.put(row)
        rows.put(None)
    except Exception as error:  # noqa: BLE001  (it is raised where the rows are taken)
        rows.put(error)


@contextmanager
def _sigterm(grace_seconds: float) -> Iterator[threading.Event]:
    """An event that SIGTERM sets, while this runs in the main thread."""
    came = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield came
        return

    def stop(*_: object) -> None:
        came.set()
        os.write(2, f"\nSIGTERM: the shards under way have {grace_seconds:g} s to end\n".encode())

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)
