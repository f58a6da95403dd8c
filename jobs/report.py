"""Everything under <out> -> one HTML page and the same as JSON.

    python jobs/report.py --out out/run

Reads `<out>/{metrics,examples,generations,summary.json}`, writes `<out>/report/{index.html,metrics.json}`. Needs no Ray.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import Field

if __package__ in (None, ""):  # run as a file: `python jobs/report.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs.entry import run
from reviewllm.config import JobConfig
from reviewllm.progress import step
from reviewllm.report.collect import collect
from reviewllm.report.page import write_report


class ReportJob(JobConfig):
    """Put a run's tables, plots, examples and counts on one page."""

    out: Path = Field(Path("out/run"), description="folder of the run")


def main(config: ReportJob) -> Path:
    """Write the report; returns the page."""
    with step("report") as running:
        page, _ = write_report(collect(config.out), config.out / "report")
        running.result = f"-> {page}"
    return page


if __name__ == "__main__":
    run(main, ReportJob)
