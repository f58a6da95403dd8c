"""All score columns of a shard of generations."""

from __future__ import annotations

from importlib.metadata import version

import pyarrow as pa

from reviewllm.scoring.rouge import rouge
from reviewllm.scoring.sbert import SBERT_MODEL, sbert_cosine
from reviewllm.tables import GENERATIONS, SCORES


def scorer_versions() -> dict[str, str]:
    """What decides the scores, for the fingerprint."""
    return {
        "rouge_score": version("rouge-score"),
        "sentence_transformers": version("sentence-transformers"),
        "sbert": SBERT_MODEL,
    }


def add_scores(generations: pa.Table, references: pa.Array) -> pa.Table:
    """Add every score column to generations that lack them; `references` is aligned with the rows, null for none.

    A row without a reference, or one that failed, has null scores; where no row has a reference no model is loaded.

    Raises:
        SchemaError: the generations lack another column.
    """
    texts = generations["review"].to_pylist()
    pairs = [
        (row, reference, text)
        for row, (reference, text) in enumerate(zip(references.to_pylist(), texts, strict=True))
        if reference is not None and text is not None
    ]
    scores: dict[str, list[float | None]] = {column.name: [None] * generations.num_rows for column in SCORES}
    wanted = [reference for _, reference, _ in pairs]
    written = [text for _, _, text in pairs]
    for (row, _, _), pair, cosine in zip(pairs, rouge(wanted, written), sbert_cosine(wanted, written), strict=True):
        scores["rouge1"][row] = pair.rouge1
        scores["rougeL"][row] = pair.rougeL
        scores["sbert_cosine"][row] = cosine
    for column in SCORES:
        generations = generations.append_column(column.name, pa.array(scores[column.name], column.type))
    return GENERATIONS.check(generations, where="scored generations")
