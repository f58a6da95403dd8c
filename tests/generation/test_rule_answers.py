"""What the rule engine says to tasks that ask for no review."""

from __future__ import annotations

import json
from typing import Any

from reviewllm.generation.rule_answers import rule_likelihoods, rule_reason, rule_recommendation

CANDIDATES = ["Desk lamp", "Garden hose", "Steel garden rake", "Pen"]


def row(bought: list[str], **asked: Any) -> dict[str, Any]:
    return {"history_titles": bought, "attributes": json.dumps({"count": 2, **asked}), "title": "Rake"}


def test_rule_recommends_what_shares_most_words() -> None:
    asked = row(["Garden gloves", "Steel shovel"], candidates=CANDIDATES)
    assert rule_recommendation(asked) == '["Steel garden rake","Garden hose"]'
    # two words, one word, and none of two, of which the first comes first
    assert rule_likelihoods(asked) == [-3.0, -2.0, -1.0, -4.0]


def test_rule_without_candidates_names_the_newest_purchases() -> None:
    assert rule_recommendation(row(["Lamp", "Pen", "Cup"])) == '["Cup","Pen"]'
    assert rule_recommendation(row([])) == "[]"


def test_rule_reason_names_the_latest_purchase_if_any() -> None:
    assert rule_reason(row(["Lamp", "Hose"])) == "You bought Hose, so Rake may suit you."
    assert rule_reason(row([])) == "Rake may suit you."
