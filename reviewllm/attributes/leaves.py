"""One text of a source: what it says besides being text."""

from __future__ import annotations

import ast
import json
import re
import unicodedata
import warnings
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any

from reviewllm.attributes.units import covers, equal_quantity, find_quantities, unit_of
from reviewllm.attributes.values import Measure, Quantity, measure

LONGEST_FACT = 100  # characters; a longer text is prose, not a number or a quantity
_LONGEST_LITERAL = 20_000  # characters of Python's writing that are read; its parser is slow
_BOOLEANS = {"yes": True, "no": False, "true": True, "false": False}
_NUMBER = re.compile(
    r"-?(?:[1-9]\d{0,2}(?:,\d{3})+|0|[1-9]\d{0,14})(?:\.\d{1,9})?"
)  # no leading zero: that is a sign, not a number
_LIKE_JSON = re.compile(r"\{\s*[\"'}]|\[\s*[\"'{\[\]]")
_DECODER = json.JSONDecoder(strict=False)
_BETWEEN = re.compile(
    r"[\s;,/()]*(?:\(?[lwhd]\)?\.?|[x×*]|by|approx\.?|about)?[\s;,/()]*(?:[x×*]|by)?[\s;,/()]*\.?\s*", re.IGNORECASE
)
_LIKE_QUANTITY = re.compile(r"\d[\d.,]*\s?[^\W\d_]{1,15}\.?")


def one_line(text: str) -> str:
    """A text with single spaces and without control characters, invisible signs and halves of characters.

    >>> one_line("  a\\n\\u200bb ")
    'a b'
    """
    if not text.isprintable():
        text = "".join(
            sign
            for sign in text
            if sign.isspace() or (unicodedata.category(sign) not in ("Cc", "Cs") and sign not in _UNSEEN)
        )
    return " ".join(text.split())


_UNSEEN = "\u200b\u2060\ufeff"


def embedded(text: str) -> Any:
    """The list or object that a text is in JSON or in Python's writing of it; None where it is neither."""
    if not is_like_json(text := text.lstrip()):
        return None
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        pass
    if len(text) > _LONGEST_LITERAL:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in the text
            read = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
    return read if isinstance(read, list | dict) else None


def is_like_json(text: str) -> bool:
    """Tell whether a text begins as a list or an object in JSON does."""
    return text.startswith(("[", "{")) and bool(_LIKE_JSON.match(text))


def is_like_quantity(text: str) -> bool:
    """Tell whether a text is a number and a word.

    >>> is_like_quantity("5 flibs"), is_like_quantity("about 5")
    (True, False)
    """
    return bool(_LIKE_QUANTITY.fullmatch(text))


@lru_cache(maxsize=2**17)
def facts(text: str) -> tuple[bool | float | Quantity, ...]:
    """What a short text is when it is nothing else: yes or no, a number, or quantities; () where it is text.

    >>> facts("No"), facts("1,299.5"), facts("8 x 2 inches; 1 Pounds")[2]
    ((False,), (1299.5,), Quantity(low=1.0, high=1.0, unit='lb'))
    """
    if (boolean := _BOOLEANS.get(text.lower())) is not None:
        return (boolean,)
    if not any(sign.isdigit() for sign in text):
        return ()
    if _NUMBER.fullmatch(text):
        return (float(text.replace(",", "")),)
    found = find_quantities(text)
    if not covers(found, text, _BETWEEN):
        return ()
    quantities = [found[0].quantity]
    for before, one in pairwise(found):
        is_repeat = any(sign in text[before.end : one.start] for sign in "(/") and equal_quantity(
            before.quantity, one.quantity
        )
        if not is_repeat:  # 2.5 cm (1 in)
            quantities.append(one.quantity)
    return tuple(quantities)


def measure_in(members: Mapping[Any, Any]) -> Measure | str | None:
    """The quantity that an object is meant to be; a text where its unit is unknown, None where it is no quantity.

    >>> measure_in({"value": "1.5", "unit": "Pounds"}), measure_in({"value": 5, "unit": "flibs"}), measure_in({"width": 5})
    ({'value': 1.5, 'unit': 'lb'}, '5 flibs', None)
    """
    unit = members.get("unit")
    if len(members) not in (2, 3) or not isinstance(unit, str) or not unit.strip() or len(unit) > LONGEST_FACT:
        return None
    numbers = {key: _number(value) for key, value in members.items() if key != "unit"}
    low = numbers.get("value", numbers.get("minimum", numbers.get("min")))
    high = numbers.get("value", numbers.get("maximum", numbers.get("max")))
    if set(numbers) not in ({"value"}, {"minimum", "maximum"}, {"min", "max"}) or low is None or high is None:
        return None
    low, high = min(low, high), max(low, high)
    if known := unit_of(unit):
        return measure(Quantity(low, high, known))
    return f"{low:.15g}{f'-{high:.15g}' if high > low else ''} {unit}"


def _number(value: object) -> float | None:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return float(value.strip().replace(",", ""))
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        return None
    return float(value)
