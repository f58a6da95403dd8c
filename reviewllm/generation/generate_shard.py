"""Second stage of a shard: its prompts through the engine."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import json
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pyarrow as pa

from reviewllm.errors import EngineError
from reviewllm.failpoints import reached
from reviewllm.generation.drafts import as_result
from reviewllm.generation.engine import Completion, Engine, Progress, RefusedError, Request, RowError
from reviewllm.generation.failures import ENGINE_FAILED, REFUSED, Failure
from reviewllm.generation.journal import Journal, Result, journal_name
from reviewllm.generation.model import Variant
from reviewllm.generation.rows import generation_rows, unrendered
from reviewllm.generation.rule_answers import RULE_ANSWERS, RULE_COLUMNS
from reviewllm.generation.tasks import GenerationSpec, from_stream, to_stream
from reviewllm.place import Place
from reviewllm.prompts.chat import end_token
from reviewllm.prompts.tasks import TASKS, TaskName
from reviewllm.prompts.tokenizer import load_tokenizer
from reviewllm.sft.canary import CANARY_TOKENS, check_canaries

_TELL_SECONDS = 1.0


class _Work(NamedTuple):
    """What an engine does for one shard at the moment: the journal, and the results of the group that runs."""

    journal: Journal
    results: dict[int, Result]


class ShardGenerator:
    """Ray Data actor: one engine, several shards at once, so that it never starves at a shard's end.

    A batch is one task with its `prompts`; what it gives is the task with `generations` (an Arrow stream, without scores,
    with the references), or null there where the run is to stop and the shard was not begun.

    An engine that dies or hangs takes this process with it: Ray starts another in its place and hands it the same shards,
    whose journals tell it what to be careful of.
    """

    def __init__(self, spec: GenerationSpec, board: Any = None) -> None:
        """Start the engine.

        Args:
            board: handle of the run's `Board`; None outside of Ray.

        Raises:
            EngineError: it cannot start.
        """
        self._spec = spec
        self._board = board
        self._target = Place(spec.target)
        self._engine = _start_engine(spec)
        self._places = _Places()
        self._work: list[_Work] = []
        self._told = Progress()
        self._untold = {"rows": 0, "failed": 0}
        self._stop = False
        self._ready: asyncio.Task[None] | None = None
        self._talk: asyncio.Task[None] | None = None
        limit = spec.generation.watchdog_seconds
        threading.Thread(target=_watch, args=(self._engine, self._work, limit, board), daemon=True).start()
        if board is not None:
            import ray

            board.started.remote(ray.get_runtime_context().was_current_actor_reconstructed)

    async def __call__(self, batch: pa.Table) -> pa.Table:
        """Write the reviews of one shard.

        Raises:
            EngineError: the engine cannot write at all.
            AdapterError: an adapter does not act.
        """
        self._ready = self._ready or asyncio.ensure_future(self._check_engine())
        await asyncio.shield(self._ready)
        if self._board is not None and self._talk is None:
            self._stop = await self._board.tell.remote({})
            self._talk = asyncio.ensure_future(_talk(weakref.ref(self)))
        (task,) = batch.to_pylist()
        slim = batch.select(["variant", "output"])
        if self._stop:
            return slim.append_column("generations", pa.nulls(1, pa.large_binary()))
        prompts = from_stream(task["prompts"])
        variant = self._spec.variants[task["variant"]]
        seeds = variant.seeds(prompts["example_id"].to_pylist(), self._spec.generation)
        results = await self._results(
            prompts,
            seeds,
            variant,
            Journal(self._target, journal_name(task["output"]), rows=prompts.num_rows, run=self._spec.run),
        )
        generations = generation_rows(prompts, seeds, results, variant, drafts=self._spec.generation.drafts)
        if self._board is not None:
            await self.tell()  # what the last shard took is told before its rows come out
            self._board.finished_shard.remote()
        return slim.append_column("generations", pa.array([to_stream(generations)], pa.large_binary()))

    async def _results(self, prompts: pa.Table, seeds: list[int], variant: Variant, journal: Journal) -> list[Result]:
        """The result of every row."""
        adapter = str(variant.adapter) if variant.adapter and self._spec.live_adapters else None
        ids = prompts["prompt_ids"].combine_chunks()
        kind = variant.prompt.task
        by_rule = self._spec.generation.engine == "rule" and kind in RULE_ANSWERS
        examples = prompts.select(["example_id", "title", "rating", *(RULE_COLUMNS if by_rule else ())]).to_pylist()
        schemas = self._schemas(prompts, kind)
        choices = prompts["choice_ids"].combine_chunks()
        references = prompts["reference_ids"].combine_chunks()
        of_new_users = prompts["new_user_ids"].combine_chunks()

        async def write(row: int, work: _Work) -> None:
            prompt = ids[row].values
            if prompt is None:
                result: Result = unrendered(prompts, row)
            else:
                request = Request(
                    examples[row],
                    prompt.to_numpy(),
                    seeds[row],
                    adapter,
                    answer_schema=schemas[row],
                    task=kind,
                    choices=choices[row].as_py() or (),
                    reference_ids=references[row].as_py() or (),
                    new_user_ids=of_new_users[row].as_py() or (),
                )
                result = await self._write(request)
            work.results[row] = result
            self._untold["rows"] += 1
            self._untold["failed"] += isinstance(result, Failure)

        for group in list(journal.groups):
            async with self._places.place(alone=journal.suspicious):
                work = _Work(journal, {})
                await asyncio.to_thread(journal.start, group)
                self._work.append(work)
                reached("generate")
                try:
                    await asyncio.gather(*(write(row, work) for row in group))
                except EngineError as error:
                    if self._board is not None:
                        with contextlib.suppress(Exception):  # it is only for people
                            await asyncio.wait_for(self._board.lose.remote(str(error)), timeout=5)
                    _give_up(self._work, hung=False)
                finally:
                    self._work.remove(work)
                journal.finish(work.results)
        return [journal.done[row] for row in range(prompts.num_rows)]

    async def _write(self, request: Request) -> Result:
        """One row's result; a transient failure is tried again."""
        for attempt in range(1, self._spec.generation.row_attempts + 1):
            try:
                written = await self._answer(request)
            except RefusedError as error:
                return Failure("generate", REFUSED, str(error), attempt)
            except RowError as error:
                failure = Failure("generate", ENGINE_FAILED, str(error), attempt)
                continue
            return as_result(written, attempt, for_publication=self._spec.for_publication)
        return failure

    async def _answer(self, request: Request) -> list[Completion]:
        """What is written for a row: as many texts as it is asked for."""
        if self._spec.answers == "likelihood":
            return [Completion(json.dumps(await self._engine.log_likelihoods(request)), [], "stop")]
        drafts = self._spec.generation.drafts
        if not len(request.reference_ids):
            return await self._engine.write_drafts(request, drafts)
        # One behind the other: while the text is written its prompt is in the engine's cache, and nothing can push it out.
        asked = self._engine.write_drafts(request, drafts), self._likelihoods(request)
        written, (told, alone) = await asyncio.gather(*asked)
        return [one._replace(reference_log_likelihood=told, new_user_log_likelihood=alone) for one in written]

    async def _likelihoods(self, request: Request) -> tuple[float | None, float | None]:
        """Of the real review behind the prompt, and where it is asked for behind a new user's, which may be the same."""
        behind = [request]
        if len(request.new_user_ids) and not np.array_equal(request.new_user_ids, request.prompt_ids):
            behind.append(request._replace(prompt_ids=list(request.new_user_ids)))
        told = await asyncio.gather(*map(self._engine.reference_log_likelihood, behind))
        return told[0], told[-1] if len(request.new_user_ids) else None

    def _schemas(self, prompts: pa.Table, task: TaskName) -> list[str | None]:
        """The JSON Schema that each row's text must fit; None where it may be any text, or there is no prompt."""
        of_row = TASKS[task].answer_schema
        if self._spec.answers != "constrained" or of_row is None:
            return [self._spec.answer_schema(category) for category in prompts["category"].to_pylist()]
        able = prompts["prompt_ids"].is_valid().to_pylist()
        rows = prompts.select(TASKS[task].columns).to_pylist() if TASKS[task].columns else [{}] * prompts.num_rows
        return [of_row(row) if one else None for row, one in zip(rows, able, strict=True)]

    async def _check_engine(self) -> None:
        """Let the engine write a few tokens, load the adapters and replay their canaries, before any time is spent.

        Raises:
            EngineError: it starts, and dies of the first prompt: no row is to blame.
            AdapterError: an adapter is not served whole, or does not act.
        """
        if self._spec.generation.engine == "rule":
            return
        await self._engine.generate(Request({}, [0], 0, None, greedy=True))
        await self._engine.load_adapters()
        for variant in self._spec.variants:
            if variant.adapter is None:
                continue
            live = str(variant.adapter) if self._spec.live_adapters else None
            requests = [Request({}, canary.prompt, 0, live, greedy=True) for canary in variant.canaries]
            completions = await asyncio.gather(*(self._engine.generate(request) for request in requests))
            written = [completion.token_ids for completion in completions]
            check_canaries(variant.canaries, written, adapter=str(variant.adapter))

    async def tell(self) -> None:
        """Tell the board what was done since the last time, and hear whether to stop."""
        now, before = self._engine.progress(), self._told
        more = {name: new - old for name, new, old in zip(Progress._fields, now, before, strict=True)} | self._untold
        self._told, self._untold = now, {"rows": 0, "failed": 0}
        self._stop = await self._board.tell.remote(more)

    def __del__(self) -> None:
        """Shut the engine down with the actor, or its log fills with errors of a dead engine."""
        engine = getattr(self, "_engine", None)
        if engine is not None:
            engine.close()


