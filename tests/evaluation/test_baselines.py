"""Baselines on a few purchases whose answer is plain."""

from __future__ import annotations

import pytest
from conftest import day, entry, example
from evaluated import baseline_reviews as reviews
from evaluated import examples_frame as examples

from reviewllm.evaluation.baselines import (
    BASELINES,
    REAL,
    majority,
    majority_of_category,
    nearest_user,
    own_latest,
    own_most_similar,
)

HISTORY = [
    entry(1, title="Acoustic guitar strings", review="Bright strings, they last."),
    entry(2, title="Garden hose of rubber", review="It leaks everywhere!!!"),
    entry(3, title="Kettle", review="Boils."),
]


def test_own_reviews() -> None:
    asked = examples(example(history=HISTORY), example(history=[]))
    assert own_latest(asked, reviews()) == ["Boils.", None]
    assert own_most_similar(asked, reviews()) == ["It leaks everywhere!!!", None]  # the new item is a garden hose


def test_own_most_similar_of_equals_is_the_latest() -> None:
    twice = [entry(1, title="Garden hose", review="old"), entry(2, title="Garden hose", review="new")]
    assert own_most_similar(examples(example(history=twice)), reviews()) == ["new"]


def test_nearest_user_is_another_one_and_earlier() -> None:
    shouting = "ALL CAPS!!! AWFUL!!!"
    known = reviews(
        items=[
            ("u1", "new", "Garden", 5.0, "my own", day(1)),
            ("calm", "new", "Garden", 5.0, "It is a rather pleasant hose, I must say.", day(2)),
            ("loud", "new", "Garden", 5.0, shouting, day(3)),
            ("late", "new", "Garden", 5.0, "BROKEN!!! AWFUL!!! CAPS!!!", day(100)),
            ("loud", "other", "Garden", 5.0, "of another item", day(3)),
        ]
    )
    mine = example(history=[entry(1, review="IT IS AWFUL!!! ALL BROKEN!!!")])
    assert nearest_user(examples(mine, {**mine, "item_id": "unknown"}), known) == [shouting, None]


def test_majority_is_the_commonest_text_of_rating_and_category() -> None:
    known = reviews(
        trained=[
            ("a", "i", "Garden", 2.0, "It leaks.", day(1)),
            ("b", "i", "Garden", 2.0, "It leaks.", day(1)),
            ("c", "i", "Garden", 2.0, "Bad colour.", day(1)),
            *[(f"u{number}", "i", "Garden", 5.0, "Great.", day(1)) for number in range(3)],
            ("d", "i", "Kitchen", 1.0, "It burnt.", day(1)),
        ]
    )
    asked = examples(example(rating=2.0), example(rating=1.0), example(rating=4.0))
    assert majority(asked, known) == ["It leaks.", "It burnt.", None]  # of one star in any category; of four there is none
    assert majority_of_category(asked, known) == ["Great."] * 3
    assert majority(asked, reviews()) == [None] * 3


def test_majority_of_unequal_texts_is_the_most_typical() -> None:
    texts = ["It leaks at the tap end.", "It leaks at the other end.", "Zzz?"]
    known = reviews(trained=[(str(n), "i", "Garden", 2.0, text, day(1)) for n, text in enumerate(texts)])
    assert majority(examples(example()), known)[0] in texts[:2]


@pytest.mark.parametrize("baseline", [*(one for kind in BASELINES.values() for one in kind)], ids=lambda one: one.name)
def test_no_baseline_sees_the_review_that_it_stands_in_for(baseline) -> None:
    secret = "the secret reference"
    asked = examples(example(history=HISTORY, reference=secret))
    known = reviews(items=[("u1", "new", "Garden", 2.0, secret, day(100))])
    assert secret not in baseline.write(asked, known)
    assert REAL.write(asked, known) == [secret]
