"""Engines on small bases, one after another in one process of their own: each starts in seconds, since vLLM is imported once."""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

Ids = list[int]
MAX_TOKENS = 12  # of a text


class Written(NamedTuple):
    """The ids after each prompt, greedily, and the layers of the adapter that vLLM has no place for."""

    ids: list[Ids]
    left_out: list[str]


class SmallEngines:
    """Starts an engine for each call."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def write(self, model: Path, prompts: Sequence[Ids], adapter: Path | None = None) -> Written:
        """What vLLM writes with a model in float32, and an adapter that it serves beside it."""
        return self._pool.submit(_write, model, prompts, adapter).result()


@contextmanager
def small_engines() -> Iterator[SmallEngines]:
    """A process of its own, which ends with what vLLM leaves behind."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare) as pool:
        yield SmallEngines(pool)


def _prepare() -> None:
    os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_CPU_KVCACHE_SPACE="1", VLLM_LOGGING_LEVEL="ERROR")


def _write(model: Path, prompts: Sequence[Ids], adapter: Path | None) -> Written:
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    from reviewllm.generation.served_layers import EXTENSION
    from reviewllm.generation.vllm_engine import as_transformers

    lora = {"enable_lora": True, "max_loras": 1, "max_lora_rank": 8, "worker_extension_cls": EXTENSION} if adapter else {}
    engine = LLM(
        model=str(model),
        dtype="float32",
        enforce_eager=True,
        max_model_len=256,
        max_num_seqs=4,
        max_num_batched_tokens=256,
        disable_log_stats=True,
        hf_overrides=as_transformers(model),
        **lora,
    )
    try:
        left_out: list[str] = []
        if adapter:
            ((failure, left_out),) = engine.collective_rpc("adapter_left_out", args=("adapter", 1, str(adapter)))
            assert not failure, failure
        outputs = engine.generate(
            [{"prompt_token_ids": ids} for ids in prompts],
            SamplingParams(temperature=0, max_tokens=MAX_TOKENS, ignore_eos=True, detokenize=False),
            use_tqdm=False,
            lora_request=LoRARequest("adapter", 1, str(adapter)) if adapter else None,
        )
        return Written([list(output.outputs[0].token_ids) for output in outputs], left_out)
    finally:
        engine.llm_engine.engine_core.shutdown()
        del engine
        gc.collect()
