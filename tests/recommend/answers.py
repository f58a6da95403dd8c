"""What engines would answer, without Ray: the rule's own answers, or texts of the test's."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from reviewllm.generation.engine import Completion
from reviewllm.generation.generate_shard import ShardGenerator
from reviewllm.generation.render_shard import ShardRenderer
from reviewllm.generation.rows import generation_rows
from reviewllm.generation.score_shard import ShardScorer
from reviewllm.generation.tasks import Piece, Task, from_stream, task_table
from reviewllm.recommend.answering import Answerer
from reviewllm.scoring.scorer import without_scores
from reviewllm.table_files import write_table
from reviewllm.tables import GENERATIONS


class StoppedError(Exception):
    """An engine is needed."""


def no_engine() -> AbstractContextManager[None]:
    raise StoppedError


def answer_by_rule(answerer: Answerer, work: Path) -> None:
    """Do what the actors do to every shard that has no answers."""
    spec = answerer.spec(work)
    render, score = ShardRenderer(spec), ShardScorer(spec)
    for shard in sorted(file.name for file in (work / "examples").iterdir()):
        if not (work / "answers" / shard).exists():
            rendered = render(task_table([Task([Piece(shard)], 0, shard)]))
            score(asyncio.run(ShardGenerator(spec)(rendered)))


def answer_with(answerer: Answerer, work: Path, texts: Mapping[str, str], otherwise: str) -> None:
    """Answer every example with the text of its id."""
    render = ShardRenderer(answerer.spec(work))
    for shard in [file.name for file in (work / "examples").iterdir()]:
        prompts = from_stream(render(task_table([Task([Piece(shard)], 0, shard)])).to_pylist()[0]["prompts"])
        names = prompts["example_id"].to_pylist()
        results = [Completion(texts.get(name, otherwise), [], "stop") for name in names]
        rows = generation_rows(prompts, [0] * len(names), results, answerer.variant)
        write_table(without_scores(rows), work / "answers" / shard, GENERATIONS)
