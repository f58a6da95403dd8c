"""One spelling of a name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewllm.attributes.names import Name, canonical_name, is_identifier, joined_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Item Weight", Name("weight")),
        ("\n  Item Weight: \n ", Name("weight")),
        ("itemWeight", Name("weight")),
        ("Colour", Name("color")),
        ("Item Dimensions LxWxH", Name("dimensions")),
        ("Is Dishwasher-Safe?", Name("is_dishwasher_safe")),
        ("Größe", Name("größe")),
        ("重量", Name("重量")),
        ("weight_kg", Name("weight_kg", "weight", "kg")),
        ("Item Weight (lbs)", Name("item_weight_lbs", "weight", "lb")),
        ("plug_in", Name("plug_in")),
        ("!?", Name("")),
        ("x" * 10**6, Name("x" * 80)),
    ],
)
def test_canonical_name(text: str, name: Name) -> None:
    assert canonical_name(text) == name


@given(st.text(max_size=120))
def test_canonical_name_of_its_own_name_is_the_same(text: str) -> None:
    name = canonical_name(text).name
    assert canonical_name(name).name == name


def test_joined_name() -> None:
    assert [joined_name("", "color"), joined_name("dimensions", "width"), joined_name("item", "weight")] == [
        "color",
        "dimensions_width",
        "weight",
    ]


@pytest.mark.parametrize(
    ("name", "expected"), [("upc", True), ("item_model_number", True), ("weight", False), ("notes", False)]
)
def test_is_identifier(name: str, expected: bool) -> None:
    assert is_identifier(name) is expected
