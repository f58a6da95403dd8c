"""Every contender writes what is not there yet: rules here, engines on Ray, endpoints from this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
from pydantic import SecretStr

from reviewllm.evaluation.baselines import Reviews
from reviewllm.evaluation.by_rule import write_by_rule
from reviewllm.evaluation.contenders import Contender
from reviewllm.evaluation.results import Cost
from reviewllm.evaluation.staging import Staging
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.endpoint_check import check_endpoint
from reviewllm.generation.endpoint_config import EndpointConfig
from reviewllm.generation.endpoint_shards import write_shards
from reviewllm.generation.merged import merged_model
from reviewllm.generation.pipeline import RunCounts, run_tasks
from reviewllm.generation.score_shard import ShardScorer
from reviewllm.generation.tasks import GenerationSpec, Task, new_run


class Written(NamedTuple):
    """What this run wrote itself, and what the answers of endpoints in it have cost, whenever they were paid for."""

    counts: RunCounts
    costs: dict[str, Cost]


def write_all(
    contenders: Sequence[Contender],
    staging: Staging,
    *,
    reviews: Reviews,
    generation: GenerationConfig,
    endpoints: Mapping[str, EndpointConfig],
    keys: Mapping[str, SecretStr | None],
    journals: Path,
    cluster: Callable[[], AbstractContextManager[None]],
    on_progress: Callable[[str, RunCounts, int], None],
    merged: Path | None = None,
) -> Written:
    """Write every contender's generations of every shard into the staging folder.

    Every endpoint is looked at before anything is written, and asked last: what costs nothing fails first.

    Args:
        reviews: what baselines copy from.
        endpoints: those of the contenders, by name.
        keys: of `keys_apart`, by name.
        journals: folder of what endpoints have answered, `<name>.jsonl`; it outlives the evaluation.
        cluster: connects to Ray; only entered where an engine has to write.
        on_progress: told what is being asked, its counts, and its rows in all.
        merged: folder in which base and each adapter become one model, with an engine of its own; None: one engine serves the base
            and all adapters live.

    Raises:
        ReviewLLMError: an endpoint or an engine cannot be used; what is written so far is kept.
    """
    spec = GenerationSpec(
        generation=generation,
        model=contenders[0].variant.base,
        live_adapters=True,
        variants=[contender.variant for contender in contenders],
        source=str(staging.examples.resolve()),
        target=str(staging.folder.resolve()),
        for_publication=False,
        reference_tokens=staging.reference_tokens,
        history_worth=staging.history_worth,
        run=new_run(),
    )
    for name, endpoint in endpoints.items():
        check_endpoint(name, endpoint, keys[name])
    by_rule = staging.tasks(contenders, ["baseline"])
    write_by_rule(by_rule, contenders, reviews, examples=staging.examples, to=staging.folder)
    counts = RunCounts()
    if tasks := staging.tasks(contenders, ["base", "adapter"]):
        with cluster():
            for part, own in by_engine(tasks, spec, merged if generation.engine != "rule" else None):
                counts = _sum(counts, run_tasks(part, own, on_progress=_told(on_progress, "engine", part, staging)))
    costs = {}
    for name, endpoint in endpoints.items():
        tasks = [task for task in staging.tasks(contenders, ["endpoint"]) if contenders[task.variant].name == name]
        run = write_shards(
            tasks,
            spec,
            endpoint,
            key=keys[name],
            journal=journals / f"{name}.jsonl",
            score=ShardScorer(spec),
            on_progress=_told(on_progress, name, tasks, staging),
        )
        counts = _sum(counts, run.counts)
        costs[name] = Cost(**run.costs["used"]._asdict())
    return Written(counts, costs)


def by_engine(
    tasks: Sequence[Task], spec: GenerationSpec, merged: Path | None
) -> Iterator[tuple[list[Task], GenerationSpec]]:
    """What each engine writes: all of it, or with `merged` what one adapter is asked for, and what the bare base is.

    Raises:
        EngineError: base and adapter cannot be made one.
    """
    if merged is None:
        yield list(tasks), spec
        return
    numbers: dict[Path | None, list[int]] = {}
    for number in sorted({task.variant for task in tasks}):
        numbers.setdefault(spec.variants[number].adapter, []).append(number)
    for own in numbers.values():
        variants = [spec.variants[number] for number in own]
        model = merged_model(variants[0], merged)
        part = [task._replace(variant=own.index(task.variant)) for task in tasks if task.variant in own]
        yield part, spec.model_copy(update={"variants": variants, "model": model, "live_adapters": False})


def _told(
    on_progress: Callable[[str, RunCounts, int], None], name: str, tasks: Sequence[Task], staging: Staging
) -> Callable[[RunCounts], None]:
    rows = sum(pq.read_metadata(staging.examples / task.pieces[0].file).num_rows for task in tasks)
    return lambda counts: on_progress(name, counts, rows)


def _sum(counts: RunCounts, more: RunCounts) -> RunCounts:
    names = ("rows", "failed", "prompt_tokens", "completion_tokens", "attributes_dropped", "seconds")
    return counts._replace(**{name: getattr(counts, name) + getattr(more, name) for name in names})
