"""Figures on real reviews: found where there is something to find, unknown where there is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from conftest import entry, example
from evaluated import baseline_reviews as reviews
from evaluated import examples_frame as examples

from reviewllm.evaluation.auc import auc
from reviewllm.evaluation.validation import validate
from reviewllm.scoring.config import ScoringConfig


def test_validate_sentiment_and_style_by_construction() -> None:
    stars = pl.DataFrame(
        {"review": ["I love it, great!"] * 30 + ["Terrible, awful, I hate it."] * 10, "rating": [5.0] * 30 + [1.0] * 10}
    )
    loud = [example(user_id=f"l{n}", history=[entry(1, review="GREAT!!! WOW!!!")], reference="GREAT!!!") for n in range(12)]
    calm = [
        example(user_id=f"c{n}", history=[entry(1, review="it is fine, I think")], reference="I think so") for n in range(12)
    ]
    mixed = [row for pair in zip(loud, calm, strict=True) for row in pair]
    found = validate(examples(*mixed), reviews(), stars)
    assert found.reviews == 40
    assert found.sentiment_auc == found.style_auc == 1.0
    assert found.negative_taken_for_positive == found.positive_taken_for_negative == 0.0
    assert (found.sentiment_spearman or 0) > 0.99
    assert (found.users, found.pairs, found.sbert_cosine_auc) == (24, 0, None)


def test_validate_items_by_construction() -> None:
    texts = {"hose": "This garden hose waters my lawn", "lamp": "A bright lamp for my desk"}
    asked = [example(user_id=f"{item}{n}", item_id=item, reference=text) for n in range(12) for item, text in texts.items()]
    known = reviews(items=[(f"other of {item}", item, "x", 5.0, f"{text} well", None) for item, text in texts.items()])
    found = validate(examples(*asked), known, pl.DataFrame({"review": ["ok"], "rating": [3.0]}))
    assert (found.pairs, found.rouge1_auc, found.sbert_cosine_auc) == (24, 1.0, 1.0)
    assert found.sentiment_spearman is None
    assert found.style_auc is None


def test_validate_dissonances_by_construction() -> None:
    def said(*texts: str, item: str) -> list[dict[str, Any]]:
        return [{**entry(1, review=text, rating=5.0), "user_id": "o", "item_id": item} for text in texts]

    loud, calm = ["GREAT!!! WOW!!!", "GREAT!! SO GOOD!!!"], ["it is fine, I think", "it is all right, I think so"]
    hose, lamp = (
        ["It waters my lawn well", "Waters the whole lawn"],
        ["A bright lamp for my desk", "Bright light on the desk"],
    )
    manners = {"loud": (loud, "GREAT!!! FUN!!!", hose), "calm": (calm, "it is good, I think", lamp)}
    asked = [
        example(
            user_id=f"{name}{n}",
            item_id=f"{name}{n}",
            reference=reference,
            history=[entry(1, review=text, rating=5.0) for text in history],
            rating=5.0,
            item_evidence=said(*about, item=f"{name}{n}"),
        )
        for n in range(12)
        for name, (history, reference, about) in manners.items()
    ]
    found = validate(examples(*asked), reviews(), pl.DataFrame({"review": ["ok"], "rating": [3.0]}))
    assert found.user_dissonance_auc == 1.0
    about_items = [{**row, "reference": row["item_evidence"][0]["review"]} for row in asked]
    found = validate(examples(*about_items), reviews(), pl.DataFrame({"review": ["ok"], "rating": [3.0]}))
    assert found.item_dissonance_auc == 1.0
    bare = [{**row, "history": [], "item_evidence": None} for row in asked]
    found = validate(examples(*bare), reviews(), pl.DataFrame({"review": ["ok"], "rating": [3.0]}))
    assert found.user_dissonance_auc is found.item_dissonance_auc is None


def test_auc_by_hand() -> None:
    assert auc(np.array([2.0, 2.0]), np.array([1.0, 2.0])) == (1 + 0.5 + 1 + 0.5) / 4
    assert auc(np.array([]), np.array([1.0])) is None


def test_validate_few_purchases_tell_nothing() -> None:
    texts = {"hose": "This garden hose waters my lawn", "lamp": "A bright lamp for my desk"}
    asked = [
        example(user_id=f"{item}{n}", item_id=item, reference=text, history=[entry(1, review=text)])
        for n in range(2)
        for item, text in texts.items()
    ]
    known = reviews(items=[(f"other of {item}", item, "x", 5.0, f"{text} well", None) for item, text in texts.items()])
    found = validate(examples(*asked), known, pl.DataFrame({"review": ["ok"], "rating": [3.0]}))
    assert (found.pairs, found.users) == (4, 4)
    assert found.rouge1_auc is found.sbert_cosine_auc is found.style_auc is None


def test_validate_asks_figures_about_the_reviews_that_they_can_read() -> None:
    stars = pl.DataFrame(
        {
            "review": ["I love it, great!"] * 15
            + ["Terrible, awful, I hate it."] * 15
            + ["Ganz schlecht, leider kaputt."] * 20,
            "rating": [5.0] * 15 + [1.0] * 15 + [5.0] * 20,
        }
    )
    texts = {"hose": "花园用的水管非常好用，水流很大", "lamp": "书桌上的台灯很亮，光线柔和"}
    asked = [example(user_id=f"{item}{n}", item_id=item, reference=text) for n in range(12) for item, text in texts.items()]
    known = reviews(items=[(f"other of {item}", item, "x", 5.0, f"{text}。推荐", None) for item, text in texts.items()])
    found = validate(examples(*asked), known, stars)
    assert (found.reviews, found.unread) == (30, 20)
    assert found.sentiment_auc == 1.0  # without the German ones, which have five stars here
    assert (found.pairs, found.rouge1_auc, found.sbert_cosine_auc) == (24, None, None)
    assert {one.reviews for one in found.detections if one.figure in ("hallucination", "relevance")} == {0}
    by_character = validate(examples(*asked), known, stars, scoring=ScoringConfig(rouge_words="unicode"))
    assert (by_character.rouge1_auc, by_character.rougeL_auc) == (1.0, 1.0)
