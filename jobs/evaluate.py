"""Base and adapter, with and without ratings, on the simple and the hard set -> generations with scores, and metrics.

    python jobs/evaluate.py --base-model <folder or hub name> --out out/run

Reads `<out>/examples/{simple,hard}`, `<out>/adapter` and, where it is there, `<out>/adapter-no-rating` (an adapter is
only evaluated with the kind of prompt it was trained on). Writes `<out>/metrics/metrics.parquet`, the generations of every
model under `<out>/metrics/generations` and sample prompts. One engine serves all of them, the adapters live.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

if __package__ in (None, ""):  # run as a file: `python jobs/evaluate.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs.entry import run
from reviewllm.cluster import ClusterConfig, ray_session
from reviewllm.config import JobConfig, part, save
from reviewllm.errors import ConfigError, InputError, LeakageError
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.model import Variant, make_variant
from reviewllm.generation.pipeline import RunCounts, run_tasks
from reviewllm.generation.tasks import GenerationSpec, Piece, Task, new_run
from reviewllm.progress import step
from reviewllm.prompts.renderer import Prompt, PromptConfig, PromptRenderer, load_tokenizer
from reviewllm.report.metrics import summarise
from reviewllm.report.names import Pair, write_names
from reviewllm.report.score_tables import plain_text, score_tables
from reviewllm.sft.adapter import examples_digest, read_description
from reviewllm.summary import record_step
from reviewllm.tables import EXAMPLES, GENERATIONS, METRICS, read_table, replace_folder, table_files, write_table

SPLITS = ("simple", "hard")
_SAMPLES = 6  # prompts of each split that the report shows


class EvaluateJob(JobConfig, ClusterConfig, GenerationConfig, PromptConfig):
    """Measure base and adapter on reviews that were held back."""

    base_model: str = Field(description="base: a Hugging Face folder or hub name")
    out: Path = Field(Path("out/run"), description="folder of the run")
    adapter: Path | None = Field(None, description="adapter trained with ratings; default <out>/adapter")
    adapter_no_rating: Path | None = Field(
        None, description="adapter trained without ratings; default <out>/adapter-no-rating where it is there"
    )
    adapter_name: str = Field("Review-LLM", description="what the tables call base and adapter together")
    allow_other_examples: bool = Field(
        False, description="evaluate adapters that were trained on other examples than <out>/examples/train"
    )
    run_name: str = Field("evaluation", description="name of the run in the metrics")
    repeat: int = Field(0, ge=0, description="number of the repetition in the metrics")


def main(config: EvaluateJob) -> None:
    """Evaluate and show both tables."""
    print(f"\n{evaluate(config)}")


def evaluate(config: EvaluateJob) -> str:
    """Generate, score and summarise; returns both tables as text."""
    shards = [file for split in SPLITS for file in _shards(config.out / "examples" / split)]
    if not shards:
        raise InputError(
            f"{config.out / 'examples'}: no simple and no hard examples: too few users within the bounds; run "
            "jobs/prepare.py with other --more-than-reviews and --fewer-than-reviews"
        )
    variants = _variants(config)
    _refuse_leakage(config, variants)
    save(config, config.out / "config" / "evaluate.yaml")
    metrics = config.out / "metrics"
    aside = config.out / ".metrics.tmp"
    shutil.rmtree(aside, ignore_errors=True)
    tasks = [
        Task(
            [Piece(str(shard.relative_to(config.out / "examples")))],
            number,
            f"generations/{number}-{shard.parent.name}-{shard.name}",
        )
        for number in range(len(variants))
        for shard in shards
    ]
    names = _names(config, variants)
    spec = GenerationSpec(
        generation=part(config, GenerationConfig),
        model=variants[0].base,
        live_adapters=True,
        variants=variants,
        source=str((config.out / "examples").resolve()),
        target=str(aside.resolve()),
        for_publication=False,
        run=new_run(),
    )
    with step("evaluate") as running, ray_session(part(config, ClusterConfig)):
        rows = len(variants) * sum(pq.read_metadata(shard).num_rows for shard in shards)
        counts = run_tasks(
            tasks, spec, on_progress=lambda now: running.show(now.rows_seen, rows, f"{now.engines.failed} failed")
        )
        figures = summarise(
            read_table(aside / "generations", GENERATIONS), run=config.run_name, repeat=config.repeat, names=names
        )
        write_table(figures, aside / "metrics.parquet", METRICS)
        write_names(names, aside / "models.json")
        (aside / "samples.json").write_text(json.dumps(_samples(variants, shards), ensure_ascii=False), encoding="utf-8")
        replace_folder(aside, metrics)
        tables = "\n\n".join(plain_text(table) for table in score_tables(figures))
        _record(config, counts, shards, running.seconds, figures)
        running.result = (
            f"{len(variants)} models x {counts.rows // len(variants)} examples = {counts.rows} rows, {counts.failed} failed, "
            f"{counts.completion_tokens} tokens -> {metrics}"
        )
    return tables


def _shards(folder: Path) -> list[Path]:
    return table_files(folder, EXAMPLES) if folder.is_dir() else []


def _variants(config: EvaluateJob) -> list[Variant]:
    """Base with and without ratings, and each adapter with the prompts that it was trained on."""
    if not config.rating:
        raise ConfigError("--no-rating: evaluate always writes with and without ratings; leave it out")
    generation = part(config, GenerationConfig)
    with_rating = part(config, PromptConfig).model_copy(update={"rating": True})
    without = with_rating.model_copy(update={"rating": False})
    twin = config.adapter_no_rating or config.out / "adapter-no-rating"
    wanted: list[tuple[Path | None, PromptConfig]] = [(None, with_rating), (None, without)]
    wanted.append((config.adapter or config.out / "adapter", with_rating))
    if config.adapter_no_rating or twin.is_dir():
        wanted.append((twin, without))
    return [
        make_variant(base_model=config.base_model, adapter=adapter, prompt=prompt, generation=generation)
        for adapter, prompt in wanted
    ]


def _refuse_leakage(config: EvaluateJob, variants: list[Variant]) -> None:
    """An adapter trained on other examples may have seen the users that are evaluated here."""
    here = examples_digest(_shards(config.out / "examples" / "train"))
    for adapter in [variant.adapter for variant in variants if variant.adapter]:
        if read_description(adapter).examples_digest != here and not config.allow_other_examples:
            raise LeakageError(
                f"adapter {adapter} was trained on other examples than {config.out / 'examples' / 'train'}, perhaps on users "
                "that are evaluated here; train it anew, or pass --allow-other-examples if you know that it was not"
            )


def _names(config: EvaluateJob, variants: list[Variant]) -> dict[Pair, str]:
    base = Path(config.base_model).name
    if base == config.adapter_name:
        raise ConfigError(f"--adapter-name {base} is the name of the base too; choose another")
    return {
        (variant.model, str(variant.adapter) if variant.adapter else None): config.adapter_name if variant.adapter else base
        for variant in variants
    }


def _samples(variants: list[Variant], shards: list[Path]) -> list[dict[str, object]]:
    """The first prompts of each split as text, for the report."""
    tokenizer = load_tokenizer(str(variants[0].base))
    renderers = {variant.prompt.rating: PromptRenderer(tokenizer, variant.prompt) for variant in variants}
    samples = []
    for split in SPLITS:
        files = [shard for shard in shards if shard.parent.name == split]
        rows = read_table(files, EXAMPLES).slice(0, _SAMPLES).to_pylist() if files else []
        for with_rating, renderer in renderers.items():
            for row, prompt in zip(rows, renderer.render(rows), strict=True):
                text = tokenizer.decode(prompt.token_ids) if isinstance(prompt, Prompt) else str(prompt)
                samples.append({"example_id": row["example_id"], "with_rating": with_rating, "prompt": text})
    return samples


def _record(config: EvaluateJob, counts: RunCounts, shards: list[Path], seconds: float, figures: pa.Table) -> None:
    tokens = {"prompt tokens": counts.prompt_tokens, "completion tokens": counts.completion_tokens}
    record_step(
        config.out,
        "evaluate",
        config,
        rows_in=read_table(shards, EXAMPLES).num_rows,
        rows_out=counts.rows,
        seconds=seconds,
        counts={"failed": counts.failed, **tokens},
        tables=[row for row in figures.to_pylist() if row["category"] == "all"],
    )


if __name__ == "__main__":
    run(main, EvaluateJob)
