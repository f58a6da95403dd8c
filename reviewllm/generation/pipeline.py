"""Shards through the actors, on Ray Data."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from reviewllm.cluster import own_error, require_resources
from reviewllm.errors import EngineError
from reviewllm.generation.shards import GenerationSpec, ShardGenerator, ShardScorer, task_table


class Task(NamedTuple):
    """One shard to write: its examples, the number of the variant that writes it, and where the result goes."""

    shard: Path
    variant: int
    output: Path


class RunCounts(NamedTuple):
    """What a run wrote; seconds include the engines' start."""

    shards: int = 0
    rows: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


def run_tasks(
    tasks: Sequence[Task], spec: GenerationSpec, *, on_shard: Callable[[int, int, str], None] | None = None
) -> RunCounts:
    """Write every task's output on the connected Ray cluster, and return the sums.

    Ray Data's rows are shards: a shard is the unit of work, of commit and of what a crash loses. Every path must be
    visible to every node.

    Args:
        on_shard: called with (shards done, shards in all, a text).

    Raises:
        ReviewLLMError: what an actor raised, as it was raised there.
    """
    import ray.data
    import ray.exceptions

    started = time.monotonic()
    counts = RunCounts()
    if not tasks:
        return counts
    config = spec.generation
    require_resources(
        cpus=config.num_engines * config.cpus_per_engine + config.num_scorers * config.cpus_per_scorer,
        gpus=config.num_engines * config.gpus_per_engine,
        flags="--num-engines, --cpus-per-engine, --gpus-per-engine, --num-scorers, --cpus-per-scorer",
    )
    # One block a shard, made here: to repartition would take a CPU that the actors may already hold, and hang.
    shards = ray.data.from_arrow([task_table([task]) for task in tasks])
    generated = shards.map_batches(
        ShardGenerator,
        fn_constructor_kwargs={"spec": spec},
        batch_size=1,
        batch_format="pyarrow",
        num_cpus=config.cpus_per_engine,
        num_gpus=config.gpus_per_engine,
        compute=ray.data.ActorPoolStrategy(
            size=config.num_engines,
            max_concurrent_calls_per_actor=config.shards_in_flight,
            max_tasks_in_flight_per_actor=config.shards_in_flight + 1,
        ),
    )
    scored = generated.map_batches(
        ShardScorer,
        batch_size=1,
        batch_format="pyarrow",
        num_cpus=config.cpus_per_scorer,
        compute=ray.data.ActorPoolStrategy(size=config.num_scorers),
    )
    try:
        for row in scored.iter_rows():
            counts = RunCounts(
                counts.shards + 1,
                *(getattr(counts, name) + row[name] for name in ("rows", "failed", "prompt_tokens", "completion_tokens")),
            )
            if on_shard:
                on_shard(counts.shards, len(tasks), f"{counts.rows} rows, {counts.failed} failed")
    except ray.exceptions.RayError as error:
        raise own_error(error, EngineError) from error
    return counts._replace(seconds=time.monotonic() - started)
