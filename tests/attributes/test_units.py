"""Quantities in running text."""

from __future__ import annotations

import time

import pint
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewllm.attributes.serialise import value_text
from reviewllm.attributes.unit_table import UNITS
from reviewllm.attributes.units import find_quantities, same_quantity, unit_of
from reviewllm.attributes.values import Quantity, measure


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a 16.9 fl oz bottle", [("16.9 fl oz", 16.9, 16.9, "fl_oz")]),
        ("5 x 7 inches", [("5", 5, 5, "in"), ("7 inches", 7, 7, "in")]),
        ("5x7in", [("5", 5, 5, "in"), ("7in", 7, 7, "in")]),
        ('8.5"L x 2"W', [('8.5"', 8.5, 8.5, "in"), ('2"', 2, 2, "in")]),
        ("2-3 cm or 10 to 12 m", [("2-3 cm", 2, 3, "cm"), ("10 to 12 m", 10, 12, "m")]),
        ("a 12V, 2,000 mAh battery", [("12V", 12, 12, "V"), ("2,000 mAh", 2000, 2000, "mAh")]),
        ("she is 5'4\"", [("5'4\"", 64, 64, "in")]),
        ("5 feet 4 inches", [("5 feet 4 inches", 64, 64, "in")]),
        ("1 1/2 inch and ½ cup", [("1 1/2 inch", 1.5, 1.5, "in"), ("½ cup", 0.5, 0.5, "cup")]),
        ("1,5 kg", [("1,5 kg", 1.5, 1.5, "kg")]),
        ("-20°C, -5 cm", [("-20°C", -20, -20, "degC"), ("5 cm", 5, 5, "cm")]),
        ("5M/16.4ft", [("5M", 5, 5, "m"), ("16.4ft", 16.4, 16.4, "ft")]),
        ("a two-inch gap after one year", [("two-inch", 2, 2, "in"), ("one year", 1, 1, "year")]),
        (
            "100% cotton, 2700K, 450 sq ft",
            [("100%", 100, 100, "%"), ("2700K", 2700, 2700, "K"), ("450 sq ft", 450, 450, "ft^2")],
        ),
        (
            "12 in. wide, 15.6 In Computer, 5in Heart",
            [("12 in", 12, 12, "in"), ("15.6 In", 15.6, 15.6, "in"), ("5in", 5, 5, "in")],
        ),
        ('9.5"x7.25", LIVE,150W', [('9.5"', 9.5, 9.5, "in"), ('7.25"', 7.25, 7.25, "in"), ("150W", 150, 150, "W")]),
        ("3cm/1.2in Thick", [("3cm", 3, 3, "cm"), ("1.2in", 1.2, 1.2, "in")]),
    ],
)
def test_find_quantities_in_text(text: str, found: list[tuple[str, float, float, str]]) -> None:
    assert [(text[one.start : one.end], *one.quantity) for one in find_quantities(text)] == found


@pytest.mark.parametrize(
    "text",
    ["2 in the box", "3-in-1 pan", "3in1", "69026 HP", "155000-001\"",
      "3 in 1", "$12", "$12 oz", "the 90's", "the 90s", "iPhone 5s", "5G", "4K", "20 x 30", "USB 3.0", "1/0 cm",
     'I ordered "size 5" twice', "2 a day", "B07T9", ""],
)  # fmt: skip
def test_find_quantities_where_there_is_none(text: str) -> None:
    assert find_quantities(text) == []


@pytest.mark.parametrize("text", ["1" * 10**6, "1 " * 10**6, '5"' * 10**6, "5 x " * 10**6, "1,1" * 10**6, "½" * 10**6])
def test_find_quantities_of_hostile_text_takes_no_time(text: str) -> None:
    begin = time.process_time()
    find_quantities(text)
    assert time.process_time() - begin < 2


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (Quantity(2, 2, "in"), Quantity(5.08, 5.08, "cm"), True),
        (Quantity(2, 2, "in"), Quantity(5.3, 5.3, "cm"), False),
        (Quantity(2.5, 2.5, "cm"), Quantity(2, 3, "cm"), True),
        (Quantity(2, 3, "cm"), Quantity(1, 2.5, "cm"), False),
        (Quantity(100, 100, "degC"), Quantity(212, 212, "degF"), True),
        (Quantity(20, 20, "degC"), Quantity(25, 25, "degC"), False),
        (Quantity(1, 1, "year"), Quantity(12, 12, "month"), True),
        (Quantity(1, 1, "oz"), Quantity(1, 1, "fl_oz"), None),
        (Quantity(8, 8, "count"), Quantity(8, 8, "GB"), None),
        (Quantity(3, 3, "pack"), Quantity(3, 3, "dB"), None),
        (Quantity(3, 3, "flibs"), Quantity(3, 3, "flibs"), None),
        (Quantity(0, 0, "cm"), Quantity(0, 0, "in"), True),
    ],
)
def test_same_quantity(a: Quantity, b: Quantity, same: bool | None) -> None:
    assert same_quantity(a, b) is same
    assert same_quantity(b, a) is same


def test_units_are_known_to_pint_and_every_word_means_one() -> None:
    registry = pint.UnitRegistry()
    for unit in UNITS.values():
        assert not unit.pint or registry.parse_units(unit.pint)
    words = [word for unit in UNITS.values() for word in unit.words]
    assert len(words) == len(set(words))
    assert {unit_of(word) for word in words} == {unit for unit in UNITS if UNITS[unit].words}


@settings(deadline=None)
@given(st.sampled_from([*UNITS]), st.integers(1, 10**4), st.integers(0, 100))
def test_find_quantities_reads_what_value_text_writes(unit: str, tenths: int, more: int) -> None:
    quantity = Quantity(tenths / 10, (tenths + more) / 10, unit)
    text = value_text(measure(quantity))
    if unit == "K":  # 4 K is a picture
        return
    assert [one.quantity for one in find_quantities(text)] == [quantity]
