"""vLLM's speculation without a draft model beside the same engine without it: greedy ids, tokens per second, acceptance.

    .venv/bin/python benchmarks/speculation.py --base-model <folder> --examples out/run/examples/train --json out/speculation.json

Rows of real examples, each prompt in the engine's cache before its turn, so that what is timed is decoding alone: with prompts to
compute a night gains less. In each round the contenders take turns in the same order; an engine that has no turn takes no CPU.
`--batch` rows are given to an engine at once, until all are written: a night gives it as many as vLLM takes (`max_num_seqs`).

none      without speculation
<name>    with `--speculation`, a JSON object of name to vLLM's own `speculative_config`
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from pydantic import Field

if __package__ in (None, ""):  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs.entry import run
from reviewllm.base_model import local_model_folder
from reviewllm.config import JobConfig
from reviewllm.prompts.config import PromptConfig
from reviewllm.prompts.renderer import Prompt, PromptRenderer
from reviewllm.prompts.tokenizer import Ids, load_tokenizer
from reviewllm.table_files import read_table, table_files
from reviewllm.tables import EXAMPLES

Figures = dict[str, Any]

_NONE = "none"
_METHODS: dict[str, dict[str, Any]] = {
    "ngram": {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_min": 2, "prompt_lookup_max": 4},
}


class SpeculationBenchmark(JobConfig):
    """Tokens per second with and without speculation, as ratios."""

    base_model: Path = Field(description="folder of the base, or of base and adapter merged")
    examples: Path = Field(description="folder of examples, as jobs/prepare.py writes them")
    speculation: dict[str, dict[str, Any]] = Field(_METHODS, description="name to vLLM's speculative_config, as JSON")
    batch: list[int] = Field([4, 32], description="rows that an engine has under way at once, once for each")
    rows: int = Field(32, ge=1, description="rows of a turn")
    rounds: int = Field(3, ge=1, description="rounds in which the contenders take turns")
    max_new_tokens: int = Field(64, ge=2, description="tokens of a text")
    max_prompt_tokens: int = Field(512, ge=64, description="tokens of a prompt")
    chat_template: bool = Field(False, description="for instruction-tuned bases")
    engine_kwargs: dict[str, Any] = Field({"dtype": "bfloat16"}, description="passed on to vLLM's engine, as JSON")
    json_file: Path | None = Field(None, alias="json", description="file for the figures")


def main(config: SpeculationBenchmark) -> Figures:
    """Measure, print, and write the figures."""
    prompts = _prompts(config)
    figures = {"base": config.base_model.name, "cores": os.cpu_count(), "batch": _measure(config, prompts)}
    print(json.dumps(figures, indent=1))
    if config.json_file:
        config.json_file.parent.mkdir(parents=True, exist_ok=True)
        config.json_file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return figures


def _prompts(config: SpeculationBenchmark) -> list[Ids]:
    folder = local_model_folder(str(config.base_model))
    renderer = PromptRenderer(
        load_tokenizer(str(folder)),
        PromptConfig(max_prompt_tokens=config.max_prompt_tokens, chat_template=config.chat_template),
    )
    examples = read_table(table_files(config.examples, EXAMPLES), EXAMPLES).slice(0, 2 * config.rows)
    made = [one.token_ids for one in renderer.render(examples.to_pylist()) if isinstance(one, Prompt)]
    return made[: config.rows]


def _measure(config: SpeculationBenchmark, prompts: list[Ids]) -> Figures:
    methods: dict[str, dict[str, Any] | None] = {_NONE: None, **config.speculation}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vllm.entrypoints.llm"])  # which takes longer to import than a small engine to start
    engines = {name: ProcessPoolExecutor(1, mp_context=context) for name in methods}
    turns: dict[int, dict[str, list[Figures]]] = {batch: {name: [] for name in methods} for batch in config.batch}
    try:
        for name, method in methods.items():
            engines[name].submit(_start, config, method).result()
            engines[name].submit(
                _turn, config, prompts, max(config.batch)
            ).result()  # the prompts are in its cache from now on
        for number, batch, name in itertools.product(range(config.rounds), config.batch, methods):
            turns[batch][name].append(engines[name].submit(_turn, config, prompts, batch).result())
            rate = turns[batch][name][-1]["tokens_per_s"]
            print(f"round {number + 1} batch {batch:<3} {name:<12} {rate:8.1f} tokens/s", flush=True)
    finally:
        for engine in engines.values():
            engine.shutdown()
    return {str(batch): {name: _figures(mine[name], mine[_NONE]) for name in methods} for batch, mine in turns.items()}


def _figures(mine: list[Figures], plain: list[Figures]) -> Figures:
    ids, expected = mine[0]["ids"], plain[0]["ids"]
    drafted, accepted = (sum(one[name] for one in mine) for name in ("drafted", "accepted"))
    ratios = [one["tokens_per_s"] / other["tokens_per_s"] for one, other in zip(mine, plain, strict=True)]
    return {
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(one, 3) for one in ratios],
        "tokens_per_row": round(sum(map(len, ids)) / len(ids), 1),
        "same_rows": sum(one == other for one, other in zip(ids, expected, strict=True)),
        "rows": len(ids),
        "accepted": round(accepted / drafted, 3) if drafted else None,
        "tokens_per_s": round(statistics.median(one["tokens_per_s"] for one in mine), 1),
    }


_ENGINE: list[Any] = []  # of a contender's process


def _start(config: SpeculationBenchmark, speculative_config: dict[str, Any] | None) -> None:
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1"}
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
    from vllm import LLM

    _ENGINE.append(
        LLM(
            model=str(config.base_model),
            max_model_len=config.max_prompt_tokens + config.max_new_tokens,
            max_num_seqs=max(config.batch),
            enable_prefix_caching=True,
            disable_log_stats=False,  # they tell the acceptance
            speculative_config=speculative_config,
            **config.engine_kwargs,
        )
    )


def _turn(config: SpeculationBenchmark, prompts: list[Ids], batch: int) -> Figures:
    """Write every row."""
    from vllm import SamplingParams

    sampling = SamplingParams(max_tokens=config.max_new_tokens, temperature=0.0, detokenize=False)
    before, begun = _speculated(), time.monotonic()
    ids = []
    for start in range(0, len(prompts), batch):
        some = [{"prompt_token_ids": list(one)} for one in prompts[start : start + batch]]
        ids += [list(one.outputs[0].token_ids) for one in _ENGINE[0].generate(some, sampling, use_tqdm=False)]
    seconds = time.monotonic() - begun
    drafted, accepted = (after - earlier for after, earlier in zip(_speculated(), before, strict=True))
    return {"ids": ids, "tokens_per_s": sum(map(len, ids)) / seconds, "drafted": drafted, "accepted": accepted}


def _speculated() -> tuple[int, int]:
    """Tokens that were drafted and accepted since the engine's start."""
    told = {metric.name: metric.value for metric in _ENGINE[0].get_metrics() if hasattr(metric, "value")}
    return told.get("vllm:spec_decode_num_draft_tokens", 0), told.get("vllm:spec_decode_num_accepted_tokens", 0)


if __name__ == "__main__":
    run(main, SpeculationBenchmark)
