"""Shards of asked examples through an engine: one folder has what is asked and what is answered, until the run is done.

    <work>/examples/    what is asked, in shards that are named by their content
           answers/     what the engine answered to each: an interrupted run goes on from there

The folder's name must say what decides an answer beside the shard itself, so that other work never finds it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.model import Variant
from reviewllm.generation.pipeline import RunCounts
from reviewllm.generation.tasks import Answers, GenerationSpec, Piece, Task, new_run
from reviewllm.generation.unfinished import write_unfinished
from reviewllm.table_files import read_table
from reviewllm.tables import GENERATIONS

Cluster = Callable[[], AbstractContextManager[None]]

_ANSWER = ("example_id", "review", "error", "error_class", "prompt_tokens", "completion_tokens", "generated_at")


class Answerer(NamedTuple):
    """Who answers, and in which form; `merged` is the folder in which base and adapter become one model for the engine."""

    variant: Variant
    generation: GenerationConfig
    answers: Answers
    merged: Path

    def spec(self, work: Path) -> GenerationSpec:
        """What the engines are sent."""
        return GenerationSpec(
            generation=self.generation,
            model=self.variant.base,
            live_adapters=True,
            variants=[self.variant],
            source=str((work / "examples").resolve()),
            target=str((work / "answers").resolve()),
            for_publication=False,
            answers=self.answers,
            scored=False,
            run=new_run(),
        )


def answer_shards(
    shards: Sequence[str],
    answerer: Answerer,
    work: Path,
    *,
    cluster: Cluster,
    on_progress: Callable[[RunCounts], None] | None = None,
) -> RunCounts:
    """Have the shards of `work/examples` answered that are not answered yet; returns what the engines did now.

    Raises:
        ReviewLLMError: the engine cannot be used; finished shards are kept.
    """
    tasks = [Task([Piece(shard)], 0, shard) for shard in shards]
    return write_unfinished(tasks, answerer.spec(work), cluster=cluster, merged=answerer.merged, on_progress=on_progress)


def read_answers(work: Path, shard: str) -> dict[str, dict[str, Any]]:
    """The answers to a shard by example_id: of the generations what is needed; `review` is the answer, null with an `error`.

    Raises:
        SchemaError: they are not there.
    """
    rows = read_table([work / "answers" / shard], GENERATIONS.only(_ANSWER)).to_pylist()
    return {row["example_id"]: row for row in rows}
