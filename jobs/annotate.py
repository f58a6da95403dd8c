"""Blinded pages on which people judge whether generated and real reviews mean the same -> their answers as results.

    python jobs/annotate.py export --out out/run --pairs 100 --annotators 10
    python jobs/annotate.py import --out out/run --answers <file or folder>

`export` reads `<out>/metrics/{generations,models.json}` and `<out>/examples/<split>`, and writes `<out>/annotation/`: a page
for each annotator (`annotator-01.html`, ...) and `key.json`, which tells the models and stays with the researcher. An
annotator opens the page in a browser, without a network, and sends the CSV file back that it gives. `import` joins those files
with the key and writes `results.json` and `judgements.parquet` beside it. Both need neither Ray nor a model.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import Field

if __package__ in (None, ""):  # run as a file: `python jobs/annotate.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs.entry import run_job
from reviewllm.annotation.answers import read_sheets
from reviewllm.annotation.folder import refuse_existing, write_export
from reviewllm.annotation.key import KEY_FILE, Key, annotation_folder, make_key, read_key
from reviewllm.annotation.pairs import Draw, DrawConfig, draw_pairs
from reviewllm.annotation.results import AnnotationResults, plain_text, write_results
from reviewllm.config import Command, Commands, JobConfig, part, save
from reviewllm.progress import step
from reviewllm.summary import record_step


class ExportJob(JobConfig, DrawConfig):
    """Draw evaluated examples and write a blinded page for each annotator."""

    out: Path = Field(Path("out/run"), description="folder of the run")
    annotators: int = Field(10, ge=1, description="how many people judge; each gets a page of its own")
    replace: bool = Field(False, description="remove an earlier export, and with its key the use of answers given to it")


class ImportJob(JobConfig):
    """Read the annotators' CSV files and compute the results of each model."""

    out: Path = Field(Path("out/run"), description="folder of the run")
    answers: list[Path] = Field(min_length=1, description="a CSV file, or a folder of them; once for each")
    allow_partial: bool = Field(False, description="take files in which answers are missing; they are counted")


def export_pages(config: ExportJob) -> Path:
    """Write pages and key; returns their folder."""
    if not config.replace:
        refuse_existing(config.out)
    with step("annotate export") as running:
        draw = draw_pairs(config.out, part(config, DrawConfig))
        key = make_key(draw, part(config, DrawConfig), annotators=config.annotators)
        save(config, config.out / "config" / "annotate-export.yaml")
        folder = write_export(draw, key, config.out)
        record_step(
            config.out,
            "annotate export",
            config,
            rows_in=len(draw.examples) * len(draw.models),
            rows_out=len(draw.pairs),
            seconds=running.seconds,
            counts={"not shown": len(draw.not_shown), "annotators": config.annotators},
        )
        running.result = (
            f"{len(draw.models)} models x {len(draw.examples)} examples = {len(draw.models) * len(draw.examples)} reviews in "
            f"{len(draw.pairs)} pairs for {config.annotators} annotators -> {folder}"
        )
    _tell_export(config, draw, key, folder)
    return folder


def _tell_export(config: ExportJob, draw: Draw, key: Key, folder: Path) -> None:
    if len(draw.examples) < config.pairs:
        print(f"  {draw.available} examples were evaluated, fewer than the {config.pairs} asked for: all are shown")
    if draw.left_out:
        other = "--no-with-rating" if config.with_rating else "--with-rating"
        print(
            f"  left out, since they were not evaluated {'with' if config.with_rating else 'without'} ratings (see {other}): "
            f"{', '.join(draw.left_out)}"
        )
    for model in draw.models:
        failed, blank = key.count_not_shown(model, "failed"), key.count_not_shown(model, "blank")
        if failed or blank:
            print(f"  {model}: {failed} failed and {blank} blank reviews are not shown; they count as not similar")
    print(f"  give each annotator one page, {key.annotators[0]}.html and so on; they hold customers' own reviews")
    print(f"  keep {folder / KEY_FILE} to yourself: it tells which model wrote what, and no answer counts without it")


def import_answers(config: ImportJob) -> AnnotationResults:
    """Compute and show the results."""
    with step("annotate import") as running:
        key = read_key(annotation_folder(config.out))
        sheets = read_sheets(config.answers, key, allow_partial=config.allow_partial)
        save(config, config.out / "config" / "annotate-import.yaml")
        results = write_results(config.out, key, sheets)
        answered = sum(len(sheet.answers) for sheet in sheets)
        record_step(
            config.out,
            "annotate import",
            config,
            rows_in=len(sheets) * len(key.pairs),
            rows_out=answered,
            seconds=running.seconds,
            counts={"annotators": len(sheets), "missing": results.missing},
        )
        running.result = (
            f"{len(sheets)} of {len(key.annotators)} annotators, {answered} answers, {results.missing} missing -> "
            f"{annotation_folder(config.out)}"
        )
    print(f"\n{plain_text(results)}")
    return results


COMMANDS: Commands = {"export": Command(export_pages, ExportJob), "import": Command(import_answers, ImportJob)}


if __name__ == "__main__":
    run_job(COMMANDS, __doc__)
