"""What of a run is still to be written: an interrupted run goes on after its last finished shard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from reviewllm.errors import SchemaError
from reviewllm.generation.failures import TRANSIENT
from reviewllm.generation.merged import merged_model
from reviewllm.generation.pipeline import RunCounts, run_tasks
from reviewllm.generation.tasks import GenerationSpec, Task
from reviewllm.place import Place
from reviewllm.tables import GENERATIONS


def is_finished(place: Place, output: str, *, rows: int | None = None, accept_transient: bool = False) -> bool:
    """Whether an output is there and whole, and has no failed row that another try may mend.

    Args:
        rows: those that it must have; None: any number.
        accept_transient: take it with such rows.

    Raises:
        StorageError: that cannot be known.
    """
    try:
        if place.parquet(output).schema_arrow.names != GENERATIONS.schema.names:
            return False
        classes = place.read_columns(output, GENERATIONS, ["error_class"])["error_class"]
    except SchemaError:
        return False
    return rows in (None, len(classes)) and (accept_transient or TRANSIENT.isdisjoint(classes.unique().to_pylist()))


def write_unfinished(
    tasks: Sequence[Task],
    spec: GenerationSpec,
    *,
    cluster: Callable[[], AbstractContextManager[None]],
    merged: Path | None = None,
    on_progress: Callable[[RunCounts], None] | None = None,
) -> RunCounts:
    """Write the outputs that are not finished; returns what the engines did now.

    The target's name must say what decides the outputs, and an output's name what is in its examples.

    Args:
        spec: its target is a local folder.
        cluster: connects to Ray; only entered where an engine has to write.
        merged: folder in which base and adapter of the one variant become one model for the engine; None: adapters are served live.

    Raises:
        ReviewLLMError: the engine cannot be used; finished shards are kept.
    """
    target = Place(spec.target)
    todo = [task for task in tasks if not is_finished(target, task.output)]
    if not todo:
        return RunCounts()
    with cluster():
        if merged and spec.generation.engine != "rule":
            (variant,) = spec.variants
            spec = spec.model_copy(update={"model": merged_model(variant, merged), "live_adapters": False})
        return run_tasks(todo, spec, on_progress=on_progress)
