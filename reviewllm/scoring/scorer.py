"""All score columns of a shard of generations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pyarrow as pa

from reviewllm.scoring import language, vocabulary
from reviewllm.scoring.claims import Claim, find_claims
from reviewllm.scoring.config import AS_THE_PAPER, ScoringConfig
from reviewllm.scoring.copying import longest_runs_in, longest_shared_runs
from reviewllm.scoring.facts import product_facts
from reviewllm.scoring.hallucination import attribute_share, hallucination
from reviewllm.scoring.language import reads_english
from reviewllm.scoring.meteor import meteor, meteor_version
from reviewllm.scoring.repetition import repetition
from reviewllm.scoring.rouge import rouge, rouge_reads, rouge_version
from reviewllm.scoring.sbert import sbert_cosine, sbert_reads, sbert_version
from reviewllm.scoring.sentiment import sentiment
from reviewllm.scoring.style import style_cosine
from reviewllm.scoring.words import words
from reviewllm.tables import GENERATIONS, SCORES

Column = list[Any]


def scorer_versions(scoring: ScoringConfig) -> dict[str, str]:
    """What decides the scores, for the fingerprint.

    Raises:
        ConfigError: the embedding is no sentence-transformers model.
    """
    return {
        "rouge": rouge_version(scoring.rouge_words),
        "meteor": meteor_version(scoring.rouge_words),
        "sentence_transformers": version("sentence-transformers"),
        "sbert": sbert_version(scoring.embedding),
        "english": f"reviewllm {language.VERSION}",
        "sentiment": f"vaderSentiment {version('vaderSentiment')}",
        "style": f"scikit-learn {version('scikit-learn')}",
        "claims": f"reviewllm {vocabulary.VERSION}, pint {version('pint')}",
    }


class Product(NamedTuple):
    """What a row is about: title and attributes of the item, and the titles of what the user bought before."""

    title: str
    attributes: str | None
    history: Sequence[str]


def add_scores(
    generations: pa.Table,
    references: pa.Array,
    products: Sequence[Product],
    scoring: ScoringConfig = AS_THE_PAPER,
    *,
    others: Sequence[Sequence[str] | None] | None = None,
) -> pa.Table:
    """Add every score column to generations that lack them; a row that failed has null scores.

    A score that cannot read a row's reference (ROUGE, METEOR, sbert_cosine) or text (sentiment, claims, hallucination) is null too.
    Those that need a model, a user's reviews or the training reviews stay null: an evaluation fills them.

    Args:
        references: aligned with the rows; null for none, and then the scores that need one are null. Where no row has a
            reference no model is loaded.
        products: aligned with the rows.
        others: the reviews by others that each row's example carries, aligned with the rows; None, as for a row, for none.

    Raises:
        SchemaError: the generations lack another column.
    """
    texts = generations["review"].to_pylist()
    scores: dict[str, Column] = {column.name: [None] * len(texts) for column in SCORES}
    _put(scores, lambda found, known: reference_scores(found, known, scoring), texts, references.to_pylist())
    _put(scores, _alone, texts, texts)
    _put(scores, _with_product, texts, list(products))
    if others is not None:
        _put(scores, _with_others, texts, [reviews or None for reviews in others])
    for column in SCORES:
        generations = generations.append_column(column.name, pa.array(scores[column.name], column.type))
    return GENERATIONS.check(generations, where="scored generations")


def without_scores(generations: pa.Table) -> pa.Table:
    """Generations with every score column null, and no other columns: for texts that are no reviews."""
    for column in SCORES:
        generations = generations.append_column(column.name, pa.nulls(generations.num_rows, column.type))
    return GENERATIONS.check(generations, where="generations")


def add_history_scores(
    generations: pa.Table, histories: Sequence[Sequence[str]], trained: Iterable[str] | None = None
) -> pa.Table:
    """Fill length_ratio, style_cosine, copied_words and memorised_words of scored generations.

    Args:
        histories: the texts of each user's reviews, aligned with the rows; an empty one leaves nulls.
        trained: the reviews that were trained on; None leaves memorised_words null.
    """
    texts = generations["review"].to_pylist()
    names = ["length_ratio", "style_cosine", "copied_words", *(["memorised_words"] if trained is not None else [])]
    scores: dict[str, Column] = {name: [None] * len(texts) for name in names}
    _put(scores, _with_history, texts, [history or None for history in histories])
    if trained is not None:
        corpus = list(dict.fromkeys(trained))
        _put(scores, lambda found, _: {"memorised_words": longest_runs_in(found, corpus)}, texts, texts)
    for name, values in scores.items():
        generations = with_column(generations, name, values)
    return generations


def with_column(generations: pa.Table, name: str, values: Column) -> pa.Table:
    """Scored generations with other values in one column, of its type."""
    field = generations.schema.field(name)
    return generations.set_column(generations.schema.get_field_index(name), field, pa.array(values, field.type))


def _put(scores: dict[str, Column], score: Any, texts: Column, others: Column) -> None:
    """Score the rows that have both a text and what it is scored with, and put the figures in their places."""
    rows = [
        row for row, (text, other) in enumerate(zip(texts, others, strict=True)) if text is not None and other is not None
    ]
    for name, values in score([texts[row] for row in rows], [others[row] for row in rows]).items():
        for row, value in zip(rows, values, strict=True):
            scores[name][row] = value


def reference_scores(texts: Sequence[str], references: Sequence[str], scoring: ScoringConfig) -> dict[str, Column]:
    """The scores of texts against references, aligned with them; None where a score cannot read the reference."""
    pairs = rouge(references, texts, words=scoring.rouge_words)
    aligned = meteor(references, texts, words=scoring.rouge_words)
    counted = {reference: rouge_reads(reference, scoring.rouge_words) for reference in set(references)}
    return {
        "rouge1": [pair.rouge1 if counted[one] else None for pair, one in zip(pairs, references, strict=True)],
        "rougeL": [pair.rougeL if counted[one] else None for pair, one in zip(pairs, references, strict=True)],
        "meteor": [score if counted[one] else None for score, one in zip(aligned, references, strict=True)],
        "sbert_cosine": _cosines(references, texts, scoring.embedding),
    }


def _cosines(references: Sequence[str], texts: Sequence[str], embedding: Path | None) -> list[float | None]:
    """`sbert_cosine`, None where the model cannot read the reference."""
    distinct = list(dict.fromkeys(references))
    reads = dict(zip(distinct, sbert_reads(distinct, embedding), strict=True))
    rows = [row for row, reference in enumerate(references) if reads[reference]]
    cosines = sbert_cosine([references[row] for row in rows], [texts[row] for row in rows], embedding)
    found: list[float | None] = [None] * len(references)
    for row, cosine in zip(rows, cosines, strict=True):
        found[row] = cosine
    return found


def _alone(texts: Sequence[str], _: Sequence[str]) -> dict[str, Column]:
    return {
        "words": [len(words(text)) for text in texts],
        "sentiment": [sentiment(text) for text in texts],
        "repetition": [repetition(text) for text in texts],
    }


def claims_of(text: str, product: Product) -> list[Claim] | None:
    """The claims of a review of a product, with their verdicts; None of a text that is not English."""
    if not reads_english(text):
        return None
    return find_claims(text, product_facts(product.title, product.attributes), product.history)


def _with_product(texts: Sequence[str], products: Sequence[Product]) -> dict[str, Column]:
    scores: dict[str, Column] = {"claims": [], "hallucination": [], "attribute_share": []}
    for text, product in zip(texts, products, strict=True):  # one text at a time: it is read once for all of them
        claims = claims_of(text, product)
        scores["claims"].append(None if claims is None else len(claims))
        scores["hallucination"].append(hallucination(claims or []))
        scores["attribute_share"].append(attribute_share(text, product.attributes))
    return scores


def _with_others(texts: Sequence[str], others: Sequence[Sequence[str]]) -> dict[str, Column]:
    return {"copied_from_others": longest_shared_runs(texts, others)}


def _with_history(texts: Sequence[str], histories: Sequence[Sequence[str]]) -> dict[str, Column]:
    usual = [median([len(words(review)) for review in history]) for history in histories]
    return {
        "length_ratio": [len(words(text)) / (length or 1) for text, length in zip(texts, usual, strict=True)],
        "style_cosine": style_cosine(texts, histories),
        "copied_words": longest_shared_runs(texts, histories),
    }
