"""Checkable claims of reviews and their verdicts."""

from __future__ import annotations

import json
import time

import pytest

from reviewllm.scoring.claims import find_claims
from reviewllm.scoring.facts import product_facts
from reviewllm.scoring.hallucination import attribute_share, doubtful_text, hallucination

TITLE = "Alder Black Stainless Steel Kettle, 16 oz, Works with iPhone 12, Pack of 2"
ATTRIBUTES = json.dumps(
    {
        "brand": "Alder",
        "color": ["black", "midnight sky"],
        "size": "Large",
        "battery_life": {"value": 10, "unit": "h"},
        "item_form": "loose leaf",
        "dishwasher_safe": True,
        "rechargeable": False,
        "features": ["Waterproof to 5 m"],
    }
)


def verdicts(text: str, history: tuple[str, ...] = (), title: str = TITLE) -> list[tuple[str, str]]:
    claims = find_claims(text, product_facts(title, ATTRIBUTES), history)
    assert all(text[claim.start : claim.end] == claim.text for claim in claims)
    return [(claim.text, claim.verdict) for claim in claims]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The black one.", [("black", "supported")]),
        ("It came in Midnight Sky.", [("Midnight Sky", "supported")]),
        ("The red one.", [("red", "contradicted")]),
        ("Holds a pound, 1 lb!", [("1 lb", "supported")]),
        ("Holds 3 lbs.", [("3 lbs", "contradicted")]),
        ("It draws 1500 watts.", [("1500 watts", "unsupported")]),
        ("Made of metal.", [("metal", "supported")]),
        ("Made of plastic.", [("plastic", "contradicted")]),
        ("It is dishwasher-safe.", [("dishwasher-safe", "supported")]),
        ("It is not dishwasher safe.", [("dishwasher safe", "contradicted")]),
        ("It isn't waterproof at all", [("waterproof", "contradicted")]),
        ("It is rechargeable.", [("rechargeable", "contradicted")]),
        ("It is not rechargeable.", [("rechargeable", "supported")]),
        ("It is foldable.", [("foldable", "unsupported")]),
        ("It is not black.", [("black", "contradicted")]),
        ("It works great with my iPhone 12.", [("iPhone 12", "supported")]),
        ("It works with my iPhone 14.", [("iPhone 14", "contradicted")]),
        ("It fits my 2015 Honda Civic.", [("2015 Honda Civic", "unsupported")]),
        ("I love the Alder kettle.", [("Alder", "supported")]),
        ("I love the Corvo kettle.", [("Corvo", "contradicted")]),
        ("A set of two.", [("set of two", "supported")]),
        ("It was a 3-pack.", [("3-pack", "contradicted")]),
        ("I got size large.", [("size large", "supported")]),
        ("I got size small.", [("size small", "contradicted")]),
        ("The loose leaf is good.", [("loose leaf", "supported")]),
        ("The battery lasts 10 hours.", [("10 hours", "supported")]),
        ("The battery lasts 2 hours.", [("2 hours", "contradicted")]),
    ],
)
def test_find_claims_verdicts(text: str, expected: list[tuple[str, str]]) -> None:
    assert verdicts(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "It broke after 2 weeks, in 30 minutes.",
        "I paid $20, 15 dollars off, 5 stars.",
        "I'm 5'4\" and 160 lbs.",
        "My 60 lb dog is 3 years old.",
        "It is 2 inches too short.",
        "I wish it came in red or were foldable.",
        "It goes with my red dress.",
        "I drink black tea and red wine, and my hair is fine.",
        "It came in a plastic bag.",
        "It smells fine on wood.",
        "The sound is crystal, the picture too. Great gift! 10/10",
        "",
        "\x00\ud800 <script>alert(1)</script>",
    ],
)
def test_find_claims_what_is_no_claim_about_the_product(text: str) -> None:
    assert [claim for claim in verdicts(text) if claim[1] != "supported"] == []


def test_find_claims_an_earlier_purchase_supports_what_the_review_compares_with() -> None:
    text = "Nicer than the red one of last year."
    assert verdicts(text) == [("red", "contradicted")]
    assert verdicts(text, ("Corvo red kettle",)) == [("red", "supported")]
    assert verdicts("The red one is nice.", ("Corvo red kettle",)) == [("red", "contradicted")]


def test_find_claims_without_attributes_the_title_is_what_is_known() -> None:
    facts = product_facts("Kettle", None)
    assert [claim.verdict for claim in find_claims("A red kettle of 2 lbs", facts)] == ["unsupported", "unsupported"]
    assert product_facts("Kettle", "no JSON") == facts


def test_find_claims_of_a_hostile_text_take_no_time() -> None:
    facts = product_facts(TITLE, ATTRIBUTES)
    started = time.perf_counter()
    for text in (
        "red " * 300_000,
        "1" * 1_000_000,
        "fits my " * 200_000,
        "5'" * 300_000,
        "not " * 300_000,
        "set of " * 100_000,
    ):
        find_claims(text, facts)
    assert time.perf_counter() - started < 5


def test_hallucination_is_the_share_of_doubtful_claims() -> None:
    claims = find_claims("A black kettle, foldable, 3 lbs, dishwasher safe.", product_facts(TITLE, ATTRIBUTES))
    assert hallucination(claims) == 100 * 2 / 4
    assert hallucination([]) is None
    assert doubtful_text(claims) == "'foldable' (feature, unsupported), '3 lbs' (quantity, contradicted)"


def test_attribute_share_counts_what_can_be_named() -> None:
    # brand, color, size, battery life and item form are the five most salient that a text can name
    assert attribute_share("The Alder is black.", ATTRIBUTES) == 100 * 2 / 5
    assert attribute_share("A large one, 10 h on a charge, 600 min.", ATTRIBUTES) == 100 * 2 / 5
    assert attribute_share("Fine.", None) is None
    assert attribute_share("Fine.", '{"description": ["A long prose"], "price_class": 3}') is None
