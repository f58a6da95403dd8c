"""Product attributes: clean JSON, null where empty, nothing lost."""

from __future__ import annotations

import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewllm.sources.attributes import attributes

pytestmark = pytest.mark.filterwarnings("error")


def one(**cells: str | None) -> object:
    text = attributes({name: pl.Series([cell], dtype=pl.String) for name, cell in cells.items()})[0]
    return None if text is None else json.loads(text)


def test_attributes_joins_and_cleans_every_cell() -> None:
    cells = {
        "features": '["<b>Loud</b>", "", "5 &amp; 6"]',
        "description": '["<p> </p>"]',
        "details": '{"Color": "Red<br>", "Weight": 1.5, "<i></i>": "x", "Nested": {"New": true, "Old": null}}',
        "categories": '[["Toys", "Guitars"]]',
    }
    assert one(**cells) == {
        "features": ["Loud", "5 & 6"],
        "details": {"Color": "Red", "Weight": 1.5, "Nested": {"New": True}},
        "categories": [["Toys", "Guitars"]],
    }


@pytest.mark.parametrize("empty", [None, "", "[]", "{}", '[""]', '{"k": null}', "<br />", '[[], {"k": []}]'])
def test_attributes_of_empty_cells_is_null(empty: str | None) -> None:
    assert one(features=empty, details=empty) is None


def test_attributes_of_plain_text_is_that_text() -> None:
    assert one(details="<div>1 kg</div>") == {"details": "1 kg"}


def test_attributes_of_text_that_is_not_quite_json_is_that_text() -> None:
    assert one(details='{"Size 5"": "x"}') == {"details": '{"Size 5"": "x"}'}


def test_attributes_own_object_stands_at_the_top() -> None:
    assert one(attributes='{"Color": "Red"}', features='["Loud"]') == {"Color": "Red", "features": ["Loud"]}
    assert one(attributes="red") == {"attributes": "red"}


def test_attributes_leaves_out_what_json_or_a_stack_cannot_hold() -> None:
    assert one(details='{"a": NaN, "b": "x\\ud83d"}') == {"details": {"b": "x"}}
    assert one(details="[" * 500 + '"deep"' + "]" * 500, features='["x"]') == {"features": ["x"]}


def test_attributes_keeps_row_order() -> None:
    assert attributes({"a": pl.Series(["x", None, "z"])}).to_list() == ['{"a": "x"}', None, '{"a": "z"}']


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(json_values, min_size=1, max_size=4))
def test_attributes_of_any_json_is_an_object_or_null(values: list[object]) -> None:
    for text in attributes({"details": pl.Series([json.dumps(value) for value in values])}):
        assert text is None or isinstance(json.loads(text), dict)
