"""The cells of an item: clean, flat attributes, null where empty, nothing lost without a count."""

from __future__ import annotations

import json
import time
from collections import Counter

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewllm.attributes import normalise
from reviewllm.attributes.values import read_attributes
from reviewllm.sources.attributes import attributes

pytestmark = pytest.mark.filterwarnings("error")


def one(**cells: str | None) -> tuple[object, Counter[str]]:
    noted: Counter[str] = Counter()
    text = attributes({name: pl.Series([cell], dtype=pl.String) for name, cell in cells.items()}, noted)[0]
    return None if text is None else json.loads(text), noted


def test_attributes_of_an_amazon_2023_item() -> None:
    cells = {
        "brand": "Fender",
        "details": '{"Brand": "FENDER", "Color": "Red<br>", "Item Weight": "1.5 Pounds", "<i></i>": "x", '
        '"Nested": {"New": true, "Old": null}, '
        '"Package Dimensions": "8.5 x 2 x 4 inches; 1 Pounds", "Is Discontinued By Manufacturer": "No", "UPC": "0123"}',
        "features": '["<b>Loud</b>", "", "5 &amp; 6", "\\u003cb>Big"]',
        "description": '["<p> </p>"]',
        "categories": '[["Toys", "Guitars"]]',
    }
    expected = {
        "brand": "Fender",
        "color": "Red",
        "weight": {"value": 1.5, "unit": "lb"},
        "nested_new": True,
        "package_weight": {"value": 1, "unit": "lb"},
        "package_dimensions": [{"value": value, "unit": "in"} for value in (8.5, 2, 4)],
        "is_discontinued_by_manufacturer": False,
        "upc": "0123",
        "features": ["Loud", "5 & 6", "Big"],
        "categories": ["Toys", "Guitars"],
    }
    assert one(**cells) == (expected, Counter({normalise.NO_NAME: 1}))


@pytest.mark.parametrize(
    "cell",
    [
        "<table><tr><th>Item Weight</th><td>2 <b>kg</b></td></tr><tr><td>Colour:</td><td>Red &amp; Blue</td></tr></table>",
        "<TABLE class='a'><TR><TD>Item Weight<TD>2 kg<TR><TD>Colour<TD>Red &amp; Blue",  # end tags may be left out
        "{'\\n Item Weight: \\n': '2 kg', 'Colour': 'Red & Blue'}",
        '{"Item Weight": "2 kg", "Colour": "Red &amp; Blue"}',
        '[{"key": "Item Weight", "value": "2 kg"}, {"key": "Colour", "value": "Red & Blue"}]',
    ],
)
def test_attributes_of_technical_details(cell: str) -> None:
    expected = {"weight": {"value": 2, "unit": "kg"}, "color": "Red & Blue"}
    assert one(tech1=cell) == (expected, Counter())
    assert one(details="{}", tech1=cell, tech2=cell) == (expected, Counter())


def test_attributes_of_a_table_keep_the_text_around_it() -> None:
    assert one(tech1="<h1>Facts</h1><table><tr><td>Size</td><td>L</td></tr><tr><td>alone</td></tr></table>") == (
        {"size": "L", "tech1": ["Facts", "alone"]},
        Counter({normalise.NO_OBJECT: 1}),
    )


@pytest.mark.parametrize("empty", [None, "", "[]", "{}", '[""]', '{"k": null}', "<br />", '[[], {"k": []}]'])
def test_attributes_of_empty_cells_is_null(empty: str | None) -> None:
    assert one(features=empty, details=empty) == (None, Counter())


def test_attributes_of_plain_text_is_that_text() -> None:
    assert one(details="<div>up to 1 kg</div>") == ({"details": "up to 1 kg"}, Counter({normalise.NO_OBJECT: 1}))


def test_attributes_of_text_that_is_not_quite_json_is_that_text() -> None:
    text = '{"Size 5"": "x"}'
    assert one(details=text) == ({"details": text}, Counter({normalise.NO_OBJECT: 1, normalise.NOT_JSON: 1}))


def test_attributes_of_a_firm_stand_at_the_top_and_other_values_beside_them() -> None:
    assert one(brand="Acme", attributes='{"Color": "Red", "brand": "Bolt"}', features='["Loud"]') == (
        {"brand": ["Acme", "Bolt"], "color": "Red", "features": ["Loud"]},
        Counter({normalise.CONFLICT: 1}),
    )
    assert one(attributes="red") == ({"attributes": "red"}, Counter({normalise.NO_OBJECT: 1}))


def test_attributes_leaves_out_what_json_or_a_stack_cannot_hold() -> None:
    assert one(details='{"a": NaN, "b": "x\\ud83d", "c": "<b>y\\ud83d"}') == (
        {"b": "x", "c": "y"},
        Counter({normalise.NO_VALUE: 1}),
    )
    assert one(details="[" * 500 + '"deep"' + "]" * 500, features='["x"]') == (
        {"features": ["x"]},
        Counter({normalise.TOO_DEEP: 1}),
    )
    found, noted = one(attributes="[" * 10**6)
    assert noted[normalise.NOT_JSON] == 1
    assert found


def test_attributes_keeps_row_order() -> None:
    texts = attributes({"a": pl.Series(["x", None, "<b>z</b>"])}, Counter()).to_list()
    assert texts == ['{"a": "x"}', None, '{"a": "z"}']


@pytest.mark.parametrize("text", ["<tr" * 10**5, "<tr>" * 10**5, "<td " * 10**5, "{'" * 10**5, "<tr><td>" * 10**5])
def test_attributes_of_hostile_text_take_no_time(text: str) -> None:
    begin = time.process_time()
    one(tech1=text, description=text)
    assert time.process_time() - begin < 5


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["<tr><td>a<td>b", "&lt;b>", "1 kg", '{"a": 5']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(json_values, min_size=1, max_size=4))
def test_attributes_of_any_json_read_back(values: list[object]) -> None:
    texts = attributes({"details": pl.Series([json.dumps(value) for value in values])}, Counter()).to_list()
    assert len(texts) == len(values)
    for text in texts:
        assert text is None or read_attributes(text)
