"""Titles and descriptions -> attributes: train on a benchmark, measure, and fill the items that lack them.

    python jobs/attributes.py prepare --train <file> --test <file> --out out/oa
    python jobs/train.py --task extract --base-model <base> --out out/oa
    python jobs/attributes.py evaluate --base-model <base> --out out/oa     # the rule, the base and the adapter
    python jobs/attributes.py fill --base-model <base> --learned out/oa --items out/run/items --out out/run

`prepare` reads JSON lines of OA-Mine or WDC PAVE (plain or gzipped) and writes `products/`, `examples/{train,test}`,
`schemas.json` (the attributes of each category) and `rejected/`. `evaluate` writes `extraction/`: `metrics.parquet`,
`metrics.json`, every answer, and those that cannot be read. `fill` reads an items table and writes `items-filled/`, with what
was added in `_filled.parquet`; what the source has stays. `--engine rule` asks no model, and needs no base and no Ray.
Interrupted, the same command goes on after the last finished shard.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from pydantic import Field

if __package__ in (None, ""):  # run as a file: `python jobs/attributes.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs.entry import run_job
from reviewllm.cluster import ClusterConfig, ray_session
from reviewllm.config import Command, Commands, JobConfig, ModelWhere, part, save
from reviewllm.errors import ConfigError
from reviewllm.evaluation.staging import alone
from reviewllm.examples.splits import example_files
from reviewllm.extraction.evaluate import answers_folder, score_work
from reviewllm.extraction.examples import read_products
from reviewllm.extraction.fill import ASKED
from reviewllm.extraction.fill_run import plan_fill, write_filled
from reviewllm.extraction.prepare import SCHEMAS_FILE, prepare_benchmark
from reviewllm.extraction.results import plain_text
from reviewllm.extraction.schemas import Schemas, read_schemas
from reviewllm.extraction.shards import RULE, Model, Work, answer_all, plan_work, rule_model
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.model import make_variant
from reviewllm.generation.pipeline import RunCounts
from reviewllm.progress import Step, step
from reviewllm.prompts.config import PromptConfig
from reviewllm.sft.adapter import refuse_other_examples
from reviewllm.summary import record_step
from reviewllm.table_files import replace_folder

ModelName = Literal["rule", "base", "adapter"]


class PrepareJob(JobConfig):
    """Read a benchmark's training and test products."""

    train: Path = Field(description="JSON lines of OA-Mine or WDC PAVE, plain or gzipped, to learn from")
    test: Path = Field(description="likewise, to measure on; products that are in both are not learned from")
    schema_file: Path | None = Field(
        None, description="JSON file of category to attributes; default: every attribute of the training products"
    )
    max_rejected_fraction: float = Field(0.01, ge=0, le=1, description="share of unusable lines that is accepted")
    out: Path = Field(Path("out/extract"), description="folder of the run")


class _AnswerJob(JobConfig, ClusterConfig, GenerationConfig, PromptConfig):
    """What evaluation and filling share."""

    task: Literal["extract"] = Field("extract", description="what prompts ask for")
    base_model: ModelWhere | None = Field(
        None, description="base: a Hugging Face folder or hub name; not needed by --engine rule"
    )
    constrained: bool = Field(
        True,
        description="let the engine write nothing but JSON that fits the schema; --no-constrained shows what a model does",
    )


class EvaluateJob(_AnswerJob):
    """Measure the rule, the base and the adapter on the test products."""

    out: Path = Field(Path("out/extract"), description="folder of the run")
    models: list[ModelName] = Field(
        [], description="rule, base, adapter; default: the rule, the base, and the adapter if any"
    )
    adapter: Path | None = Field(
        None, description="adapter trained with --task extract; default <out>/adapter if it is there"
    )
    allow_other_examples: bool = Field(False, description="evaluate an adapter that was trained on other examples")
    only_in_text: bool = Field(
        False, description="leave out values whose words do not stand in title or description, as `fill` does"
    )
    run_name: str = Field("extraction", description="name of the run in the metrics")


class FillJob(_AnswerJob):
    """Fill the attributes of items that lack them."""

    items: Path = Field(description="items table: a folder of Parquet files, as jobs/prepare.py writes it")
    learned: Path = Field(
        Path("out/extract"), description="folder of `prepare` and training: schemas.json, products/, adapter/"
    )
    schema_file: Path | None = Field(None, description="JSON file of category to attributes; default <learned>/schemas.json")
    adapter: Path | None = Field(
        None, description="adapter trained with --task extract; default <learned>/adapter if it is there"
    )
    only_in_text: bool = Field(
        True, description="leave out values whose words do not stand in title or description; --no-only-in-text keeps them"
    )
    max_unreadable_fraction: float = Field(0.1, ge=0, le=1, description="share of unreadable answers that is accepted")
    out: Path = Field(Path("out/run"), description="folder of the run")


