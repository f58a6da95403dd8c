"""The text of an attributes column, read and written."""

from __future__ import annotations

import json
import pickle

import pytest

from reviewllm.attributes.values import MAX_NAMES, Quantity, as_list, measure, quantity_of, read_attributes, write_attributes
from reviewllm.errors import AttributesError, ReviewLLMError


def test_read_attributes_of_every_kind_of_value() -> None:
    attributes = {
        "brand": "Fender & Söhne",
        "count": 5,
        "length": 1.5,
        "waterproof": False,
        "weight": {"value": 1, "unit": "kg"},
        "range": {"minimum": 1, "maximum": 2.5, "unit": "m"},
        "dimensions": [{"value": 1, "unit": "cm"}, "long", True, 3],
    }
    assert read_attributes(write_attributes(attributes)) == attributes
    assert read_attributes(None) == {}
    assert write_attributes({}) is None


@pytest.mark.parametrize(
    "text",
    ["", "red", '"red"', "[]", "null", '{"a": null}', '{"a": [[1]]}', '{"a": [null]}', '{"a": {"b": 1}}', '{"": 1}', '{"a": NaN}',
     '{"a": 1e999}', '{"a": {"value": "5", "unit": "cm"}}', '{"a": {"value": true, "unit": "cm"}}',
     '{"a": {"value": 5, "unit": 6}}',
          '{"a": {"minimum": 5, "unit": "cm"}}', "[" * 10**5, json.dumps({f"k{number}": 1 for number in range(MAX_NAMES + 1)})],
)  # fmt: skip
def test_read_attributes_of_anything_else_raises(text: str) -> None:
    with pytest.raises(AttributesError, match="expected one flat JSON object") as caught:
        read_attributes(text)
    assert isinstance(caught.value, ReviewLLMError)
    assert len(str(caught.value)) < 500
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301


def test_quantity_of_is_the_reverse_of_measure() -> None:
    for quantity in (Quantity(2, 2, "cm"), Quantity(2, 3.5, "cm")):
        assert quantity_of(measure(quantity)) == quantity
    assert [quantity_of(value) for value in ("2 cm", 2, True, ["a"])] == [None] * 4


def test_as_list() -> None:
    assert (as_list("a"), as_list(["a", "b"])) == (["a"], ["a", "b"])
