"""Whatever a source says -> flat attributes; nothing is lost silently."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewllm.attributes import normalise as module
from reviewllm.attributes.normalise import normalise
from reviewllm.attributes.schema import ATTRIBUTES_SCHEMA
from reviewllm.attributes.values import MAX_NAMES, read_attributes, write_attributes

SCHEMA = jsonschema.Draft202012Validator(ATTRIBUTES_SCHEMA)


def kg(value: float) -> dict[str, Any]:
    return {"value": value, "unit": "kg"}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"Item Weight:": "1.5 Pounds"}, {"weight": {"value": 1.5, "unit": "lb"}}),
        (
            {"Color Name": "Red", "Waterproof": "Yes", "Spare lid": "no"},
            {"color": "Red", "waterproof": True, "spare_lid": False},
        ),
        ({"dimensions": {"width": "5 cm"}}, {"dimensions_width": {"value": 5, "unit": "cm"}}),
        (
            {"Package Dimensions": "5 x 5 x 7.5 inches; 1 Pounds"},
            {
                "package_weight": {"value": 1, "unit": "lb"},
                "package_dimensions": [{"value": value, "unit": "in"} for value in (5, 5, 7.5)],
            },
        ),
        ({"Length": "2.5 cm (1 in)"}, {"length": {"value": 2.5, "unit": "cm"}}),
        ({"weight_kg": 1.2, "Height (cm)": "30"}, {"weight": kg(1.2), "height": {"value": 30, "unit": "cm"}}),
        ({"weight": {"value": "2", "unit": "Kilograms"}}, {"weight": kg(2)}),
        ({"range": {"max": 3, "min": 2, "unit": "m"}}, {"range": {"minimum": 2, "maximum": 3, "unit": "m"}}),
        ({"details": [{"name": "Power", "value": 5, "unit": "W"}]}, {"power": {"value": 5, "unit": "W"}}),
        ({"details": "{'Size': 'L', 'Count': 5}"}, {"size": "L", "count": 5}),
        (
            {"UPC": "012345678905", "Part Number": "5 g", "Year": "2019"},
            {"upc": "012345678905", "part_number": "5 g", "year": 2019},
        ),
        ({"features": "5 cm", "description": [["Yes"], 4]}, {"features": ["5 cm"], "description": ["Yes", "4"]}),
        ({"a": None, "b": [], "c": {}, "d": " \u200b"}, {}),
        (None, {}),
    ],
)
def test_normalise_of_what_sources_say(raw: object, expected: dict[str, Any]) -> None:
    assert normalise(raw) == (expected, Counter())


@pytest.mark.parametrize(
    ("raw", "expected", "count"),
    [
        ({"Color": "Red", "colour": "Blue", "Color Name": "red"}, {"color": ["Red", "Blue"]}, module.CONFLICT),
        ({"size": "5 flibs"}, {"size": "5 flibs"}, module.UNKNOWN_UNIT),
        ({"size": {"value": 5, "unit": "flibs"}}, {"size": "5 flibs"}, module.UNKNOWN_UNIT),
        ({"size": '{"a": 5'}, {"size": '{"a": 5'}, module.NOT_JSON),
        ("red", {"attributes": "red"}, module.NO_OBJECT),
        ({"!?": "x"}, {}, module.NO_NAME),
        ({"a": float("nan"), "b": 1}, {"b": 1}, module.NO_VALUE),
        ({"a": object(), "b": 1}, {"b": 1}, module.NO_VALUE),
        ({"a": list(range(101))}, {"a": list(range(100))}, module.TOO_MANY_VALUES),
        ({"a": "x" * 10_001}, {"a": "x" * 9_999 + "…"}, module.TOO_LONG),
        ({"a": json.loads("[" * 50 + "5" + "]" * 50), "b": 1}, {"b": 1}, module.TOO_DEEP),
    ],
)
def test_normalise_counts_what_it_could_not_take_as_it_stood(raw: object, expected: dict[str, Any], count: str) -> None:
    attributes, counts = normalise(raw)
    assert attributes == expected
    assert +counts == Counter({count: 1})


def test_normalise_equal_values_in_two_units_are_one() -> None:
    attributes, counts = normalise({"Item Weight": "1 kg", "Weight": "2.205 lbs", "weight_oz": 35.27})
    assert (attributes, +counts) == ({"weight": kg(1)}, Counter())


def test_normalise_of_too_many_names_keeps_the_most_salient() -> None:
    raw = {"description": "x", **{f"key {number}": "x" for number in range(10_000)}, "Item Weight": "1 kg"}
    attributes, counts = normalise(raw)
    assert len(attributes) == MAX_NAMES
    assert attributes["weight"] == kg(1)
    assert "description" not in attributes
    assert +counts == Counter({module.TOO_MANY_NAMES: 10_002 - MAX_NAMES})


@pytest.mark.parametrize(
    "raw",
    [
        {f"a{'!' * number}": f"v{number}" for number in range(10_000)},  # one name
        {f"a{'!' * number}": f"{number} cm" for number in range(1_000)},
        {"a": "5 cm " * 10**6, "b": "[" * 10**6, "c": "{'a': " * 3_000, "d": '["' + "x" * 10**6},
        {f"{'x' * 10**6}{number}": number for number in range(20)},
    ],
    ids=["one name", "quantities of one name", "long texts", "long names"],
)
def test_normalise_of_hostile_objects_takes_no_time(raw: object) -> None:
    begin = time.process_time()
    normalise(raw)
    assert time.process_time() - begin < 10  # seconds; a busy machine is no failure


texts = st.text(max_size=12) | st.sampled_from(
    [
        "Yes",
        "1.5 Pounds",
        "5 x 7 in",
        "2-3 cm",
        "3 flibs",
        '["a", 5]',
        "{'a': 'b'}",
        '{"a"',
        "Weight (kg)",
        "0012",
        "1e9",
        "\ud83d",
        "<b>",
    ]
)
names = texts | st.sampled_from(
    ["Item Weight", "Color", "colour", "features", "details", "unit", "value", "weight_lbs", "name", "dimensions"]
)
raws = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


def test_normalise_a_unit_as_the_name_within_an_object_is_the_unit_of_its_number() -> None:
    assert normalise({"weight": {"kg": 5}}).attributes == {"weight": {"value": 5, "unit": "kg"}}
    assert normalise({"dimensions": {"width": {"cm": 3}}}).attributes == {"dimensions_width": {"value": 3, "unit": "cm"}}


@settings(deadline=None)  # a busy machine is no failure
@given(raws)
def test_normalise_never_raises_fits_the_schema_reads_back_and_is_idempotent(raw: object) -> None:
    attributes, _ = normalise(raw)
    SCHEMA.validate(attributes)
    assert read_attributes(write_attributes(attributes)) == attributes
    again, _ = normalise(attributes)
    assert again == attributes
    assert list(again) == list(attributes)
