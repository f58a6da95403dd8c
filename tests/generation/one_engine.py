"""One real engine in a process of its own: what vLLM leaves behind, such as open sockets, ends with it."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from reviewllm.errors import AdapterError
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.engine import Completion, Request
from reviewllm.prompts.tokenizer import load_tokenizer

Likelihoods = list[list[float]]


class Asked(NamedTuple):
    """Requests by what is asked of them: a text, the likelihoods of choices, that of a reference; and the adapters to serve."""

    written: Sequence[Request] = ()
    choices: Sequence[Request] = ()
    references: Sequence[Request] = ()
    adapters: Sequence[Path] = ()


class Told(NamedTuple):
    """What the engine answered; the likelihoods as told all at once, and as told one by one.

    All at once each reference stands behind a text that is written to the same prompt, as in a shard.
    """

    written: list[Completion]
    choices: list[Likelihoods]
    references: list[list[float]]


def ask_one_engine(base: Path, asked: Asked) -> Told:
    """Start an engine and ask it; the references come first, so that their prompts are in no cache yet."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_ask, base, asked).result()


def _ask(base: Path, asked: Asked) -> Told:
    return asyncio.run(_ask_engine(base, asked))


async def _ask_engine(base: Path, asked: Asked) -> Told:
    from reviewllm.generation.vllm_engine import VLLMEngine

    tokenizer: Any = load_tokenizer(str(base))
    engine = VLLMEngine(
        GenerationConfig(max_new_tokens=1200, engine_kwargs={"dtype": "float32"}),
        model=base,
        tokenizer=tokenizer,
        max_model_len=4096,
        adapters=[str(adapter) for adapter in asked.adapters],
        end_tokens=[tokenizer.eos_token_id],
        constrained=True,
    )
    try:
        both = [
            engine.generate(one._replace(greedy=True)) if text else engine.reference_log_likelihood(one)
            for one in asked.references
            for text in (True, False)
        ]
        references_at_once = (await asyncio.gather(*both))[1::2]
        answers = await asyncio.gather(*map(engine.generate, asked.written))
        choices = [await engine.log_likelihoods(request) for request in asked.choices]
        choices_at_once = await asyncio.gather(*map(engine.log_likelihoods, asked.choices))
        references = [await engine.reference_log_likelihood(request) for request in asked.references]
        return Told(list(answers), [list(choices_at_once), choices], [references_at_once, references])
    finally:
        engine.close()


def load_in_one_engine(base: Path, adapters: Sequence[Path]) -> str:
    """What it says of adapters that it is to serve; "" where it serves them whole."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_load, base, adapters).result()


def _load(base: Path, adapters: Sequence[Path]) -> str:
    return asyncio.run(_load_adapters(base, adapters))


async def _load_adapters(base: Path, adapters: Sequence[Path]) -> str:
    from reviewllm.generation.vllm_engine import VLLMEngine

    engine = VLLMEngine(
        GenerationConfig(engine_kwargs={"dtype": "float32", "enforce_eager": True}),
        model=base,
        tokenizer=load_tokenizer(str(base)),
        max_model_len=256,
        adapters=[str(adapter) for adapter in adapters],
        end_tokens=[2],
    )
    try:
        await engine.load_adapters()
    except AdapterError as error:
        return str(error)
    else:
        return ""
    finally:
        engine.close()


class Drafted(NamedTuple):
    """The ids of each request's drafts, as written all at once and as written one request after the other; and of its one text."""

    at_once: list[list[list[int]]]
    one_by_one: list[list[list[int]]]
    alone: list[list[int]]


def write_drafts_in_one_engine(base: Path, requests: Sequence[Request], count: int) -> Drafted:
    """Start an engine that samples, and ask it for drafts."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_draft, base, requests, count).result()


def _draft(base: Path, requests: Sequence[Request], count: int) -> Drafted:
    return asyncio.run(_draft_in_engine(base, requests, count))


async def _draft_in_engine(base: Path, requests: Sequence[Request], count: int) -> Drafted:
    from reviewllm.generation.vllm_engine import VLLMEngine

    tokenizer: Any = load_tokenizer(str(base))
    engine = VLLMEngine(
        GenerationConfig(
            max_new_tokens=24, temperature=0.8, drafts=count, engine_kwargs={"dtype": "float32", "enforce_eager": True}
        ),
        model=base,
        tokenizer=tokenizer,
        max_model_len=512,
        adapters=[],
        end_tokens=[tokenizer.eos_token_id],
    )
    try:
        at_once = await asyncio.gather(*(engine.write_drafts(request, count) for request in requests))
        one_by_one = [await engine.write_drafts(request, count) for request in requests[::-1]][::-1]
        alone = [await engine.generate(request) for request in requests]
        first, second = ([[one.token_ids for one in drafts] for drafts in some] for some in (at_once, one_by_one))
        return Drafted(first, second, [one.token_ids for one in alone])
    finally:
        engine.close()
