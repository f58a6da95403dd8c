"""The tasks of a run whose outputs are not there yet: an interrupted run goes on after its last finished shard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from reviewllm.generation.merged import merged_model
from reviewllm.generation.pipeline import RunCounts, run_tasks
from reviewllm.generation.tasks import GenerationSpec, Task


def write_unfinished(
    tasks: Sequence[Task],
    spec: GenerationSpec,
    *,
    cluster: Callable[[], AbstractContextManager[None]],
    merged: Path | None = None,
    on_progress: Callable[[RunCounts], None] | None = None,
) -> RunCounts:
    """Write the outputs that are not there; returns what the engines did now.

    The target's name must say what decides the outputs, and an output's name what is in its examples: nothing else is looked at.

    Args:
        spec: its target is a local folder.
        cluster: connects to Ray; only entered where an engine has to write.
        merged: folder in which base and adapter of the one variant become one model for the engine; None: adapters are served live.

    Raises:
        ReviewLLMError: the engine cannot be used; finished shards are kept.
    """
    todo = [task for task in tasks if not (Path(spec.target) / task.output).is_file()]
    if not todo:
        return RunCounts()
    with cluster():
        if merged and spec.generation.engine != "rule":
            (variant,) = spec.variants
            spec = spec.model_copy(update={"model": merged_model(variant, merged), "live_adapters": False})
        return run_tasks(todo, spec, on_progress=on_progress)