def prepare(config: PrepareJob) -> None:
    """Write products, examples and schemas."""
    with step("attributes prepare") as running:
        schemas = read_schemas(config.schema_file) if config.schema_file else None
        done = prepare_benchmark(
            config.train, config.test, config.out, schemas=schemas, max_rejected_fraction=config.max_rejected_fraction
        )
        save(config, config.out / "config" / "attributes-prepare.yaml")
        rows = done.train + done.test
        lost = {"rejected": done.rejected, "repeated": done.repeated}
        record_step(
            config.out,
            "attributes prepare",
            config,
            rows_in=rows + done.rejected + done.repeated,
            rows_out=rows,
            seconds=running.seconds,
            counts=lost,
        )
        running.result = (
            f"{rows + done.rejected + done.repeated} lines = {done.train} to learn from + {done.test} to measure on + "
            f"{done.rejected} rejected + {done.repeated} in both; {done.attributes} attributes in {done.categories} categories "
            f"-> {config.out}"
        )


def evaluate(config: EvaluateJob) -> str:
    """Measure, and return the figures as text."""
    schemas = read_schemas(config.out / SCHEMAS_FILE)
    products = read_products(config.out / "products" / "test")
    shards = [file.name for file in example_files(config.out / "examples" / "test", "test")]
    with alone(config.out), step("attributes evaluate") as running:
        models = [_model(name, config, config.out, config.adapter) for name in _names(config)]
        if not config.allow_other_examples:
            adapters = [model.variant.adapter for model in models]
            refuse_other_examples(adapters, config.out / "examples" / "train", measured="products that are measured")
        work = plan_work(
            config.out / "examples" / "test", shards, models, schemas, constrained=config.constrained, near=config.out
        )
        save(config, config.out / "config" / "attributes-evaluate.yaml")
        counts = _answer(work, config, running, rows=len(products) * len(models))
        found = score_work(work, products, run=config.run_name, only_in_text=config.only_in_text)
        replace_folder(work.folder, answers_folder(config.out))
        record_step(
            config.out,
            "attributes evaluate",
            config,
            rows_in=len(products) * len(models),
            rows_out=len(products) * len(models) - sum(found.unreadable.values()),
            seconds=running.seconds,
            counts={"unreadable": sum(found.unreadable.values()), "completion tokens": counts.completion_tokens},
        )
        running.result = (
            f"{len(models)} models on {len(products)} products, {sum(found.unreadable.values())} answers unreadable; "
            f"{counts.rows} written now by engines, {counts.completion_tokens} tokens -> {answers_folder(config.out)}"
        )
    return plain_text(found.scores, title=f"Attributes of {len(products)} products (percent, with 95 % intervals)")


def fill(config: FillJob) -> None:
    """Write items-filled."""
    schemas: Schemas = read_schemas(config.schema_file or config.learned / SCHEMAS_FILE)
    with alone(config.out), step("attributes fill") as running:
        name: ModelName = "rule" if config.engine == RULE else "adapter" if _adapter(config, config.learned) else "base"
        plan = plan_fill(
            config.items,
            _model(name, config, config.learned, config.adapter),
            schemas,
            config.out,
            constrained=config.constrained,
        )
        save(config, config.out / "config" / "attributes-fill.yaml")
        _answer(plan.work, config, running, rows=plan.counts[ASKED])
        done = write_filled(
            plan,
            config.out / "items-filled",
            only_in_text=config.only_in_text,
            max_unreadable_fraction=config.max_unreadable_fraction,
        )
        record_step(
            config.out,
            "attributes fill",
            config,
            rows_in=done.items,
            rows_out=done.items,
            seconds=running.seconds,
            counts={"values added": done.values, **done.counts},
        )
        told = ", ".join(f"{count} {what}" for what, count in done.counts.items() if count)
        running.result = f"{done.items} items ({told}): {done.values} values added -> {config.out / 'items-filled'}"


def _names(config: EvaluateJob) -> list[ModelName]:
    if config.models:
        return list(dict.fromkeys(config.models))
    if config.engine == RULE:
        return ["rule"]
    return ["rule", "base", "adapter"] if _adapter(config, config.out) else ["rule", "base"]


def _adapter(config: EvaluateJob | FillJob, folder: Path) -> Path | None:
    return config.adapter or (folder / "adapter" if (folder / "adapter").is_dir() else None)


def _model(name: ModelName, config: EvaluateJob | FillJob, folder: Path, adapter: Path | None) -> Model:
    if name == RULE:
        return rule_model(read_products(folder / "products" / "train"))
    if config.engine == RULE or config.base_model is None:
        raise ConfigError(f"a model is asked for ({name}) without --base-model; name one, or pass --engine rule")
    variant = make_variant(
        base_model=config.base_model,
        adapter=adapter or folder / "adapter" if name == "adapter" else None,
        prompt=part(config, PromptConfig),
        generation=part(config, GenerationConfig),
    )
    return Model(name if name == "adapter" else Path(config.base_model).name, variant)


def _answer(work: Work, config: EvaluateJob | FillJob, running: Step, *, rows: int) -> RunCounts:
    return answer_all(
        work,
        part(config, GenerationConfig),
        cluster=lambda: ray_session(part(config, ClusterConfig)),
        on_progress=lambda now: running.show(now.rows_seen, rows, f"{now.engines.failed} failed"),
    )


def show(config: EvaluateJob) -> None:
    """Measure and print."""
    print(f"\n{evaluate(config)}")


COMMANDS: Commands = {
    "prepare": Command(prepare, PrepareJob),
    "evaluate": Command(show, EvaluateJob),
    "fill": Command(fill, FillJob),
}


if __name__ == "__main__":
    run_job(COMMANDS, __doc__)
