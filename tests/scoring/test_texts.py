"""Scores of texts alone: words, sentiment, style and variety, by hand and on real reviews."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from reviewllm.scoring.distinct import distinct
from reviewllm.scoring.sentiment import NEGATIVE_RATING, POSITIVE, POSITIVE_RATING, sentiment
from reviewllm.scoring.style import style_cosine
from reviewllm.scoring.words import words


@pytest.fixture(scope="module")
def real_reviews(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    shared_data: Callable[[str], Path] = request.getfixturevalue("shared_data")
    with gzip.open(shared_data("data/amazon_2014") / "reviews_Musical_Instruments_5.json.gz") as lines:
        rows = [json.loads(line) for line in lines]
    return [row for row in rows if row["reviewText"].strip()]


def test_words_of_other_scripts_and_of_none() -> None:
    assert words("Ünder-rated, naïve…") == ["ünder", "rated", "naïve"]
    assert words("!!! 😀") == []
    assert words("とても良い。4つ星") == [*"とても良い", "4", *"つ星"]  # a script without spaces by character
    assert words("ดีมาก") == ["ดี", "ม", "า", "ก"]  # a vowel above a letter belongs to it
    assert words("बहुत अच्छी") == ["बहुत", "अच्छी"]  # one below too, where words have spaces


def test_sentiment_is_the_mean_over_sentences() -> None:
    first, second = "I love it.", "It broke."
    assert sentiment(f"{first} {second}") == pytest.approx((sentiment(first) + sentiment(second)) / 2)
    assert sentiment("") == sentiment(" \n ") == 0.0
    assert sentiment("not good at all") < 0 < sentiment("good")


@pytest.mark.parametrize("text", ["Sehr gut, gerne wieder.", "Très mauvais", "非常好", "Ужасно"])
def test_sentiment_of_another_language_is_none(text: str) -> None:
    assert sentiment(text) is None


def test_sentiment_follows_the_stars_of_real_reviews(real_reviews: list[dict[str, Any]]) -> None:
    drawn = [real_reviews[number] for number in np.random.default_rng(0).permutation(len(real_reviews))[:2_000]]
    scored = [(score, row["overall"]) for row in drawn if (score := sentiment(row["reviewText"])) is not None]
    scores, stars = (np.array(column) for column in zip(*scored, strict=True))
    assert len(scores) >= len(drawn) - 5  # a few are Spanish
    negative, positive = stars <= NEGATIVE_RATING, stars >= POSITIVE_RATING
    assert spearmanr(scores, stars).statistic > 0.2
    assert roc_auc_score(positive[negative | positive], scores[negative | positive]) > 0.8
    assert (scores[negative] > POSITIVE).mean() < 0.4
    assert (scores[positive] > POSITIVE).mean() > 0.75


def test_style_cosine_of_equal_and_of_unlike_texts() -> None:
    alike, unlike, new, short = style_cosine(
        ["Works fine, thanks!", "WORKS FINE, THANKS!", "Works", "ok"], [["Works fine, thanks!"]] * 2 + [[], ["ok then"]]
    )
    assert alike == pytest.approx(100)
    assert unlike == pytest.approx(0, abs=1)
    assert new is short is None


def test_style_cosine_knows_the_user_of_real_reviews(real_reviews: list[dict[str, Any]]) -> None:
    users: dict[str, list[str]] = {}
    for row in sorted(real_reviews, key=lambda row: (row["reviewerID"], row["unixReviewTime"])):
        users.setdefault(row["reviewerID"], []).append(row["reviewText"])
    histories = [reviews[:-1] for reviews in users.values()][:300]
    last = [reviews[-1] for reviews in users.values()][:300]
    own = np.array(style_cosine(last, histories), dtype=float)
    others = np.array([style_cosine(last, [*histories[shift:], *histories[:shift]]) for shift in (7, 50, 100)], dtype=float)
    assert (own > others).mean() > 0.6  # of the same text with its own user's reviews and with another's


def test_distinct_counted_by_hand() -> None:
    texts = ["a good a good", "a good"]
    assert distinct(texts, 1) == pytest.approx(100 * 2 / 6)
    assert distinct(texts, 2) == pytest.approx(100 * 2 / 4)  # "a good" and "good a" of 3 + 1; never across two texts
    assert distinct(["", "one"], 2) is None
