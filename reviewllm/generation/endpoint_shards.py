"""Shards through an endpoint, in the process of the job: no other process, and so no log of one, ever has the key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa
from pydantic import SecretStr

from reviewllm.generation.board import BoardCounts
from reviewllm.generation.endpoint import Endpoint, EndpointPrompt, usable_drafts
from reviewllm.generation.endpoint_client import Answer
from reviewllm.generation.endpoint_config import EndpointConfig
from reviewllm.generation.endpoint_journal import Costs
from reviewllm.generation.engine import Completion
from reviewllm.generation.journal import Result
from reviewllm.generation.pipeline import RunCounts, add_shard
from reviewllm.generation.render_shard import ShardRenderer
from reviewllm.generation.rows import generation_rows, unrendered
from reviewllm.generation.tasks import GenerationSpec, Task, from_stream, task_table, to_stream
from reviewllm.prompts.tokenizer import load_tokenizer

_LOOK_SECONDS = 0.5

Written = TypeVar("Written")


class EndpointRun(NamedTuple):
    """What was written through an endpoint, and what it cost (`Endpoint.costs`)."""

    counts: RunCounts
    costs: dict[str, Costs]


def write_shards(
    tasks: Sequence[Task],
    spec: GenerationSpec,
    endpoint: EndpointConfig,
    *,
    key: SecretStr | None,
    journal: Path,
    score: Callable[[pa.Table], pa.Table],
    on_progress: Callable[[RunCounts], None] | None = None,
) -> EndpointRun:
    """Write every task's output through one endpoint; blocks until all are there.

    The prompts are those of the engines, id for id, as text: the base's tokenizer cuts them to their budget and then decodes
    them without its special tokens. The marker of the response at their end stays, so that all models of an evaluation are
    asked the same; a chat model takes it as the place where the review goes.

    Args:
        tasks: shards of which `spec.variants` are the endpoint's, of `endpoint_variant`.
        key: of `keys_apart`.
        journal: file of what the endpoint has answered; a further run asks only for the rest.
        score: a `ShardScorer`, or anything that does what it does with a batch.
        on_progress: called about twice a second; a ReviewLLMError that it raises stops the run.

    Raises:
        SchemaError: a shard does not fit the table.
        ConfigError: the endpoint takes no prompt: the key, the model's name or a parameter is wrong.
        EngineError: it takes none any more.
        StorageError: the journal cannot be read or written.
    """
    return asyncio.run(_write_shards(tasks, spec, endpoint, key, journal, score, on_progress or (lambda counts: None)))


async def _write_shards(
    tasks: Sequence[Task],
    spec: GenerationSpec,
    config: EndpointConfig,
    key: SecretStr | None,
    journal: Path,
    score: Callable[[pa.Table], pa.Table],
    show: Callable[[RunCounts], None],
) -> EndpointRun:
    started = time.monotonic()
    counts = RunCounts()
    render = ShardRenderer(spec)
    tokenizer = load_tokenizer(str(spec.variants[0].base))
    async with aclosing(Endpoint(config, spec.generation, key=key, journal=journal)) as endpoint:

        def so_far() -> RunCounts:
            told = BoardCounts(rows=endpoint.rows, failed=endpoint.failed, tokens=endpoint.tokens, engines=1)
            return counts._replace(engines=told, seconds=time.monotonic() - started)

        for task in tasks:
            rendered = render(task_table([task]))
            prompts = from_stream(rendered["prompts"][0].as_py())
            variant = spec.variants[task.variant]
            seeds = variant.seeds(prompts["example_id"].to_pylist(), spec.generation)
            results = await _followed(_results(prompts, seeds, endpoint, tokenizer), lambda: show(so_far()))
            rows = generation_rows(prompts, seeds, results, variant, drafts=spec.generation.drafts)
            generations = to_stream(rows)
            batch = rendered.select(["variant", "output"])
            scored = score(batch.append_column("generations", pa.array([generations], pa.large_binary())))
            counts = add_shard(counts, scored.to_pylist()[0])
            show(so_far())
        return EndpointRun(so_far(), endpoint.costs())


async def _results(prompts: pa.Table, seeds: list[int], endpoint: Endpoint, tokenizer: Any) -> list[Result]:
    """The result of every row of a shard."""
    all_ids = prompts["prompt_ids"].to_pylist()
    asked = [number for number, ids in enumerate(all_ids) if ids is not None]
    texts = [
        EndpointPrompt(
            tokenizer.decode(all_ids[number], skip_special_tokens=True, clean_up_tokenization_spaces=False),
            len(all_ids[number]),
            seeds[number],
        )
        for number in asked
    ]
    written = dict(zip(asked, await endpoint.write(texts), strict=True))
    results: list[Result] = []
    for number in range(prompts.num_rows):
        answer = written[number] if number in written else unrendered(prompts, number)
        results.append(_completion(answer, tokenizer) if isinstance(answer, Answer) else answer)
    return results


def _completion(answer: Answer, tokenizer: Any) -> Completion:
    """An answer as a completion; its ids are those that the base's tokenizer gives its texts."""
    ids = [token for draft in answer.drafts for token in tokenizer.encode(draft.text, add_special_tokens=False)]
    drafts = usable_drafts(answer)
    text, reason = drafts[0]
    return Completion(text, ids, reason, answer.completion_tokens, drafts=drafts if answer.more else ())


async def _followed(work: Coroutine[Any, Any, Written], look: Callable[[], None]) -> Written:
    """What `work` gives; meanwhile somebody looks at it now and then, and may end it by an exception."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait([task], timeout=_LOOK_SECONDS)
            look()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return task.result()
