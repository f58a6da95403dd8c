"""One real engine in a process of its own: what vLLM leaves behind, such as open sockets, ends with it."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.engine import Completion, Request
from reviewllm.prompts.tokenizer import load_tokenizer

Likelihoods = list[list[float]]


def ask_one_engine(
    base: Path, written: Sequence[Request], asked: Sequence[Request]
) -> tuple[list[Completion], list[Likelihoods]]:
    """What it writes to the first requests, and the likelihoods of the others: asked one by one, and all at once."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_ask, base, written, asked).result()


def _ask(base: Path, written: Sequence[Request], asked: Sequence[Request]) -> tuple[list[Completion], list[Likelihoods]]:
    return asyncio.run(_ask_engine(base, written, asked))


async def _ask_engine(
    base: Path, written: Sequence[Request], asked: Sequence[Request]
) -> tuple[list[Completion], list[Likelihoods]]:
    from reviewllm.generation.vllm_engine import VLLMEngine

    tokenizer: Any = load_tokenizer(str(base))
    engine = VLLMEngine(
        GenerationConfig(max_new_tokens=1200, engine_kwargs={"dtype": "float32"}),
        model=base,
        tokenizer=tokenizer,
        max_model_len=4096,
        adapters=[],
        end_tokens=[tokenizer.eos_token_id],
        constrained=True,
    )
    try:
        answers = await asyncio.gather(*map(engine.generate, written))
        one_by_one = [await engine.log_likelihoods(request) for request in asked]
        at_once = await asyncio.gather(*map(engine.log_likelihoods, asked))
        return list(answers), [one_by_one, list(at_once)]
    finally:
        engine.close()
