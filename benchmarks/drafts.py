"""What drafts cost: rows per second of the engine and of the scorers at several numbers of drafts, beside those of one text.

    .venv/bin/python benchmarks/drafts.py --base-model <folder> --examples out/run/examples/train --json out/drafts.json

One shard of real examples in this process: prompts, vLLM with its `n` and each row's seed, and the scores with the choice. In
each round the numbers take turns on one engine, whose cache is emptied before each turn. On a cluster engine and scorers work
beside each other, so the slower one of them tells the night's rate.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from pydantic import Field

if __package__ in (None, ""):  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs.entry import run
from reviewllm.config import JobConfig
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.drafts import as_result
from reviewllm.generation.engine import Completion
from reviewllm.generation.model import make_variant
from reviewllm.generation.render_shard import ShardRenderer
from reviewllm.generation.rows import generation_rows, score_rows
from reviewllm.generation.tasks import GenerationSpec, Piece, Task, from_stream, task_table
from reviewllm.generation.vllm_source import computes_on_cpu
from reviewllm.prompts.config import PromptConfig
from reviewllm.table_files import table_files
from reviewllm.tables import EXAMPLES

Figures = dict[str, Any]


class DraftsBenchmark(JobConfig):
    """Rows per second at several numbers of drafts, as ratios."""

    base_model: Path = Field(description="folder of the base, or of base and adapter merged")
    examples: Path = Field(description="folder of examples, as jobs/prepare.py writes them")
    drafts: list[int] = Field([1, 4, 8], description="numbers of drafts, the first of which the others are compared with")
    rows: int = Field(48, ge=1, description="rows of the shard")
    rounds: int = Field(3, ge=1, description="rounds in which the numbers take turns")
    temperature: float = Field(0.8, gt=0, description="of the sampling")
    max_new_tokens: int = Field(64, ge=2, description="tokens of a text")
    max_prompt_tokens: int = Field(512, ge=64, description="tokens of a prompt")
    engine_kwargs: dict[str, Any] = Field({}, description="passed on to vLLM's engine, as JSON")
    json_file: Path | None = Field(None, alias="json", description="file for the figures")


def main(config: DraftsBenchmark) -> Figures:
    """Measure, print, and write the figures."""
    specs = {count: _spec(config, count) for count in config.drafts}
    measured: dict[int, list[Figures]] = {count: [] for count in config.drafts}
    engine = _engine(config)
    _turn(engine, specs[config.drafts[-1]], config)  # what is loaded once
    for _, (count, spec) in itertools.product(range(config.rounds), specs.items()):
        measured[count].append(_turn(engine, spec, config))
        print(f"{count} drafts: {json.dumps(measured[count][-1])}", flush=True)
    figures = {str(count): _ratios(turns, measured[config.drafts[0]]) for count, turns in measured.items()}
    print(json.dumps(figures, indent=1))
    if config.json_file:
        config.json_file.parent.mkdir(parents=True, exist_ok=True)
        config.json_file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return figures


def _spec(config: DraftsBenchmark, count: int) -> GenerationSpec:
    generation = GenerationConfig(drafts=count, temperature=config.temperature, max_new_tokens=config.max_new_tokens)
    prompt = PromptConfig(max_prompt_tokens=config.max_prompt_tokens)
    variant = make_variant(base_model=str(config.base_model), adapter=None, prompt=prompt, generation=generation)
    return GenerationSpec(
        generation=generation,
        model=variant.base,
        live_adapters=False,
        variants=[variant],
        source=str(config.examples.resolve()),
        target=str(config.examples.resolve()),  # nothing is written
    )


def _engine(config: DraftsBenchmark) -> Any:
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1"}
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
    from vllm import LLM

    length = config.max_prompt_tokens + config.max_new_tokens
    return LLM(
        model=str(config.base_model),
        max_model_len=length,
        enable_prefix_caching=True,
        enable_chunked_prefill=not computes_on_cpu(),  # as the job: see `VLLMEngine`
        **config.engine_kwargs,
    )


def _turn(engine: Any, spec: GenerationSpec, config: DraftsBenchmark) -> Figures:
    """One shard by the engine, and through the scorers."""
    from vllm import SamplingParams

    (file, *_) = table_files(config.examples, EXAMPLES)
    rendered = ShardRenderer(spec)(task_table([Task([Piece(file.name, list(range(config.rows)))], 0, "shard.parquet")]))
    prompts = from_stream(rendered["prompts"][0].as_py())
    (variant,), generation = spec.variants, spec.generation
    seeds = variant.seeds(prompts["example_id"].to_pylist(), generation)
    sampling = [
        SamplingParams(n=generation.drafts, temperature=config.temperature, max_tokens=config.max_new_tokens, seed=seed)
        for seed in seeds
    ]
    engine.reset_prefix_cache()
    begun = time.monotonic()
    done = engine.generate(
        [{"prompt_token_ids": ids} for ids in prompts["prompt_ids"].to_pylist()], sampling, use_tqdm=False
    )
    written = time.monotonic()
    results = [
        as_result(
            [Completion(draft.text.strip(), list(draft.token_ids), str(draft.finish_reason)) for draft in one.outputs],
            1,
            for_publication=True,
        )
        for one in done
    ]
    rows = score_rows(generation_rows(prompts, seeds, results, variant, drafts=generation.drafts))
    scored = time.monotonic()
    passed = [one for one in rows["drafts_passed"].to_pylist() if one is not None]
    return {
        "engine_rows_per_s": config.rows / (written - begun),
        "scorer_rows_per_s": config.rows / (scored - written),
        "tokens": sum(len(draft.token_ids) for one in done for draft in one.outputs),
        "passed": statistics.mean(passed) / generation.drafts if passed else None,
    }


def _ratios(turns: list[Figures], first: list[Figures]) -> Figures:
    names = ("engine_rows_per_s", "scorer_rows_per_s")
    rates = {name: statistics.median(one[name] for one in turns) for name in names}
    pairs = list(zip(turns, first, strict=True))
    ratios = {f"{name} ratio": statistics.median(one[name] / other[name] for one, other in pairs) for name in names}
    return {**rates, **ratios, **{name: turns[0][name] for name in ("tokens", "passed")}}


if __name__ == "__main__":
    run(main, DraftsBenchmark)
