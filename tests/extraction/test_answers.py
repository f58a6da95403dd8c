"""What a model wrote, whatever it is."""

from __future__ import annotations

from typing import Any

import pytest

from reviewllm.extraction.answers import read_answer
from reviewllm.extraction.schemas import ValueSchema

ATTRIBUTES = {
    "brand": ValueSchema(max_chars=20),
    "size": ValueSchema(),
    "weight": ValueSchema(type="number"),
    "used": ValueSchema(type="boolean"),
    "colors": ValueSchema(many=True),
    "kind": ValueSchema(choices=["low", "high"]),
}


@pytest.mark.parametrize(
    ("text", "values", "dropped"),
    [
        ('{"brand":"Diesel","size":"10"}', {"brand": "Diesel", "size": "10"}, 0),
        ('{"brand":null,"size":"n/a","colors":[]}', {}, 0),
        ('{"size":10,"weight":2,"used":true}', {"size": "10", "weight": 2.0, "used": True}, 0),
        ('{"colors":["red", 5, null],"kind":"low"}', {"colors": ["red", "5"], "kind": "low"}, 0),
        ('{"colors":"red"}', {"colors": "red"}, 0),
        ('{"price":1,"weight":"2","used":1,"kind":"mid","brand":["a"]}', {}, 5),
        (f'{{"brand":"{"x" * 21}"}}', {}, 1),
        ('{"brand":{"a":1},"weight":NaN,"size":"\\u0000 \\n"}', {}, 2),  # NaN is nothing
        ('{"size":" a \\n b "}', {"size": "a b"}, 0),
        ('{"brand":"Spice™","size":"3½ m²","kind":"ｌow"}', {"brand": "Spice™", "size": "3½ m²", "kind": "low"}, 0),
    ],
)
def test_read_answer_takes_what_the_schema_knows(text: str, values: dict[str, Any], dropped: int) -> None:
    answer = read_answer(text, ATTRIBUTES)
    assert (answer.values, answer.problem, answer.dropped) == (values, None, dropped)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "there is no answer"),
        ('{"brand":"Diesel","si', "is not JSON: Unterminated string"),  # cut at the most tokens
        ("Great shoes!", "is not JSON"),
        ('["Diesel"]', "is a list, not an object"),
        ("[" * 100_000, "not"),
        ("9" * 10_000, "is not JSON"),
        ('{"brand":"' + "x" * 300_000 + '"}', "is longer than 200000 characters"),
    ],
)
def test_read_answer_what_is_no_object_has_a_problem(text: str | None, problem: str) -> None:
    answer = read_answer(text, ATTRIBUTES)
    assert answer.values == {}
    assert problem in (answer.problem or "") or "too deeply" in (answer.problem or "")
