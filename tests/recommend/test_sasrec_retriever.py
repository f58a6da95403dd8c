"""The files of a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from permissions import closed_to_others

from reviewllm.errors import InputError, SchemaError
from reviewllm.recommend.histories import make_histories
from reviewllm.recommend.sasrec_retriever import WEIGHTS, SasrecConfig, SasrecRetriever, load_sasrec, new_model

SMALL = SasrecConfig(hidden_size=16, num_layers=1, max_items=8)
SEQUENCES = pl.DataFrame(
    {"user_id": [f"u{n}" for n in range(5)], "item_ids": [["b", "a"], ["c"], ["a", "c", "b"], ["a"], ["b"]]}
)


def untrained() -> SasrecRetriever:
    """A retriever of three items with random weights."""
    return SasrecRetriever(new_model(SMALL, items=3), ["a", "b", "c"])


def test_save_and_load_give_the_same_scores(tmp_path: Path) -> None:
    retriever = untrained()
    for _ in range(2):  # the second takes the place of the first
        retriever.save(tmp_path / "sasrec", SMALL)
    loaded = load_sasrec(tmp_path / "sasrec")
    histories = make_histories(SEQUENCES, loaded.item_ids, "next")
    users = np.arange(5)
    assert np.array_equal(loaded.score(histories, users), retriever.score(histories, users))
    assert loaded.item_ids == retriever.item_ids
    assert [path.name for path in tmp_path.iterdir()] == ["sasrec"]
    assert closed_to_others(tmp_path / "sasrec") == {}


def test_load_sasrec_refuses_none_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train-sasrec"):
        load_sasrec(tmp_path)
    retriever = untrained()
    retriever.save(tmp_path / "s", SMALL)
    SasrecRetriever(retriever.model, retriever.item_ids[1:]).save(tmp_path / "t", SMALL)
    with pytest.raises(SchemaError, match="does not fit"):
        load_sasrec(tmp_path / "t")
    (tmp_path / "s" / WEIGHTS).write_bytes(b"x")
    with pytest.raises(SchemaError, match="does not fit"):
        load_sasrec(tmp_path / "s")
