"""Quantities in running text, and whether two of them are the same; the factors between units are pint's."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from reviewllm.attributes.unit_table import COMPOUNDS, UNITS
from reviewllm.attributes.values import Quantity

_GLYPHS = {"½": 1 / 2, "¼": 1 / 4, "¾": 3 / 4, "⅓": 1 / 3, "⅔": 2 / 3, "⅛": 1 / 8, "⅜": 3 / 8, "⅝": 5 / 8, "⅞": 7 / 8}
_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_NUMBER = (
    r"(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d{1,9})?"  # 1,500.5
    r"|(?:\d{1,4}[ -])?\d{1,3}/\d{1,3}(?!\d)"  # 1 1/2
    r"|\d{0,4} ?[" + "".join(_GLYPHS) + "]"
    r"|\d{1,12}(?:[.,]\d{1,9})?|\.\d{1,9}"  # 1.5, 1,5
    r"|(?:" + "|".join(_WORDS) + r")(?=[ -][^\W\d]))"
)
_SPELLING = {word: unit for unit, (_, words) in UNITS.items() for word in (unit.lower().replace("_", " "), *words)}
_EXACT = {unit: unit for unit in UNITS}
_UNIT = "|".join(
    # '-' and '.' stand for the space in 'fl. oz.' and 'watt-hours'
    re.escape(word).replace(r"\ ", r"[ .-]{1,2}")
    + (r"(?:(?![^\W_])|(?=x\d))" if word[-1].isalnum() and word[-1].isascii() else "")
    for word in sorted({*_SPELLING, *(unit.replace("_", " ") for unit in UNITS)}, key=len, reverse=True)
)
_FOUND = re.compile(
    # not within a word, a number or a price; 'x' stands between numbers in '5x7' and '5"x7"', '/' after a unit in '3 cm/1.2 in'
    rf"(?:(?<![\w.,$€£#/])|(?<=[^\W\d][/,])|(?<=[\w\"'’”″)][x×])|(?<=\d['’′]))(?P<low>[-−]?{_NUMBER})"
    rf"(?:(?: ?[-–—~] ?| to )(?P<high>[-−]?{_NUMBER}))?(?:[ -]?(?P<unit>{_UNIT}))?",
    re.IGNORECASE,
)
_TIMES = re.compile(r"\s*(?:\(?[lwhd]\)?\.?)?\s*(?:[x×*]|by)\s*", re.IGNORECASE)
_BETWEEN_COMPOUND = re.compile(r"[ .]?(?:,? ?and ?|, )?")
# After 'in', what tells inches from the preposition: nothing more, a sign, or a word of measuring.
_AFTER_IN = re.compile(r"\.? *(?:$|[^\w\s]|[x×] ?\d|(?:long|wide|high|tall|deep|thick|diameter|dia|length|width|height)\b)")
_MANY_IN_ONE = re.compile(r"[ -]?(?:\d|one\b|a\b|the\b)")
_AT_END = re.compile(r" *(?:$|[^\w\s])")
_AFTER_FEET = re.compile(r"$|[\s\dx×,.;)]")
_QUOTE = re.compile(r"(?<!\d)[\"“”]")
_OPENED = re.compile(r"(?:^|\s)['‘]\w")
_LOOK_BACK = 200  # characters in which a quotation that ends at a number may have begun
_LONGEST = 20_000  # characters read of one text; no review says more about a product


class Found(NamedTuple):
    """A quantity in a text, from character `start` to before `end`."""

    start: int
    end: int
    quantity: Quantity


class _Token(NamedTuple):
    start: int
    end: int
    low: float
    high: float
    unit: str | None


def find_quantities(text: str) -> list[Found]:
    """Find every number with a unit in running text, in order; of a very long text only the head is read.

    A unit that stands once for several counts for each ('5 x 7 inches'), and feet and inches make one quantity. 'oz'
    is read as mass, as it is written. A number without a unit, a price or 'in' as a preposition is none.

    >>> [found.quantity for found in find_quantities("16.9 fl oz, 2-3 cm and 12V, 2 in the box")]
    [Quantity(low=16.9, high=16.9, unit='fl_oz'), Quantity(low=2.0, high=3.0, unit='cm'), Quantity(low=12.0, high=12.0, unit='V')]
    """
    text = text[:_LONGEST]
    tokens = _lend_units([token for match in _FOUND.finditer(text) if (token := _token(match, text))], text)
    found: list[Found] = []
    for token in tokens:
        if token.unit is None:
            continue
        new = Found(token.start, token.end, Quantity(token.low, token.high, token.unit))
        if found and (joined := _joined(found[-1], new, text)):
            found[-1] = joined
        else:
            found.append(new)
    return found


def same_quantity(a: Quantity, b: Quantity, *, tolerance: float = 0.02) -> bool | None:
    """Tell whether one of two quantities lies within the other, as 2.5 cm does within 2-3 cm; None: of other dimensions.

    `tolerance` is the relative difference that still counts as the same; rounding makes 5 cm of 2 inches.

    >>> same_quantity(Quantity(2, 2, "in"), Quantity(5.08, 5.08, "cm"))
    True
    """
    scale_a, scale_b = _scale(a.unit), _scale(b.unit)
    if scale_a is None or scale_b is None or scale_a.dimension != scale_b.dimension:
        return None
    (low_a, high_a), (low_b, high_b) = _in_base(a, scale_a), _in_base(b, scale_b)
    slack = tolerance * max(abs(low_a), abs(high_a), abs(low_b), abs(high_b)) + 1e-12
    a_in_b = low_b - slack <= low_a and high_a <= high_b + slack
    return a_in_b or (low_a - slack <= low_b and high_b <= high_a + slack)


def equal_quantity(a: Quantity, b: Quantity, *, tolerance: float = 0.02) -> bool:
    """Tell whether two quantities are the same at both ends."""
    lows = (Quantity(one.low, one.low, one.unit) for one in (a, b))
    highs = (Quantity(one.high, one.high, one.unit) for one in (a, b))
    return bool(same_quantity(*lows, tolerance=tolerance)) and bool(same_quantity(*highs, tolerance=tolerance))


def unit_of(word: str) -> str | None:
    """The one spelling of a unit that is written somehow, as 'Pounds' or 'KG'; None where it is none.

    >>> unit_of("Fluid Ounces"), unit_of("stars")
    ('fl_oz', None)
    """
    word = " ".join(word.replace(".", " ").split())
    return _EXACT.get(word) or _SPELLING.get(word.lower())


class _Scale(NamedTuple):
    dimension: str
    factor: float
    offset: float


@lru_cache(maxsize=512)
def _scale(unit: str) -> _Scale | None:
    """How a unit maps to the base of its dimension; None for a word that is no unit.

    pint counts bits and pieces as dimensionless, so its root units tell dimensions apart. Temperatures are told from
    0 degrees Celsius, for the relative tolerance would be 6 degrees if they were told from absolute zero.
    """
    if unit not in UNITS:
        return None
    name = UNITS[unit].pint
    if not name:
        return _Scale(unit, 1.0, 0.0)
    registry = _registry()
    zero, one = (registry.Quantity(number, name).to_root_units() for number in (0.0, 1.0))
    offset = zero.magnitude - (273.15 if str(one.units) == "kelvin" else 0.0)
    return _Scale(str(one.units), one.magnitude - zero.magnitude, offset)


@lru_cache(maxsize=1)
def _registry() -> Any:
    import pint  # takes half a second, which a job without attributes need not wait

    return pint.UnitRegistry(autoconvert_offset_to_baseunit=True)


def _in_base(quantity: Quantity, scale: _Scale) -> tuple[float, float]:
    return quantity.low * scale.factor + scale.offset, quantity.high * scale.factor + scale.offset


def _token(match: re.Match[str], text: str) -> _Token | None:
    word = match["unit"]
    unit = None if word is None or not _is_meant(match, word, text) else unit_of(word.replace("-", " "))
    end = match.end() if unit else match.end("high") if match["high"] else match.end("low")
    start, low = match.start(), _number(match["low"])
    if low is None:
        return None
    if low < 0 and unit not in ("degC", "degF", "dB"):  # the '-' of a list or a dash
        start, low = start + 1, -low
    high = _number(match["high"]) if match["high"] else low
    return _Token(start, end, low, low if high is None or high < low else high, unit)


def _is_meant(match: re.Match[str], word: str, text: str) -> bool:
    """Tell a unit from a word or sign that only looks like one."""
    attached = match.start("unit") == match.end("high" if match["high"] else "low")
    if word in ("G", "H", "T", "a", "S", "j"):  # 5G, 2 a day, the 90s, a 3T
        return False
    if word in ("A", "M", "t", "J"):
        return attached or (word != "M" and bool(_AT_END.match(text, match.end())))
    if word == "s":
        return not attached and bool(_AT_END.match(text, match.end()))
    if word in ("K", "k"):
        return len(match["low"]) >= 4  # a colour temperature; 4K is a picture, 10K a sum
    if word.lower() == "in":
        if match["low"][0].isalpha() or _MANY_IN_ONE.match(text, match.end()):
            return False
        return attached or not match["low"].isdigit() or bool(_AFTER_IN.match(text, match.end()))  # 5in, 15.6 In
    if word == "HP":
        return len(match["low"]) < 4  # a maker whose numbers have more
    before = text[max(0, match.start() - _LOOK_BACK) : match.start()]
    if word in ('"', "”"):  # or the end of a quotation
        return attached and len(match["low"]) < 6 and len(_QUOTE.findall(before)) % 2 == 0
    if word in ("'", "’", "′"):  # or an apostrophe
        return attached and bool(_AFTER_FEET.match(text, match.end())) and not _OPENED.search(before)
    return True


def _number(text: str) -> float | None:
    """Read a number as people write it; None for a fraction of nothing."""
    text = text.lower().replace("−", "-").lstrip("-") if text[0] not in "-−" else "-" + text[1:]
    if text.startswith("-"):
        positive = _number(text[1:])
        return None if positive is None else -positive
    if text in _WORDS:
        return _WORDS.index(text) + 1.0
    if text[-1] in _GLYPHS:
        return float(text[:-1].strip() or 0) + _GLYPHS[text[-1]]
    whole, _, fraction = text.replace("-", " ").rpartition(" ")
    if "/" in fraction:
        above, below = (int(part) for part in fraction.split("/"))
        return None if below == 0 else float(whole or 0) + above / below
    is_decimal_comma = re.fullmatch(r"\d+,\d+", text) and not re.fullmatch(r"\d{1,3},\d{3}", text)
    return float(text.replace(",", "." if is_decimal_comma else ""))


def _lend_units(tokens: list[_Token], text: str) -> list[_Token]:
    """Give numbers without a unit that of the number after the 'x'."""
    for place in range(len(tokens) - 2, -1, -1):
        token, after = tokens[place], tokens[place + 1]
        if token.unit is None and after.unit and _TIMES.fullmatch(text, token.end, after.start):
            tokens[place] = token._replace(unit=after.unit)
    return tokens


def _joined(first: Found, second: Found, text: str) -> Found | None:
    """One quantity of two, such as feet and inches; None where they are two."""
    per = COMPOUNDS.get((first.quantity.unit, second.quantity.unit))
    is_plain = all(found.quantity.low == found.quantity.high for found in (first, second))
    if (
        not per
        or not is_plain
        or second.quantity.low >= per
        or not _BETWEEN_COMPOUND.fullmatch(text, first.end, second.start)
    ):
        return None
    total = first.quantity.low * per + second.quantity.low
    return Found(first.start, second.end, Quantity(total, total, second.quantity.unit))


def covers(found: list[Found], text: str, between: re.Pattern[str]) -> bool:
    """Tell whether a text is nothing but the quantities found in it, with `between` before, between and after them."""
    edges = [0, *(edge for one in found for edge in (one.start, one.end)), len(text)]
    gaps = list(pairwise(edges))[::2]
    return bool(found) and all(between.fullmatch(text, start, end) for start, end in gaps)
