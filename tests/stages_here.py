"""The three stages of a shard in this process, one shard after the other: for tests in which a cluster is not the point."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from reviewllm.generation.board import BoardCounts
from reviewllm.generation.generate_shard import ShardGenerator
from reviewllm.generation.pipeline import RunCounts, add_shard
from reviewllm.generation.render_shard import ShardRenderer
from reviewllm.generation.score_shard import ShardScorer
from reviewllm.generation.tasks import GenerationSpec, Task, task_table


def run_here(
    tasks: Sequence[Task],
    spec: GenerationSpec,
    *,
    on_progress: Callable[[RunCounts], None] | None = None,
    grace_seconds: float = 30.0,
) -> RunCounts:
    """As `run_tasks`, with the actors' own classes, and without Ray: an error stops it at once, and there is no SIGTERM."""
    return asyncio.run(_run(tasks, spec, on_progress)) if tasks else RunCounts()


async def _run(tasks: Sequence[Task], spec: GenerationSpec, on_progress: Callable[[RunCounts], None] | None) -> RunCounts:
    started = time.time()
    renderer, generator, scorer = ShardRenderer(spec), ShardGenerator(spec), ShardScorer(spec)
    ready = time.time()
    counts = RunCounts()
    for task in tasks:
        (row,) = scorer(await generator(renderer(task_table([task])))).to_pylist()
        counts = add_shard(counts, row)
        told = generator._engine.progress()._asdict()
        engines = BoardCounts(rows=counts.rows, failed=counts.failed, engines=1, ready_at=ready, **told)
        counts = counts._replace(engines=engines, seconds=time.time() - started, start_seconds=ready - started)
        if on_progress:
            on_progress(counts)
    return counts
