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
