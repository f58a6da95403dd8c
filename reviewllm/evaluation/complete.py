"""The scores that need more than a row: histories, training reviews, embeddings, and the models that measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from reviewllm.attributes.serialise import value_text
from reviewllm.evaluation.baselines import Reviews
from reviewllm.evaluation.judge import stratified
from reviewllm.evaluation.measures import Measures
from reviewllm.scoring.dissonance import Written, item_dissonance, user_dissonance
from reviewllm.scoring.facts import read_known
from reviewllm.scoring.sbert import has_pieces, sbert_cosine, sbert_reads
from reviewllm.scoring.scorer import Product, add_history_scores, with_column
from reviewllm.table_files import read_table, write_table
from reviewllm.tables import GENERATIONS


def complete_scores(
    files: Sequence[Path],
    examples: pa.Table,
    reviews: Reviews,
    measures: Measures,
    *,
    embedding: Path | None = None,
) -> None:
    """Add to files of generations the scores that are still missing; all files at once, so that models look at a text once.

    Args:
        files: GENERATIONS of one repetition.
        examples: EXAMPLES that they are for.
        reviews: `trained` tells what may have been memorised.
        measures: models that are at hand.
        embedding: folder of the model of sentence embeddings; None for that of `scoring.sbert`.

    Raises:
        ReviewLLMError: a model that measures fails.
    """
    parts = [read_table([file], GENERATIONS) for file in files]
    known = pl.DataFrame(examples.select(["example_id", "title", "attributes", "history", "item_evidence"]))
    entries = pl.element().struct
    texts = dict(known.select("example_id", pl.col("history").list.eval(entries.field("review"))).rows())
    products = {row["example_id"]: product_of(row) for row in known.iter_rows(named=True)}
    together = pa.concat_tables(parts)
    names = together["example_id"].to_pylist()
    trained = reviews.trained["review"].to_list() if len(reviews.trained) else None
    scored = add_history_scores(together, [texts.get(name) or [] for name in names], trained)
    scored = _add_dissonances(scored, known, embedding)
    nothing = Product("", None, [])
    scored = _add_measures(scored, [products.get(name, nothing) for name in names], measures, embedding)
    start = 0
    for file, part in zip(files, parts, strict=True):
        write_table(scored.slice(start, part.num_rows), file, GENERATIONS)
        start += part.num_rows


def _add_dissonances(scored: pa.Table, known: pl.DataFrame, embedding: Path | None) -> pa.Table:
    """Fill user_dissonance and item_dissonance; reads example_id, history and item_evidence of the examples."""
    rows = {row["example_id"]: row for row in known.iter_rows(named=True)}
    columns = [scored[name].to_pylist() for name in ("example_id", "review", "rating")]
    there = [(number, *row) for number, row in enumerate(zip(*columns, strict=True)) if row[1] is not None]
    texts = [Written(review, rating) for _, _, review, rating in there]
    groups = {
        column: [written(rows[name][column] if name in rows else None) for _, name, _, _ in there]
        for column in ("history", "item_evidence")
    }
    found = {
        "user_dissonance": user_dissonance(texts, groups["history"]),
        "item_dissonance": item_dissonance(texts, groups["item_evidence"], embedding),
    }
    for name, values in found.items():
        scored = with_column(scored, name, _spread(values, [number for number, *_ in there], scored.num_rows))
    return scored


def written(entries: Sequence[Mapping[str, Any]] | None) -> list[Written]:
    """The reviews of a history or of evidence with their stars; none for None."""
    return [Written(one["review"], one["rating"]) for one in entries or []]


def relevance(texts: Sequence[str], products: Sequence[Product], embedding: Path | None = None) -> list[float | None]:
    """Cosine of the sentence embeddings of each text and of its product's title and attributes, times 100.

    None where the model cannot read the text, or has no pieces for the product's words.
    """
    known = [product_text(product) for product in products]
    distinct, about = list(dict.fromkeys(texts)), list(dict.fromkeys(known))
    reads = dict(zip(distinct, sbert_reads(distinct, embedding), strict=True))
    knows = dict(zip(about, has_pieces(about, embedding), strict=True))
    rows = [row for row, (text, product) in enumerate(zip(texts, known, strict=True)) if reads[text] and knows[product]]
    cosines = sbert_cosine([known[row] for row in rows], [texts[row] for row in rows], embedding)
    return _spread(cosines, rows, len(texts))


def product_text(product: Product) -> str:
    """A product as text for an embedding, of which the first 256 tokens count.

    >>> product_text(Product("Kettle", '{"color": "red", "lid": true}', []))
    'Kettle. color: red. lid: yes'
    """
    known = read_known(product.attributes)
    return ". ".join([product.title, *(f"{name.replace('_', ' ')}: {value_text(value)}" for name, value in known.items())])


def product_of(row: Mapping[str, Any]) -> Product:
    """The product of a row of the examples table; reads title, attributes and history."""
    return Product(row["title"], row["attributes"], [one["title"] for one in row["history"]])


def _add_measures(scored: pa.Table, products: Sequence[Product], measures: Measures, embedding: Path | None) -> pa.Table:
    texts = scored["review"].to_pylist()
    there = [number for number, text in enumerate(texts) if text is not None]
    written = [texts[number] for number in there]
    pairs = [(texts[number], products[number]) for number in there]
    found = {"relevance": relevance(written, [product for _, product in pairs], embedding)}
    columns: dict[str, list[float | None]] = {name: _spread(values, there, len(texts)) for name, values in found.items()}
    if measures.log_likelihood:
        columns["log_likelihood"] = _spread(measures.log_likelihood(written), there, len(texts))
    if measures.nli:
        columns["hallucination_nli"] = _spread(measures.nli(pairs), there, len(texts))
    if measures.judge:
        chosen = [number for number, wanted in enumerate(stratified(pl.DataFrame(scored), measures.judge_rows)) if wanted]
        judged = measures.judge([(texts[number], products[number]) for number in chosen])
        columns["hallucination_judge"] = _spread(judged, chosen, len(texts))
    for name, values in columns.items():
        scored = with_column(scored, name, values)
    return scored


def _spread(values: Sequence[float | None], places: Sequence[int], rows: int) -> list[float | None]:
    """Values at their places among the rows, null elsewhere."""
    found: list[float | None] = [None] * rows
    for place, value in zip(places, values, strict=True):
        found[place] = value
    return found
