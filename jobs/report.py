"""Everything under <out> -> one HTML page and the same as JSON; two such folders compared; or one night of a backfill.

    python jobs/report.py --out out/run
    python jobs/report.py --compare out/before out/after                                  # what changed between two evaluations
    python jobs/report.py nightly --data out/run                                          # the newest published night
    python jobs/report.py nightly --data s3://bucket/run --date 2026-11-21 --nights 14 --to out/night

The first reads `<out>/{metrics,examples,annotation,generations,summary.json}`, writes `<out>/report/{index.html,metrics.json}`.
`--compare` writes `changes.html` and `changes.json` to `<after>/report`. `nightly`
reads `generations/` and `dead_letters/` below `--data` (a folder, s3:// or gs://), writes `index.html` and `night.json` to `--to`,
by default `<data>/reports/dt=YYYY-MM-DD`. None of them needs Ray.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

if __package__ in (None, ""):  # run as a file: `python jobs/report.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs.entry import run_job
from reviewllm.backfill.night import data_place
from reviewllm.config import Command, Commands, Day, JobConfig, Where
from reviewllm.place import Place, below
from reviewllm.progress import step
from reviewllm.report.changes import compare_runs, plain_text
from reviewllm.report.collect import collect
from reviewllm.report.nightly.collect import collect_night
from reviewllm.report.nightly.page import write_night
from reviewllm.report.page import write_changes, write_report


class ReportJob(JobConfig):
    """Put a run's tables, plots, examples and counts on one page.

    As the first word: nightly (one night of a backfill, from its output alone), or --compare BEFORE AFTER (two evaluations);
    see their --help.
    """

    out: Path = Field(Path("out/run"), description="folder of the run")


class CompareJob(JobConfig):
    """Say what changed from one evaluation to another: jobs/report.py --compare BEFORE AFTER [--to FOLDER]."""

    before: Path = Field(description="output folder of the earlier evaluation")
    after: Path = Field(description="output folder of the later one")
    to: Path | None = Field(None, description="folder of the page; default <after>/report")


class NightlyJob(JobConfig):
    """Say on one page whether a published night is fine, what drifted, and what it took."""

    data: Where = Field("out/run", description="folder or URI (s3://, gs://) of generations/ and dead_letters/")
    date: Day | None = Field(None, description="the night, YYYY-MM-DD; default the newest published one")
    nights: int = Field(14, ge=1, description="published nights before it that it is shown and compared with, at most")
    to: Where | None = Field(None, description="folder or URI of the report; default <data>/reports/dt=YYYY-MM-DD")


def main(config: ReportJob) -> Path:
    """Write the report; returns the page."""
    with step("report") as running:
        page, _ = write_report(collect(config.out), config.out / "report")
        running.result = f"-> {page}"
    return page


def compare(config: CompareJob) -> Path:
    """Print and write what changed between two evaluations; returns the page."""
    with step("comparison") as running:
        changes = compare_runs(config.before, config.after)
        page = write_changes(changes, config.to or config.after / "report")
        running.result = f"{len(changes.changes)} figures -> {page}"
    print(f"\n{plain_text(changes)}")
    return page


def _folders(arguments: Sequence[str]) -> list[str]:
    """The flags of `CompareJob` for two folders named one after the other."""
    given = [argument for argument in arguments[:2] if not argument.startswith("-")]
    named = [text for pair in zip(("--before", "--after"), given, strict=False) for text in pair]
    return [*named, *arguments[len(given) :]]


def nightly(config: NightlyJob) -> str:
    """Write the report of a night; returns where its page lies."""
    with step("report of a night") as running:
        report = collect_night(data_place(config.data), config.date, nights=config.nights)
        target = Place(config.to or below(config.data, f"reports/dt={report.date}"), flag="--to")
        page = write_night(report, target)
        running.result = f"{report.findings[0].claim} -> {page}"
    return page


COMMANDS: Commands = {
    "": Command(main, ReportJob),
    "nightly": Command(nightly, NightlyJob),
    "--compare": Command(compare, CompareJob, _folders),
}


if __name__ == "__main__":
    run_job(COMMANDS, __doc__)
