"""What is known of a product: its title and attributes, read once for all reviews of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from reviewllm.attributes.serialise import value_text
from reviewllm.attributes.values import Attributes, Quantity, Value, as_list, quantity_of, read_attributes
from reviewllm.errors import AttributesError
from reviewllm.scoring.mentions import Mention, read_text, words_of
from reviewllm.scoring.vocabulary import IMPLIED, SIZES, Kind
from reviewllm.scoring.words import is_spaceless

_PRODUCTS = 4096  # held by a scorer; those of a shard come again and again
_MOST_WORDS = 4  # of a value that a review can be expected to repeat
_FREE_TEXT = frozenset({"features", "description"})
_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("color", "colour"), "colour"),
    **dict.fromkeys(("material", "material_type", "fabric", "fabric_type"), "material"),
    **dict.fromkeys(("flavor", "flavour", "scent"), "flavour"),
    **dict.fromkeys(("brand", "manufacturer"), "brand"),
    "size": "size",
}
_COUNTS = frozenset(
    {"count", "pieces", "number_of_pieces", "number_of_items", "unit_count", "pack_size", "quantity", "package_quantity"}
)
_YEARS = re.compile(r"\b((?:19|20)\d\d)\s*[-–]\s*((?:19|20)\d\d)\b")
_TITLE_SIZE = re.compile(r"[,(]\s*((?:x[- ]|extra )?(?:small|large)|medium)\b(?! \w)", re.IGNORECASE)
_NOTHING = frozenset(
    {"yes", "no", "none", "other", "new", "n", "a", "na", "the", "and", "of", "for", "1", "it", "good", "great", "one"}
)


class Facts(NamedTuple):
    """What a product's data say.

    stated      values by kind, general ones included (steel is metal); `absent` are features that it says it has not
    quantities  all numbers with units
    phrases     short values of attributes as words, by their first word
    words       all words of title and attributes, and the years of ranges
    """

    stated: Mapping[Kind, frozenset[str]]
    absent: frozenset[str]
    quantities: tuple[Quantity, ...]
    phrases: Mapping[str, tuple[tuple[str, ...], ...]]
    words: frozenset[str]


@lru_cache(maxsize=_PRODUCTS)
def product_facts(title: str, attributes: str | None = None) -> Facts:
    """Read what is known of a product.

    Args:
        title: of the item.
        attributes: as in the examples table; what cannot be read is left out, as a scorer must not stop at one product.
    """
    known = read_known(attributes)
    texts = [title, *(value_text(value) for value in known.values() if not isinstance(value, bool))]
    read = [read_text(text) for text in texts]
    mentions = [mention for reading in read for mention in reading.mentions]
    stated, absent = _by_kind(mentions), set[str]()
    for match in _TITLE_SIZE.finditer(title):
        stated.setdefault("size", set()).add(SIZES[match[1].lower().replace("-", " ")])
    for name, value in known.items():
        _add_attribute(name, value, stated, absent)
    words = {word for reading in read for word in reading.words.words} | {year for text in texts for year in _years(text)}
    words |= {word for name, value in known.items() if value is True for word in name.split("_")}
    return Facts(
        {kind: frozenset(_with_implied(values)) for kind, values in stated.items()},
        frozenset(absent),
        (*(one.value for one in mentions if isinstance(one.value, Quantity)), *_quantities(known)),
        _phrases(known),
        frozenset(words),
    )


def read_known(attributes: str | None) -> Attributes:
    """The attributes of a product for a score, which must not stop at one product: {} for what cannot be read."""
    try:
        return read_attributes(attributes)
    except AttributesError:
        return {}


def _by_kind(mentions: list[Mention]) -> dict[Kind, set[str]]:
    stated: dict[Kind, set[str]] = {}
    for mention in mentions:
        if isinstance(mention.value, str) and mention.kind != "compatibility":
            stated.setdefault(mention.kind, set()).add(mention.value)
    return stated


def _add_attribute(name: str, value: Value, stated: dict[Kind, set[str]], absent: set[str]) -> None:
    """What an attribute says by its name: a colour that no list has, a count without a unit, a feature by yes or no."""
    if isinstance(value, bool):
        feature = name.replace("_", " ")
        (stated.setdefault("feature", set()) if value else absent).add(feature)
        return
    if isinstance(value, int | float):
        if name in _COUNTS:
            stated.setdefault("count", set()).add(f"{value:g}")
        return
    kind = _KINDS.get(name)
    if kind is None:
        return
    for text in as_list(value):
        if isinstance(text, str):
            words = " ".join(words_of(text).words)
            stated.setdefault(kind, set()).add(SIZES.get(words, words) if kind == "size" else words)


def _with_implied(values: set[str]) -> set[str]:
    return values | {general for value in values for general in IMPLIED.get(value, ())}


def _quantities(known: Mapping[str, Value]) -> Iterator[Quantity]:
    for value in known.values():
        for one in as_list(value):
            if quantity := quantity_of(one):
                yield quantity


def _phrases(known: Mapping[str, Value]) -> dict[str, tuple[tuple[str, ...], ...]]:
    found: dict[str, dict[tuple[str, ...], None]] = {}
    for name, value in known.items():
        for phrase in [] if name in _FREE_TEXT else phrases_of(name, value):
            found.setdefault(phrase[0], {})[phrase] = None
    return {first: tuple(sorted(phrases, key=len, reverse=True)) for first, phrases in found.items()}


def phrases_of(name: str, value: Value) -> list[tuple[str, ...]]:
    """The short values of an attribute as words, as a review would name them; the name itself where the value is yes.

    >>> phrases_of("item_form", ["Loose powder", "7"]), phrases_of("dishwasher_safe", True)
    ([('loose', 'powder')], [('dishwasher', 'safe')])
    """
    if isinstance(value, bool):
        return [tuple(name.split("_"))] if value else []
    texts = [one for one in as_list(value) if isinstance(one, str)]
    phrases = [tuple(words_of(text).words) for text in texts]
    return [
        phrase
        for phrase in phrases
        if 0 < len(phrase) <= _MOST_WORDS
        and phrase[0] not in _NOTHING
        and any((len(word) > 2 and word.isalpha()) or is_spaceless(word) for word in phrase)
    ]


def _years(text: str) -> Iterator[str]:
    for match in _YEARS.finditer(text):
        yield from (str(year) for year in range(int(match[1]), min(int(match[2]), int(match[1]) + 60) + 1))
