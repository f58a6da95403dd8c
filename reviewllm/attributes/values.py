"""What an attribute can be: text, a number, yes or no, a quantity with its unit, or a list of these.

`items.attributes` and `examples.attributes` hold null or the text of one flat JSON object, name -> value:

    {"brand": "Fender", "weight": {"value": 3.6, "unit": "kg"}, "color": ["red", "black"], "waterproof": false}

A name is lower-case words joined by '_'. A range is {"minimum": 2, "maximum": 3, "unit": "cm"}. A unit is one of
`units.UNITS`, the one that the source stated. There is no null and no list within a list.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn, TypeAlias, cast

from reviewllm.errors import AttributesError

Measure: TypeAlias = dict[str, float | str]
Simple: TypeAlias = str | int | float | bool | Measure
Value: TypeAlias = Simple | list[Simple]
Attributes: TypeAlias = dict[str, Value]

MAX_NAMES = 100  # a catalogue's page shows some 30; whoever has more than this sends something else
_PLAIN, _RANGE = frozenset({"value", "unit"}), frozenset({"minimum", "maximum", "unit"})
_SHOWN = 80  # characters of a wrong text in a message


class Quantity(NamedTuple):
    """A measured value; `low` equals `high` where it is no range."""

    low: float
    high: float
    unit: str


def read_attributes(text: str | None) -> Attributes:
    """Read the text of an `attributes` column; {} for null.

    >>> read_attributes('{"weight": {"value": 1.5, "unit": "lb"}}')
    {'weight': {'value': 1.5, 'unit': 'lb'}}

    Raises:
        AttributesError: the text is no JSON, no object, deeper than two, of more than `MAX_NAMES` names, or has a name
            or a value that cannot be.
    """
    if text is None:
        return {}
    try:
        loaded = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise AttributesError(f"attributes {_shown(text)}: not JSON ({error}); {_EXPECTED}") from None
    if not isinstance(loaded, dict):
        raise AttributesError(f"attributes {_shown(text)}: not an object but {type(loaded).__name__}; {_EXPECTED}")
    if len(loaded) > MAX_NAMES:
        raise AttributesError(f"attributes {_shown(text)}: {len(loaded):,} names, at most {MAX_NAMES} can be; {_EXPECTED}")
    for name, value in loaded.items():
        if not name or not is_value(value):
            raise AttributesError(f"attributes: {_shown(name)} is {_shown(json.dumps(value))}; {_EXPECTED}")
    return loaded


_EXPECTED = "expected one flat JSON object as reviewllm.attributes.values describes it; jobs/prepare.py writes it so"


def write_attributes(attributes: Mapping[str, Value]) -> str | None:
    """Write attributes as the text of a column; null where there are none."""
    return json.dumps(attributes, ensure_ascii=False) if attributes else None


def is_value(value: object) -> bool:
    """Tell whether a value read from JSON is one that an attribute can have."""
    return all(map(_is_simple, value)) if isinstance(value, list) else _is_simple(value)


def quantity_of(value: Value) -> Quantity | None:
    """The quantity that a value is; None for every other value.

    >>> quantity_of({"minimum": 2, "maximum": 3, "unit": "cm"})
    Quantity(low=2, high=3, unit='cm')
    """
    if not isinstance(value, dict):
        return None
    members = cast(dict[str, Any], value)
    low, high = (members["minimum"], members["maximum"]) if "minimum" in members else (members["value"],) * 2
    return Quantity(low, high, members["unit"])


def measure(quantity: Quantity) -> Measure:
    """The value that a quantity is; whole numbers are written without a point.

    >>> measure(Quantity(2.0, 2.0, "cm"))
    {'value': 2, 'unit': 'cm'}
    """
    low, high = _shortest(quantity.low), _shortest(quantity.high)
    return {"value": low, "unit": quantity.unit} if low == high else {"minimum": low, "maximum": high, "unit": quantity.unit}


def as_list(value: Value) -> list[Simple]:
    """A list as it stands, and any other value as a list of one."""
    return value if isinstance(value, list) else [value]


def _is_simple(value: object) -> bool:
    return isinstance(value, str | bool) or _is_number(value) or (isinstance(value, dict) and _is_measure(value))


def _is_number(value: object) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def _is_measure(value: dict[str, Any]) -> bool:
    numbers = [inner for key, inner in value.items() if key != "unit"]
    return (
        frozenset(value) in (_PLAIN, _RANGE)
        and isinstance(value["unit"], str)
        and all(_is_number(number) and not isinstance(number, bool) for number in numbers)
    )


def _shortest(number: float) -> float:
    return int(number) if number == int(number) else number


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number in JSON")


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
