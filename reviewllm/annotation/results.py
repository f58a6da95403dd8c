"""Key and answers -> how many of each model's reviews mean the same as the real ones, and how far annotators agree."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from pydantic import FiniteFloat, TypeAdapter

from reviewllm.annotation.agreement import Agreement, fleiss_kappa, krippendorff_alpha
from reviewllm.annotation.answers import Sheet
from reviewllm.annotation.judgements import Floats, answer_matrix, judgements
from reviewllm.annotation.key import Key, Record, Split, annotation_folder
from reviewllm.files import read_json, write_text
from reviewllm.table_files import write_table
from reviewllm.tables import JUDGEMENTS

RESULTS_FILE = "results.json"
JUDGEMENTS_FILE = "judgements.parquet"


class ModelResult(Record):
    """How a model was judged.

    A share is the part, 0 to 1, of its reviews that one annotator judged similar: of those answered, and of those not shown
    (failed or blank), which count as not similar. It is null for an annotator who answered none of those shown. Mean, minimum
    and maximum are over the annotators that have one: bar and error bar of the paper's figure 2.
    """

    model: str
    mean: FiniteFloat | None
    minimum: FiniteFloat | None
    maximum: FiniteFloat | None
    shares: dict[str, FiniteFloat | None]  # by annotator
    pairs: int  # drawn examples, each with one review of the model: shown + failed + blank
    shown: int
    failed: int
    blank: int
    missing: int  # answers to those shown, over all annotators


class AnnotationResults(Record):
    """The human evaluation of a run.

    `annotators` sent answers, of `annotators_exported`. `pairs` were shown to each: fewer than the models' together where
    several wrote one text. Agreement is over the pairs shown alone.
    """

    export_id: str
    exported_at: datetime
    split: Split
    with_rating: bool
    seed: int
    annotators: tuple[str, ...]
    annotators_exported: int
    examples: int
    pairs: int
    missing: int
    models: tuple[ModelResult, ...]
    fleiss_kappa: Agreement
    krippendorff_alpha: Agreement


_FILE = TypeAdapter(AnnotationResults)


def summarise(key: Key, sheets: Sequence[Sheet]) -> AnnotationResults:
    """Average the answers of at least one annotator; models come in the order of the key."""
    answers = answer_matrix(key, sheets)
    annotators = tuple(sheet.annotator for sheet in sheets)
    return AnnotationResults(
        **key.model_dump(include={"export_id", "exported_at", "split", "with_rating", "seed"}),
        annotators=annotators,
        annotators_exported=len(key.annotators),
        examples=len(key.examples),
        pairs=len(key.pairs),
        missing=int(np.isnan(answers).sum()),
        models=tuple(_model_result(model, key, answers, annotators) for model in key.models),
        fleiss_kappa=fleiss_kappa(answers),
        krippendorff_alpha=krippendorff_alpha(answers),
    )


def write_results(out: Path, key: Key, sheets: Sequence[Sheet]) -> AnnotationResults:
    """Write results and judgements into the annotation of a run, in the place of earlier ones."""
    results = summarise(key, sheets)
    folder = annotation_folder(out)
    write_table(judgements(key, sheets), folder / JUDGEMENTS_FILE, JUDGEMENTS)
    write_text(results.model_dump_json(indent=1) + "\n", folder / RESULTS_FILE)
    return results


def read_results(out: Path) -> AnnotationResults | None:
    """Read the human evaluation of a run; None where no answers were imported.

    Raises:
        SchemaError: the file cannot be read or is of another form.
    """
    path = annotation_folder(out) / RESULTS_FILE
    return read_json(path, _FILE) if path.is_file() else None


def plain_text(results: AnnotationResults) -> str:
    """Lay the results out for a terminal."""
    head = ["  model", "similar", "min", "max", "pairs", "not shown", "not answered"]
    body = [
        [
            "  " + result.model,
            *map(_percent, (result.mean, result.minimum, result.maximum)),
            str(result.pairs),
            str(result.failed + result.blank),
            str(result.missing),
        ]
        for result in results.models
    ]
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    lines = [
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))])
        for line in (head, *body)
    ]
    title = (
        f"Human evaluation: {results.split} set, {'with' if results.with_rating else 'without'} ratings "
        f"({len(results.annotators)} of {results.annotators_exported} annotators, {results.examples} examples)"
    )
    agreement = [
        _agreement("Fleiss' kappa", results.fleiss_kappa),
        _agreement("Krippendorff's alpha", results.krippendorff_alpha),
    ]
    return "\n".join([title, *lines, *agreement])


def _model_result(model: str, key: Key, answers: Floats, annotators: Sequence[str]) -> ModelResult:
    own = answers[:, [model in pair.models for pair in key.pairs]]
    failed, blank = key.count_not_shown(model, "failed"), key.count_not_shown(model, "blank")
    shares = {annotator: _share(row, failed + blank) for annotator, row in zip(annotators, own, strict=True)}
    known = [share for share in shares.values() if share is not None]
    return ModelResult(
        model=model,
        mean=sum(known) / len(known) if known else None,
        minimum=min(known, default=None),
        maximum=max(known, default=None),
        shares=shares,
        pairs=own.shape[1] + failed + blank,
        shown=own.shape[1],
        failed=failed,
        blank=blank,
        missing=int(np.isnan(own).sum()),
    )


def _share(answers: Floats, not_shown: int) -> float | None:
    """The share that one annotator judged similar, of what was answered or not shown."""
    given = answers[~np.isnan(answers)]
    if answers.size and not given.size:
        return None
    return float(given.sum() / (given.size + not_shown))


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _agreement(name: str, agreement: Agreement) -> str:
    if agreement.value is None:
        return f"  {name}: undefined: {agreement.reason}"
    return f"  {name}: {agreement.value:.2f} over {agreement.pairs} pairs (1 is perfect, 0 is chance)"
