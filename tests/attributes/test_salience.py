"""The order in which attributes matter."""

from __future__ import annotations

from reviewllm.attributes.salience import by_salience
from reviewllm.attributes.values import Value


def test_by_salience_identity_facts_notes_free_text() -> None:
    attributes: dict[str, Value] = {
        "description": ["x"],
        "features": ["x"],
        "about": "x" * 201,
        "asin": "B1",
        "lid": "glass",
        "power": {"value": 5, "unit": "W"},
        "waterproof": True,
        "weight": {"value": 1, "unit": "kg"},
        "color": "red",
        "brand": "Fender",
    }
    expected = ["brand", "color", "weight", "power", "lid", "waterproof", "asin", "about", "features", "description"]
    assert by_salience(attributes) == expected
    assert by_salience({}) == []
