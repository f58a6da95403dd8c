"""Whatever a source says about an item -> flat attributes in one spelling, and what happened on the way."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from reviewllm.attributes.leaves import LONGEST_FACT, embedded, facts, is_like_json, is_like_quantity, measure_in, one_line
from reviewllm.attributes.names import CONTAINERS, aliased, canonical_name, is_identifier, joined_name
from reviewllm.attributes.salience import FREE_TEXT, by_salience
from reviewllm.attributes.serialise import value_text
from reviewllm.attributes.units import equal_quantity, same_quantity
from reviewllm.attributes.values import MAX_NAMES, Attributes, Quantity, Simple, Value, measure, quantity_of

MAX_VALUES = 100  # of one attribute
MAX_TEXT = 10_000  # characters of one text
_MAX_DEPTH = 12  # specifications nest three deep
_LONGEST_INTEGER = 1_000  # bits; Python refuses to write very long ones
_EXACT = 1e15  # beyond it neighbouring whole numbers are one floating-point number

# What happened, as `Normalised.counts` and the screen name it.
CONFLICT = "attributes of different values, all kept"
NOT_JSON = "texts like JSON that are none, kept as text"
UNKNOWN_UNIT = "texts like quantities of no known unit, kept as text"
TOO_DEEP = "values nested too deep, left out"
TOO_MANY_NAMES = f"attributes beyond the {MAX_NAMES} most salient, left out"
TOO_MANY_VALUES = f"values beyond the first {MAX_VALUES} of an attribute, left out"
TOO_LONG = f"texts cut at {MAX_TEXT:,} characters"
NO_NAME = "values without a name, left out"
NO_VALUE = "values that JSON cannot hold, left out"
NO_OBJECT = "texts where an object of attributes was expected, kept as text"

_UNNAMED = "attributes"
_LABELS = ("name", "key", "attribute", "label")
_A_MASS = Quantity(1, 1, "kg")


class Normalised(NamedTuple):
    """Attributes as `values` describes them, in the order of the source; `counts` by what happened."""

    attributes: Attributes
    counts: Counter[str]


def normalise(raw: object) -> Normalised:
    """Make flat attributes of any value, as it was read from JSON; never raises, and leaves its own result as it is.

    Members of nested objects get joined names ('dimensions_width'), save those of `names.CONTAINERS`, which stand at the
    top. Texts become numbers, yes or no, or quantities where they are nothing else, and objects or lists where they are
    JSON or Python's writing of it. `features`, `description` and `categories` are lists of texts. Markup is not read;
    `reviewllm.sources.text.clean` removes it.

    >>> normalise({"details": {"Item Weight": "1.5 Pounds", "Waterproof": "Yes"}, "Colour": ["Red"]}).attributes
    {'weight': {'value': 1.5, 'unit': 'lb'}, 'waterproof': True, 'color': 'Red'}
    """
    reader = _Reader()
    if isinstance(raw, str):
        raw = _read(raw)
    if isinstance(raw, Mapping):
        reader.members("", raw, 0)
    elif raw is not None:
        reader.member("", _UNNAMED, raw, 0)
    return Normalised(reader.attributes(), reader.counts)


def _read(text: str) -> object:
    read = embedded(text)
    return text if read is None else read


class _Reader:
    """Collects the values of every name: a list for each place of the source that has the name."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.found: dict[str, list[list[Simple]]] = {}

    def attributes(self) -> Attributes:
        """What was found, each attribute with one value or a list of them."""
        joined = {name: self._join(name, places) for name, places in self.found.items()}
        if len(joined) > MAX_NAMES:
            self.counts[TOO_MANY_NAMES] += len(joined) - MAX_NAMES
            kept = set(by_salience(joined)[:MAX_NAMES])
            joined = {name: value for name, value in joined.items() if name in kept}
        return joined

    def members(self, outer: str, members: Mapping[Any, Any], depth: int) -> None:
        """Take in an object; `outer` is the name of the object it stands in."""
        for key, value in members.items():
            self.member(outer, key, value, depth)

    def member(self, outer: str, key: object, value: object, depth: int) -> None:
        """Take in one member of an object."""
        name, bare, unit = canonical_name(key if isinstance(key, str) else str(key))
        if not name:
            self.counts[NO_NAME] += 1
            return
        full = joined_name(outer, name) if outer else name
        if outer and not bare:  # {"weight": {"kg": 5}}
            _, bare_full, unit = canonical_name(full)
        else:
            bare_full = joined_name(outer, bare) if bare else None
        values: list[Simple] = []
        self._take(value, values, full, outer if name in CONTAINERS else full, depth + 1)
        if not values:
            return
        if name in CONTAINERS:
            self.counts[NO_OBJECT] += 1
        if unit and bare_full and all(_is_number(one) for one in values):
            full = bare_full
            values = [measure(Quantity(one, one, unit)) for one in values if isinstance(one, int | float)]
        self.found.setdefault(full, []).append(values)

    def _take(self, value: object, into: list[Simple], name: str, inner: str, depth: int) -> None:
        """Add the simple values within a value; members of objects within it go where they belong, under `inner`."""
        if isinstance(value, str):
            read = embedded(value)
            if read is None:
                self._text(value, into, name)
            else:
                self._take(read, into, name, inner, depth + 1)
        elif isinstance(value, bool):
            into.append(value)
        elif isinstance(value, int | float):
            self._number(value, into, name)
        elif isinstance(value, list | tuple | Mapping):
            if depth > _MAX_DEPTH:
                self.counts[TOO_DEEP] += 1
            elif isinstance(value, Mapping):
                self._object(value, into, name, inner, depth)
            else:
                for one in value:
                    self._take(one, into, name, inner, depth + 1)
        elif value is not None:
            self.counts[NO_VALUE] += 1

    def _object(self, value: Mapping[Any, Any], into: list[Simple], name: str, inner: str, depth: int) -> None:
        """Take in a quantity, one member that is told as {"name": ..., "value": ...}, or an object of members."""
        if (measured := measure_in(value)) is not None:
            if isinstance(measured, str):
                self._text(measured, into, name)
            else:
                into.append(measured)
            return
        label = next((key for key in _LABELS if isinstance(value.get(key), str)), None)
        rest = {key: one for key, one in value.items() if key != label}
        if label and "value" in rest and set(rest) <= {"value", "unit"}:
            self.member(inner, value[label], rest if rest.get("unit") else rest["value"], depth + 1)
        else:
            self.members(inner, value, depth + 1)

    def _number(self, number: float, into: list[Simple], name: str) -> None:
        if number.bit_length() > _LONGEST_INTEGER if isinstance(number, int) else not math.isfinite(number):
            self.counts[NO_VALUE] += 1
        else:
            number = int(number) if number == int(number) else number
            into.append(str(number) if abs(number) >= _EXACT or is_identifier(name) else number)

    def _text(self, text: str, into: list[Simple], name: str) -> None:
        text = one_line(text)
        if len(text) > MAX_TEXT:
            self.counts[TOO_LONG] += 1
            text = text[: MAX_TEXT - 1].rstrip() + "…"
        if not text:
            return
        if is_like_json(text):
            self.counts[NOT_JSON] += 1
        if name in FREE_TEXT or len(text) > LONGEST_FACT or is_identifier(name):
            into.append(text)
            return
        read = facts(text)
        if not read:
            if is_like_quantity(text):
                self.counts[UNKNOWN_UNIT] += 1
            into.append(text)
        for fact in read:
            if isinstance(fact, bool):
                into.append(fact)
            elif not isinstance(fact, Quantity):
                self._number(fact, into, name)
            elif "dimensions" in name and same_quantity(fact, _A_MASS) is not None:  # 8 x 2 x 4 inches; 1 Pounds
                self.found.setdefault(aliased(name.replace("dimensions", "weight")), []).append([measure(fact)])
            else:
                into.append(measure(fact))

    def _join(self, name: str, places: list[list[Simple]]) -> Value:
        """One value of all that the source says under one name."""
        if name in FREE_TEXT:
            texts = [one if isinstance(one, str) else value_text(one) for values in places for one in values]
            return self._first(list(dict.fromkeys(texts)))
        joined = _texts_once(places[0]) if len(places[0]) > 1 else places[0]
        if len(places) > 1:
            joined = joined + self._unlike(joined, places[1:])
        joined = self._first(joined)
        return joined if len(joined) > 1 else joined[0]

    def _unlike(self, known: list[Simple], places: list[list[Simple]]) -> list[Simple]:
        """The values of other places that are not among the known ones, in whatever unit or case."""
        keys = {_key(one) for one in known}
        measures = [quantity for one in known if (quantity := quantity_of(one))]
        new: list[Simple] = []
        for values in places:
            unlike = [one for one in _texts_once(values) if _key(one) not in keys and not _is_among(one, measures)]
            keys.update(map(_key, unlike))
            measures += [quantity for one in unlike if len(measures) < MAX_VALUES and (quantity := quantity_of(one))]
            new += unlike
        if new:
            self.counts[CONFLICT] += 1
        return new

    def _first(self, values: list[Any]) -> list[Any]:
        if len(values) > MAX_VALUES:
            self.counts[TOO_MANY_VALUES] += len(values) - MAX_VALUES
        return values[:MAX_VALUES]


def _texts_once(values: list[Simple]) -> list[Simple]:
    """The values with each text once; equal numbers stay, as in '5 x 5 x 7 inches'."""
    first = {one.casefold(): at for at, one in reversed(list(enumerate(values))) if isinstance(one, str)}
    return [one for at, one in enumerate(values) if not isinstance(one, str) or first[one.casefold()] == at]


def _is_among(value: Simple, measures: list[Quantity]) -> bool:
    quantity = quantity_of(value)
    return quantity is not None and any(equal_quantity(quantity, other) for other in measures)


def _key(value: Simple) -> object:
    return value.casefold() if isinstance(value, str) else (isinstance(value, bool), str(value))


def _is_number(value: Simple) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