async def _talk(generator: weakref.ref[ShardGenerator]) -> None:
    """Let an actor tell the board now and then, as long as it is there."""
    while True:
        await asyncio.sleep(_TELL_SECONDS)
        here = generator()
        if here is None:
            return
        await here.tell()
        del here


def _watch(engine: Engine, work: list[_Work], limit: float, board: Any) -> None:
    """Thread: ends this process where the engine has work and no token comes out of it for `limit` seconds."""
    seen, since = engine.progress().tokens, time.monotonic()
    while True:
        time.sleep(min(1.0, limit / 10))
        now = engine.progress().tokens
        if now != seen or not work:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > limit:
            print(f"no token from the engine for {limit:g} s; its stacks:", file=sys.stderr, flush=True)
            if board is not None:
                board.lose.remote(f"no token from the engine for {limit:g} s (--watchdog-seconds)")
            _give_up(work, hung=True)


def _give_up(work: list[_Work], *, hung: bool) -> NoReturn:
    """Note what the engine was lost with, put its stacks into the log, and end this process."""
    for one in list(work):
        with contextlib.suppress(Exception):  # nothing may keep this process alive
            one.journal.give_up(dict(one.results), hung=hung)
    faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
    _end_children()
    os._exit(1)


class _Places:
    """Lets any number of groups at an engine, or one that wants it alone."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._taken = 0
        self._alone = False

    @asynccontextmanager
    async def place(self, *, alone: bool) -> AsyncIterator[None]:
        async with self._changed:
            await self._changed.wait_for(lambda: not self._alone and not (alone and self._taken))
            self._taken, self._alone = self._taken + 1, alone
        try:
            yield
        finally:
            async with self._changed:
                self._taken, self._alone = self._taken - 1, False
                self._changed.notify_all()


def _start_engine(spec: GenerationSpec) -> Engine:
    if spec.generation.engine == "rule":
        from reviewllm.generation.rule_engine import RuleEngine

        return RuleEngine(spec.generation)
    from reviewllm.generation.vllm_engine import VLLMEngine

    os.environ.setdefault("PYTHONFAULTHANDLER", "1")  # for the stacks of the engine's own processes, see _end_children
    adapters = sorted({str(variant.adapter) for variant in spec.variants if variant.adapter}) if spec.live_adapters else []
    # vLLM computes likelihoods of prompts, behind which there must be room for a token.
    response = max(spec.generation.max_new_tokens, spec.reference_tokens + 1 if spec.reference_tokens else 0)
    longest = max(variant.prompt.max_prompt_tokens for variant in spec.variants) + response
    canaries = [len(canary.prompt) + CANARY_TOKENS for variant in spec.variants for canary in variant.canaries]
    longest = max(longest, *canaries, 0)
    tokenizer = load_tokenizer(str(spec.variants[0].base))
    templates = {variant.prompt.chat_template for variant in spec.variants}
    return VLLMEngine(
        spec.generation,
        model=spec.model,
        tokenizer=tokenizer,
        max_model_len=longest,
        adapters=adapters,
        end_tokens=sorted({end_token(tokenizer, chat_template=template) for template in templates}),
        constrained=bool(spec.answer_schemas) or spec.answers == "constrained",
    )


def _end_children() -> None:
    """End the engine's own processes: SIGABRT makes Python print its stacks, SIGKILL ends what is left."""
    import psutil

    children = psutil.Process().children(recursive=True)
    for child in children:
        with contextlib.suppress(psutil.Error):
            child.send_signal(signal.SIGABRT)
    for child in psutil.wait_procs(children, timeout=3)[1]:
        with contextlib.suppress(psutil.Error):
            child.kill()
