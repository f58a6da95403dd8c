"""What is true of each item of the synthetic shop, how its reviews say so, and an exact judge of what they make up.

The shop's vocabulary is closed, so every value in a review can be found and compared with the item's own: the judge is
never wrong about a review in the shop's words, and shares no code with the scores that it may be compared with.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from reviewllm.attributes.values import Value, as_list

BRANDS = ("Alder", "Brightway", "Corvo", "Dunmore", "Eastfell", "Fenwick")
COLOURS = ("black", "blue", "green", "red", "silver", "white")
MATERIALS = ("bamboo", "canvas", "ceramic", "plastic", "steel", "wooden")
_METADATA_UNITS = {"kg": "Kilograms", "g": "Grams", "cm": "Centimeters", "m": "Meters", "l": "Liters", "ml": "Milliliters"}
# What is measured of each thing, beside its weight: name, unit, values.
_CM, _LITRES = ("length", "cm", tuple(range(10, 60, 5))), ("capacity", "l", (0.5, 1, 1.5, 2, 2.5, 3, 4, 5))
MEASURES: dict[str, tuple[str, str, tuple[float, ...]]] = {
    **dict.fromkeys(("pruning shears", "hand trowel", "leaf rake", "plant labels"), _CM),
    "garden hose": ("length", "m", (5, 10, 15, 20, 25, 30)),
    "watering can": _LITRES,
    **dict.fromkeys(("gel pens", "notebook", "desk lamp", "stapler", "paper tray", "marker set"), _CM),
    **dict.fromkeys(("chef knife", "baking tray", "cutting board"), _CM),
    **dict.fromkeys(("tea kettle", "mixing bowl"), _LITRES),
    "spice jars": ("capacity", "ml", tuple(range(50, 300, 25))),
}
_FLAGS = {"Kitchen_Ware": "dishwasher safe"}  # waterproof elsewhere
_WEIGHTS = (*((tenths / 10, "kg") for tenths in range(2, 31)), *((grams, "g") for grams in range(50, 1000, 50)))

# Where a quantity stands, the words before it say which one it is.
_ROLES = {"weighs": "weight", "holds": "capacity", "at": "length", "warranty of": "warranty"}
_QUANTITY = re.compile(
    rf"(?:\b({'|'.join(_ROLES)}) )?\b(\d+(?:\.\d+)?) ?(kg|g|mg|lbs?|oz|cm|mm|m|inch(?:es)?|ft|feet|l|ml|years?|months?)\b"
)
_THING = re.compile(rf"\bof the ({'|'.join(sorted({noun.rsplit(' ', 1)[-1] for noun in MEASURES}))})\b")
_CLOSED = {"brand": BRANDS, "color": COLOURS, "material": MATERIALS}
_FLAG = re.compile(r"\b(not )?(waterproof|dishwasher safe)\b")


class Measured(NamedTuple):
    """A quantity of an item, as '1.2' and 'kg'."""

    amount: str
    unit: str


class Facts(NamedTuple):
    """What is true of one item beside its brand, colour and material; `measure_name` is length or capacity."""

    thing: str
    weight: Measured
    measure_name: str
    measure: Measured
    flag: str
    is_flag_true: bool
    warranty_years: int


def facts_of(category: str, thing: str, rng: random.Random) -> Facts:
    """Draw the facts of an item."""
    name, unit, values = MEASURES[thing]
    weight, weight_unit = rng.choice(_WEIGHTS)
    measure = Measured(f"{rng.choice(values):g}", unit)
    flag = _FLAGS.get(category, "waterproof")
    return Facts(thing, Measured(f"{weight:g}", weight_unit), name, measure, flag, rng.random() < 0.5, rng.randint(1, 5))


def details_of(facts: Facts) -> dict[str, str]:
    """The facts as metadata states them: 'Item Weight': '1.2 Kilograms'."""
    weight, measure = (f"{one.amount} {_METADATA_UNITS[one.unit]}" for one in (facts.weight, facts.measure))
    return {
        "Product Type": facts.thing,
        "Item Weight": weight,
        {"length": "Item Length", "capacity": "Capacity"}[facts.measure_name]: measure,
        facts.flag.title(): "Yes" if facts.is_flag_true else "No",
        "Warranty": _years(facts.warranty_years),
    }


def true_sentence(  # one sentence needs all of the item
    facts: Facts, *, brand: str, colour: str, material: str, parts: tuple[str, ...], opinion: str, rng: random.Random
) -> str:
    """A sentence that states one fact, such as 'At 30 cm it is just right.'; `opinion` is how the writer finds it."""
    measure = " ".join(facts.measure)
    flag = facts.flag if facts.is_flag_true else f"not {facts.flag}"
    return rng.choice(
        (
            f"For a {brand} it is {opinion}.",
            f"The {colour} colour is {opinion}.",
            f"The {material} {rng.choice(parts)} is {opinion}.",
            f"It weighs {' '.join(facts.weight)}, {opinion}.",
            f"At {measure} it is {opinion}." if facts.measure_name == "length" else f"It holds {measure}, {opinion}.",
            f"It is {flag}, {opinion}.",
            f"The warranty of {_years(facts.warranty_years)} is {opinion}.",
        )
    )


def invented_facts(review: str, attributes: Mapping[str, Value]) -> list[str]:
    """Every value of the shop's vocabulary that a review states and the item has not, in the order of their kinds.

    `attributes` are all of the item's, as the items table holds them. A quantity is compared with the one that its words
    name ('weighs', 'holds', 'at', 'warranty of') or else with all of the item's. Exact for the shop's reviews and for
    texts in its words; a value that is said in other words is not seen.

    >>> invented_facts("It weighs 2 kg. The red lid is good.", {"weight": {"value": 1, "unit": "kg"}, "color": "red"})
    ['weight 2 kg']
    """
    text = review.lower()
    return [*_invented_words(text, attributes), *_invented_quantities(text, attributes), *_invented_flags(text, attributes)]


def _invented_words(text: str, attributes: Mapping[str, Value]) -> Iterator[str]:
    words = set(re.findall(r"[a-z]+", text))
    for name, values in _CLOSED.items():
        own = {str(value).lower() for value in as_list(attributes.get(name, []))}
        yield from (f"{name} {value.lower()}" for value in values if value.lower() in words and value.lower() not in own)
    things = {str(value).rsplit(" ", 1)[-1].lower() for value in as_list(attributes.get("product_type", []))}
    yield from (f"product_type {thing}" for thing in dict.fromkeys(_THING.findall(text)) if thing not in things)


def _invented_quantities(text: str, attributes: Mapping[str, Value]) -> Iterator[str]:
    own = {(name, found) for name, value in attributes.items() if (found := _amount(value))}
    for words, amount, unit in dict.fromkeys(_QUANTITY.findall(text)):
        role, stated = _ROLES.get(words), (float(amount), unit.removesuffix("s") if unit.startswith(("y", "mo")) else unit)
        if not any(stated == found for name, found in own if role in (None, name)):
            yield f"{role or 'quantity'} {amount} {unit}"


def _invented_flags(text: str, attributes: Mapping[str, Value]) -> Iterator[str]:
    for negation, flag in dict.fromkeys(_FLAG.findall(text)):
        if attributes.get(flag.replace(" ", "_")) is not (not negation):
            yield f"{negation}{flag}"


def _amount(value: Value) -> tuple[float, str] | None:
    return (float(value["value"]), str(value["unit"])) if isinstance(value, dict) and "value" in value else None


def _years(years: int) -> str:
    return f"{years} year{'s' if years > 1 else ''}"
