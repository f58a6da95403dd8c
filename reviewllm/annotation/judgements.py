"""Key and answers -> judgements: one row for each answer and each model whose text was judged, and the same as a matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reviewllm.annotation.answers import Sheet
from reviewllm.annotation.key import Key
from reviewllm.tables import JUDGEMENTS

Floats = NDArray[np.float64]


def judgements(key: Key, sheets: Sequence[Sheet]) -> pa.Table:
    """Join answers with the key; gives JUDGEMENTS, of what was shown and answered only, in the order of sheets and key."""
    rows = [
        {
            "annotator": sheet.annotator,
            "pair_id": pair.pair_id,
            "example_id": pair.example_id,
            "model": model,
            "text_sha256": pair.text_sha256,
            "is_similar": answer.is_similar,
            "answered_at": answer.answered_at,
        }
        for sheet in sheets
        for pair in key.pairs
        if (answer := sheet.answers.get(pair.pair_id))
        for model in pair.models
    ]
    return pa.Table.from_pylist(rows, schema=JUDGEMENTS.schema)


def answer_matrix(key: Key, sheets: Sequence[Sheet]) -> Floats:
    """Answers by annotator (rows) and pair of the key (columns): 1 similar, 0 not, NaN where one is missing."""
    return np.array(
        [
            [sheet.answers[pair.pair_id].is_similar if pair.pair_id in sheet.answers else np.nan for pair in key.pairs]
            for sheet in sheets
        ],
        dtype=np.float64,
    )
