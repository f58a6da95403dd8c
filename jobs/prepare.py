"""Raw files -> interactions, items, rejected, examples.

    python jobs/prepare.py --reviews <files or folder> --items <files or folder> --out out/run

Reads Amazon reviews (2014, 2018 v2, 2023; plain or gzipped JSON lines) or Parquet tables, in folders or at s3://
(docs/storage.md); without `--reviews`, makes a synthetic shop under `<out>/raw` and reads that. Writes
`<out>/{interactions,items,rejected,examples}`. Runs on the CPUs of one machine, in memory bounded by half a million rows;
needs no Ray.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from pydantic import Field

if __package__ in (None, ""):  # run as a file: `python jobs/prepare.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs.entry import run_job
from reviewllm.config import Command, Commands, JobConfig, Where, part, save
from reviewllm.errors import ConfigError
from reviewllm.examples.build import ExamplesCounts, build_examples
from reviewllm.examples.protocol import ExamplesConfig, Quota
from reviewllm.fetch import local_copies
from reviewllm.place import is_uri
from reviewllm.progress import Step, step
from reviewllm.sources.counts import IngestCounts
from reviewllm.sources.ingest import ingest
from reviewllm.sources.layouts import sort_names
from reviewllm.sources.shop import ShopConfig, write_shop
from reviewllm.summary import SUMMARY, record_step

_MOST_LINES = 5  # categories that are named one by one on the screen
_WITHOUT = {  # what follows from a column of a table that is empty throughout
    ("interactions", "review"): " (so every purchase counts as rating-only; a column of another name is mapped with "
    "--column-names)",
    ("interactions", "category"): " (so all purchases share one quota)",
}


class PrepareJob(JobConfig, ShopConfig, ExamplesConfig):
    """Turn raw review files into examples for training, evaluation and backfill."""

    reviews: list[Where] = Field([], description="review files or folders, or URIs of them; none: a synthetic shop")
    items: list[Where] = Field([], description="metadata files or folders, or URIs of them; may be left out")
    out: Path = Field(Path("out/run"), description="folder of the run")
    max_rejected_fraction: float = Field(0.01, ge=0, le=1, description="share of unusable rows that is accepted")
    column_names: dict[str, str] = Field({}, description="for Parquet tables: our column name to yours, as JSON")


def main(config: PrepareJob) -> None:
    """Ingest the raw files, then build the examples."""
    _check_paths(config)
    reviews, items = config.reviews, config.items
    if not reviews:
        print(f"no --reviews: a synthetic shop of {config.shop_users} users is made")
        reviews, items = ([str(folder)] for folder in write_shop(config.out / "raw", part(config, ShopConfig)))
    with (
        step("sources") as running,
        local_copies(reviews, flag="--reviews", near=config.out, check=sort_names) as review_files,
        local_copies(items, flag="--items", near=config.out, check=sort_names) as item_files,
    ):
        counts = ingest(
            reviews=review_files,
            items=item_files,
            out=config.out,
            max_rejected_fraction=config.max_rejected_fraction,
            column_names=config.column_names,
            on_progress=lambda file, done, total: running.show(done, total, file),
        )
        save(config, config.out / "config" / "prepare.yaml")
        _record_sources(config, counts, running)
    shutil.rmtree(config.out / "examples", ignore_errors=True)  # they do not belong to the new interactions
    with step("examples") as running:
        built = build_examples(
            interactions=config.out / "interactions",
            items=config.out / "items",
            out=config.out / "examples",
            config=part(config, ExamplesConfig),
            file_categories=counts.file_categories,
            on_part=running.show,
        )
        _record_examples(config, built, running)
    _tell_shortfall(config, built.quotas)
    for lack in built.lacks:
        print(f"  {lack}")


def _tell_shortfall(config: PrepareJob, quotas: list[Quota]) -> None:
    """Say which categories gave fewer targets than the protocol asks for; many of them in one line."""
    short = [quota for quota in quotas if quota.falls_short(config)]
    if len(short) > _MOST_LINES:
        sums = [sum(counts) for counts in zip(*(quota[1:] for quota in short), strict=True)]
        short = [Quota(f"{len(short)} categories together (each in {SUMMARY})", *sums)]
    for quota in short:
        trained = f"{quota.train} train, " if config.targets == "last" else ""
        print(
            f"  {quota.category}: fewer users than asked for: {quota.candidates} within the bounds ({quota.negatives} with "
            f"a negative last review) give {trained}{quota.simple} simple and {quota.hard} hard targets"
        )


def _check_paths(config: PrepareJob) -> None:
    if config.items and not config.reviews:
        raise ConfigError("--items is of no use without --reviews: name the review files too")
    for given in (Path(one) for one in (*config.reviews, *config.items) if not is_uri(one)):
        if given.is_dir() and config.out.resolve().is_relative_to(given.resolve()):
            raise ConfigError(f"--out {config.out} lies inside the input folder {given}; choose one outside of it")


def _record_sources(config: PrepareJob, counts: IngestCounts, running: Step) -> None:
    for name, table in (("interactions", counts.interactions), ("items", counts.items)):
        lost = {"rejected": table.rejected, "dropped": table.duplicates, "changed": table.changed}
        record_step(
            config.out,
            name,
            config,
            rows_in=table.rows_in,
            rows_out=table.written,
            seconds=running.seconds,
            counts={
                **lost,
                **{f"rejected: {reason}": count for reason, count in table.reasons.items()},
                **{f"noted: {what}": count for what, count in table.noted.items()},
            },
        )
        for what, count in table.noted.items():
            print(f"  {name}: {count} {what}")
        if table.empty:
            columns = (column + _WITHOUT.get((name, column), "") for column in table.empty)
            print(f"  {name}: empty throughout: {', '.join(columns)}")
    for note in counts.notes:
        print(f"  {note}")
    rows = counts.interactions
    where = " (see rejected/)" if rows.rejected else ""
    running.result = (
        f"{rows.rows_in} purchases read = {rows.written} written + {rows.rejected} rejected{where} + {rows.duplicates} repeats "
        f"+ {rows.changed} changed since; {counts.items.written} items -> {config.out}"
    )


def _record_examples(config: PrepareJob, built: ExamplesCounts, running: Step) -> None:
    record_step(
        config.out,
        "examples",
        config,
        rows_in=built.purchases,
        rows_out=sum(built.examples.values()),
        seconds=running.seconds,
        counts={
            **built.examples,
            "hidden": built.hidden,
            "repeated wording": built.repeated_wording,
            **built.without_evidence,
        },
        quotas=[quota._asdict() for quota in built.quotas],
        lacks=built.lacks,
    )
    splits = ", ".join(f"{count} {split}" for split, count in built.examples.items())
    running.result = f"{built.purchases} purchases -> {splits}; leakage check passed -> {config.out / 'examples'}"


COMMANDS: Commands = {"": Command(main, PrepareJob)}


if __name__ == "__main__":
    run_job(COMMANDS, __doc__)
