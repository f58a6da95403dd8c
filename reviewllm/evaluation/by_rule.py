"""Baselines as models: their texts become generations like any other's, in the same shards."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import polars as pl
import pyarrow as pa

from reviewllm.errors import InputError
from reviewllm.evaluation.baselines import Baseline, Reviews
from reviewllm.evaluation.contenders import Contender
from reviewllm.examples.splits import example_files
from reviewllm.generation.engine import Completion
from reviewllm.generation.failures import NO_SOURCE, Failure
from reviewllm.generation.render_shard import evidence_reviews, history_titles
from reviewllm.generation.rows import generation_rows, score_rows
from reviewllm.generation.tasks import Task
from reviewllm.table_files import read_table, table_files, write_table
from reviewllm.tables import EXAMPLES, GENERATIONS, INTERACTIONS
from reviewllm.texts import are_blank, is_blank

_COLUMNS = ["user_id", "item_id", "category", "rating", "review", "purchased_at"]


def read_reviews(interactions: Path, trained: Path, examples: pl.DataFrame) -> Reviews:
    """What baselines may copy from: the training examples' reviews, and all reviews of the evaluated items.

    Raises:
        InputError: there are no interactions.
        SchemaError: a table does not fit.
    """
    if not interactions.is_dir():
        raise InputError(
            f"{interactions}: is not there, and baselines copy from it; run jobs/prepare.py on this folder, or leave the "
            "baselines out (--models base --models adapter)"
        )
    known = pl.scan_parquet(table_files(interactions, INTERACTIONS), glob=False).select(_COLUMNS)
    known = known.filter(~are_blank(pl.col("review")))
    items = known.join(examples.lazy().select("item_id").unique(), on="item_id", how="semi").collect()
    theirs = known.join(items.lazy().select("user_id").unique(), on="user_id", how="semi")
    histories = theirs.sort("purchased_at").group_by("user_id").agg(pl.col("review").str.join("\n")).collect()
    return Reviews(trained_reviews(trained), items, dict(histories.rows()))


def trained_reviews(trained: Path) -> pl.DataFrame:
    """The reviews that were trained on; none where no training examples are kept."""
    if not any(trained.glob("*.parquet")):
        return pl.DataFrame(EXAMPLES.schema.empty_table()).select(
            *_COLUMNS[:4], review="reference", purchased_at="purchased_at"
        )
    columns = [*_COLUMNS[:4], "reference", "purchased_at"]
    frame = pl.scan_parquet(example_files(trained, "train"), glob=False).select(columns).collect()
    return frame.rename({"reference": "review"}).drop_nulls("review")


def write_by_rule(
    tasks: Sequence[Task], contenders: Sequence[Contender], reviews: Reviews, *, examples: Path, to: Path
) -> None:
    """Write and score what the baselines give for every task; a rule that finds no text fails the row, with the reason.

    A rule looks at all examples at once, and all texts are scored together: what they share, as the real reviews, is looked
    at and embedded once.
    """
    files = list(dict.fromkeys(task.pieces[0].file for task in tasks))
    if not files:
        return
    shards = [read_table(examples / file, EXAMPLES) for file in files]
    starts = dict(zip(files, accumulate((shard.num_rows for shard in shards), initial=0), strict=False))
    sizes = {file: shard.num_rows for file, shard in zip(files, shards, strict=True)}
    asked = pa.concat_tables(shards)
    numbers = list(dict.fromkeys(task.variant for task in tasks))
    rows = pa.concat_tables([_rows(asked, contenders[number], reviews) for number in numbers])
    scored = score_rows(rows, contenders[numbers[0]].variant.scoring)
    for task in tasks:
        file = task.pieces[0].file
        start = numbers.index(task.variant) * asked.num_rows + starts[file]
        write_table(scored.slice(start, sizes[file]), to / task.output, GENERATIONS)


def _rows(asked: pa.Table, contender: Contender, reviews: Reviews) -> pa.Table:
    """What a baseline gives for the examples, without scores, with what these need."""
    assert contender.baseline is not None
    written = contender.baseline.write(pl.DataFrame(asked), reviews)
    results = [_result(text, contender.baseline) for text in written]
    return generation_rows(without_prompts(asked), [0] * len(results), results, contender.variant)


def _result(text: str | None, baseline: Baseline) -> Completion | Failure:
    if text is None or is_blank(text):
        return Failure("generate", NO_SOURCE, baseline.nothing, 0)
    return Completion(text, [], "stop")


def without_prompts(shard: pa.Table) -> pa.Table:
    """Examples as `ShardRenderer` gives them, of a model that is shown no prompt."""
    shard = shard.append_column("history_titles", history_titles(shard))
    shard = shard.append_column("evidence_reviews", evidence_reviews(shard))
    shard = shard.append_column("prompt_ids", pa.nulls(shard.num_rows, pa.list_(pa.int32())))
    shard = shard.append_column("reference_ids", pa.nulls(shard.num_rows, pa.list_(pa.int32())))
    for name in ("reference_bytes", "history_kept", "attributes_kept", "attributes_given"):
        shard = shard.append_column(name, pa.nulls(shard.num_rows, pa.int32()))
    return shard
