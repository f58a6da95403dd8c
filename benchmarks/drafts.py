"""What drafts cost: rows per second of the engine and of the scorers at several numbers of drafts, beside those of one text.

    .venv/bin/python benchmarks/drafts.py --base-model <folder> --examples out/run/examples/train --json out/drafts.json

One shard of real examples through the actors of a night, called in this process one after the other: prompts, engine, scores with
the choice. In each round the numbers take turns on one engine, whose cache is emptied before each turn. On a cluster engine and
scorers work beside each other, so the slower one of them tells the night's rate.
"""

from __future__ import annotations

import asyncio
import itertools
import json
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
from reviewllm.generation.generate_shard import ShardGenerator
from reviewllm.generation.model import make_variant
from reviewllm.generation.render_shard import ShardRenderer
from reviewllm.generation.score_shard import ShardScorer
from reviewllm.generation.tasks import GenerationSpec, Piece, Task, new_run, task_table
from reviewllm.prompts.config import PromptConfig
from reviewllm.table_files import read_table, table_files
from reviewllm.tables import EXAMPLES, GENERATIONS

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
    folder: Path = Field(Path("out/bench-drafts"), description="where shards are written")
    json_file: Path | None = Field(None, alias="json", description="file for the figures")


def main(config: DraftsBenchmark) -> Figures:
    """Measure, print, and write the figures."""
    (file, *_) = table_files(config.examples, EXAMPLES)
    specs = {count: _spec(config, count) for count in config.drafts}
    generator = ShardGenerator(specs[config.drafts[0]])
    measured: dict[int, list[Figures]] = {count: [] for count in config.drafts}

    async def measure() -> None:
        await _turn(generator, specs[config.drafts[-1]], config, file.name)  # what is loaded once
        for _, (count, spec) in itertools.product(range(config.rounds), specs.items()):
            measured[count].append(await _turn(generator, spec, config, file.name))
            print(f"{count} drafts: {json.dumps(measured[count][-1])}", flush=True)

    asyncio.run(measure())
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
        target=str(config.folder.resolve()),
        run=new_run(),
    )


async def _turn(generator: ShardGenerator, spec: GenerationSpec, config: DraftsBenchmark, file: str) -> Figures:
    """One shard; the engine is the same for all numbers of drafts."""
    generator._spec = spec
    output = f"{spec.generation.drafts}.parquet"
    rendered = ShardRenderer(spec)(task_table([Task([Piece(file, list(range(config.rows)))], 0, output)]))
    engine: Any = generator._engine
    await engine._engine.reset_prefix_cache()
    before, begun = engine.progress(), time.monotonic()
    generated = await generator(rendered)
    written = time.monotonic()
    ShardScorer(spec)(generated)
    scored = time.monotonic()
    rows = read_table([config.folder / output], GENERATIONS)
    after = engine.progress()
    passed = [one for one in rows["drafts_passed"].to_pylist() if one is not None]
    return {
        "engine_rows_per_s": config.rows / (written - begun),
        "scorer_rows_per_s": config.rows / (scored - written),
        "prefix_hit_rate": (after.prefix_hits - before.prefix_hits) / (after.prefix_queries - before.prefix_queries),
        "tokens": sum(one or 0 for one in rows["completion_tokens"].to_pylist()),
        "passed": statistics.mean(passed) / spec.generation.drafts if passed else None,
    }


def _ratios(turns: list[Figures], first: list[Figures]) -> Figures:
    names = ("engine_rows_per_s", "scorer_rows_per_s")
    rates = {name: statistics.median(one[name] for one in turns) for name in names}
    pairs = list(zip(turns, first, strict=True))
    ratios = {f"{name} ratio": statistics.median(one[name] / other[name] for one, other in pairs) for name in names}
    return {**rates, **ratios, **{name: turns[0][name] for name in ("prefix_hit_rate", "tokens", "passed")}}


if __name__ == "__main__":
    run(main, DraftsBenchmark)
