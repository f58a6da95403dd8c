"""Everything that was written -> every figure: what an evaluation comes to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pyarrow as pa

from reviewllm.evaluation.baselines import REAL, Reviews
from reviewllm.evaluation.comparisons import Side, compare
from reviewllm.evaluation.complete import complete_scores
from reviewllm.evaluation.measures import Measures
from reviewllm.evaluation.metrics import summarise
from reviewllm.evaluation.names import Pair, write_names
from reviewllm.evaluation.results import repeat_folders
from reviewllm.evaluation.rows import evaluated_rows
from reviewllm.evaluation.validation import Validation, validate
from reviewllm.files import write_text
from reviewllm.scoring.config import AS_THE_PAPER, ScoringConfig
from reviewllm.table_files import read_table, table_files, write_table
from reviewllm.tables import COMPARISONS, GENERATIONS, METRICS


class Conclusion(NamedTuple):
    """METRICS and COMPARISONS of an evaluation, and what the figures are worth."""

    metrics: pa.Table
    comparisons: pa.Table
    validation: Validation


def conclude(
    folder: Path,
    examples: pa.Table,
    reviews: Reviews,
    *,
    names: Mapping[Pair, str],
    run: str,
    candidate: Side,
    scoring: ScoringConfig = AS_THE_PAPER,
    measures: Measures | None = None,
) -> Conclusion:
    """Complete the scores of the generations in an evaluation's folder, and average and compare them; all of it is written.

    Args:
        folder: with `generations/<repeat>/`.
        examples: EXAMPLES that were evaluated.
        reviews: `trained` tells what may have been memorised.
        candidate: the model whose adoption is to be decided.
        scoring: how texts are compared with references.
        measures: models that measure; None for none.

    Raises:
        SchemaError: generations and examples do not belong together.
        ReviewLLMError: a model that measures fails.
    """
    measures = measures or Measures()
    repeats = []
    for number, part in enumerate(repeat_folders(folder)):
        complete_scores(table_files(part, GENERATIONS), examples, reviews, measures, embedding=scoring.embedding)
        repeats.append(evaluated_rows(read_table(part, GENERATIONS), examples, names=names))
        assert part.name == str(number)
    metrics = pa.concat_tables([summarise(rows, run=run, repeat=number) for number, rows in enumerate(repeats)])
    contenders = [rows.filter(pl.col("model") != REAL.name) for rows in repeats]
    comparisons = compare(contenders, run=run, candidate=candidate)
    validation = validate(
        pl.DataFrame(examples), reviews, reviews.trained, log_likelihood=measures.log_likelihood, scoring=scoring
    )
    write_table(metrics, folder / "metrics.parquet", METRICS)
    write_table(comparisons, folder / "comparisons.parquet", COMPARISONS)
    write_text(validation.model_dump_json(indent=1), folder / "validation.json")
    write_names(names, folder / "models.json")
    return Conclusion(metrics, comparisons, validation)
