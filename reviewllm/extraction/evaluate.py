"""Models on the products of a test split: their answers, their scores, and what could not be read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from reviewllm.extraction.answers import Answer, read_answer
from reviewllm.extraction.benchmarks import Product
from reviewllm.extraction.candidates import stands_in
from reviewllm.extraction.results import metric_rows, report, unreadable_rows
from reviewllm.extraction.schemas import Attributes, attributes_of
from reviewllm.extraction.scores import Scores, score_answers
from reviewllm.extraction.shards import Model, Work
from reviewllm.files import write_text
from reviewllm.table_files import write_table
from reviewllm.tables import METRICS, UNREADABLE


class Evaluated(NamedTuple):
    """The scores of each model, and how many answers could not be read."""

    scores: Mapping[str, Scores]
    unreadable: Mapping[str, int]


def score_work(work: Work, products: Sequence[Product], *, run: str, only_in_text: bool) -> Evaluated:
    """Score what every model has answered, and put metrics and unreadable answers beside the answers.

    Args:
        only_in_text: leave out values whose words do not stand in title or description.

    Raises:
        SchemaError: an answer is missing.
    """
    scores: dict[str, Scores] = {}
    unreadable: dict[str, int] = {}
    bad = []
    for number, model in enumerate(work.models):
        rows = {row["example_id"]: row for shard in work.shards for row in work.answers(number, shard).to_pylist()}
        read = [(rows[one.product_id], _read(work, rows[one.product_id], one, only_in_text)) for one in products]
        scores[model.name] = score_answers(products, [answer for _, answer in read], work.schemas)
        found = unreadable_rows(read)
        unreadable[model.name] = len(found)
        bad += found
    write_table(metric_rows(scores, run=run), work.folder / "metrics.parquet", METRICS)
    write_table(pa.Table.from_pylist(bad, schema=UNREADABLE.schema), work.folder / "unreadable.parquet", UNREADABLE)
    about = {
        "run": run,
        "products": len(products),
        "unreadable": unreadable,
        "only_in_text": only_in_text,
        "models_are": [_about(one) for one in work.models],
    }
    write_text(json.dumps(report(scores, about=about), indent=1, ensure_ascii=False) + "\n", work.folder / "metrics.json")
    return Evaluated(scores, unreadable)


def _read(work: Work, row: Mapping[str, str | None], product: Product, only_in_text: bool) -> Answer:
    attributes: Attributes = attributes_of(work.schemas, product.category) or {}
    answer = read_answer(row["review"], attributes)
    if not only_in_text:
        return answer
    text = f"{product.title} \n {product.description or ''}"
    return answer._replace(values={name: value for name, value in answer.values.items() if stands_in(value, text)})


def _about(model: Model) -> dict[str, str | None]:
    variant = model.variant
    adapter = str(variant.adapter) if variant.adapter else None
    return {"name": model.name, "base": variant.model, "adapter": adapter, "fingerprint": variant.fingerprint}


def answers_folder(out: Path) -> Path:
    """Where the figures and answers of an evaluation are."""
    return out / "extraction"
