"""What a text says of any product: words, numbers with units, counts, sizes and devices, each with its place.

The same reading serves a product's data and the review of it, so that both mean the same by the same words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from reviewllm.attributes.units import find_quantities
from reviewllm.attributes.values import Quantity
from reviewllm.scoring.vocabulary import NUMBERS, SIZES, TERMS, Kind, listed
from reviewllm.scoring.words import word_pattern

MOST_CHARACTERS = 10_000  # of a text that are read; no review needs more, and a hostile one may have megabytes

_BETWEEN = frozenset({"", " ", "-", " - ", " & ", "&", "/", "\u2010", "\u2011"})  # what may stand between words of a term
_number = r"(\d{1,4}|" + "|".join(NUMBERS) + r")"
_COUNT = re.compile(
    rf"\b(?:{_number}[ -]?(?:packs?|pk|count|ct|pcs|pieces?|qty)\b|(?:pack|set|box|case|bag|bundle|lot) of {_number}\b)",
    re.IGNORECASE,
)
_size_names = "|".join(sorted((re.escape(name).replace(r"\ ", "[ -]") for name in SIZES), key=len, reverse=True))
_SIZE = re.compile(
    rf"\bsize[: ]\s*(?P<named>\d{{1,2}}(?:\.5)?(?![\d.]|\s*[xX\"”])|(?:{_size_names})\b)"
    rf"|\b(?:ordered|got|bought|purchased|chose) (?:an? |the )?(?P<bought>{_size_names})(?=[ ,.;!]|$)(?! (?:\w+ )?(?:bag|box|one))"
    r"|(?<![\w'’.-])(?P<bare>XXS|XS|XL|XXL|XXXL|[2-5]XL)\b",
    re.IGNORECASE,
)
_device_word = r"(?:i[A-Z]\w*|[A-Z][\w'’]*|\d+(?:\.\d+)?\w*)"
_DEVICE = re.compile(
    r"\b(?:[Ww]ork(?:s|ed|ing)?|[Cc]ompatible|[Ff]it(?:s|ted)?|[Pp]air(?:s|ed)?|[Cc]onnect(?:s|ed)?|[Cc]harge(?:s|d)?|[Mm]ade|[Dd]esigned)"
    r"(?: \w+ly| \w+)? (?:(?:with|to|on|for|in) )?(?:(?:my|the|an?|our|his|her|your|both|all) )?"
    rf"({_device_word}(?: {_device_word}){{0,3}})"
)
_COUNTED = frozenset({"count", "pack"})
_MODEL = re.compile(r"\bi[A-Z]|\d")  # an iPhone, a PS4, a 2015 Honda
_DEVICES = listed(
    "kindle galaxy xbox playstation switch wii macbook chromebook alexa roku honda toyota ford jeep chevy chevrolet "
    "nissan bmw subaru keurig windows android mac gopro samsung lg motorola pixel echo nespresso"
)


class Mention(NamedTuple):
    """One thing that a text says; `value` is a quantity for numbers with units, else lower-case words.

    `unsure` says that the words often mean something else (`vocabulary.Term`).
    """

    start: int
    end: int
    kind: Kind
    value: str | Quantity
    unsure: bool = False


class Words(NamedTuple):
    """The words of a text in lower case with their places."""

    text: str
    words: list[str]
    starts: list[int]
    ends: list[int]


def words_of(text: str) -> Words:
    """The words of the first 10,000 characters of a text; a hyphen parts two words, and so do characters without spaces."""
    text = text[:MOST_CHARACTERS]
    found = [(match.group().lower(), *match.span()) for match in word_pattern(text, "_").finditer(text)]
    return Words(text, *(list(column) for column in zip(*found, strict=True))) if found else Words(text, [], [], [])


class Reading(NamedTuple):
    """A text's words, and what they say of a product."""

    words: Words
    mentions: list[Mention]


@lru_cache(maxsize=8)  # several scores read the same review, one after the other
def read_text(text: str) -> Reading:
    """Read a text; nobody may change what it gives."""
    words = words_of(text)
    return Reading(words, find_mentions(words))


def find_mentions(text: Words) -> list[Mention]:
    """Everything that a text says of a product, in order of its places and without overlaps; the longer one wins."""
    found = [*_devices(text.text), *_quantities(text.text), *_counts(text.text), *_sizes(text.text), *_terms(text)]
    return without_overlaps(found)


def without_overlaps(mentions: list[Mention]) -> list[Mention]:
    """In order of place; of two that overlap the one that begins first, of two that begin together the longer.

    Two readings of the same words both stay ("orange", a colour and a flavour), save that of a value without a kind.
    """
    kept: list[Mention] = []
    for mention in sorted(mentions, key=lambda one: (one.start, -one.end, one.kind == "attribute")):
        same_place = bool(kept) and kept[-1][:2] == mention[:2] and mention.kind != "attribute"
        if not kept or mention.start >= kept[-1].end or same_place:
            kept.append(mention)
    return kept


def matches_at(text: Words, place: int, phrase: tuple[str, ...]) -> bool:
    """Whether the words of a phrase stand at a place of the text, with nothing but spaces and hyphens, or nothing, between them."""
    end = place + len(phrase)
    if tuple(text.words[place:end]) != phrase:
        return False
    return all(text.text[text.ends[at] : text.starts[at + 1]] in _BETWEEN for at in range(place, end - 1))


def _terms(text: Words) -> Iterator[Mention]:
    for place, word in enumerate(text.words):
        for term in TERMS.get(word, ()):
            if len(term.words) == 1 or matches_at(text, place, term.words):
                end = text.ends[place + len(term.words) - 1]
                yield Mention(text.starts[place], end, term.kind, term.value, term.unsure)


def _quantities(text: str) -> Iterator[Mention]:
    for found in find_quantities(text):
        if found.quantity.unit not in _COUNTED:  # `_counts` reads these
            yield Mention(found.start, found.end, "quantity", found.quantity)


def _counts(text: str) -> Iterator[Mention]:
    for match in _COUNT.finditer(text):
        number = (match[1] or match[2]).lower()
        yield Mention(*match.span(), "count", str(NUMBERS.get(number) or int(number)))


def _sizes(text: str) -> Iterator[Mention]:
    for match in _SIZE.finditer(text):
        name = (match["named"] or match["bought"] or match["bare"]).lower().replace("-", " ")
        yield Mention(*match.span(), "size", SIZES.get(name, name))


def _devices(text: str) -> Iterator[Mention]:
    for match in _DEVICE.finditer(text):
        name = match[1]
        known = not _DEVICES.isdisjoint(name.lower().split())
        if known or (_MODEL.search(name) and re.search("[A-Za-z]{2}", name)):
            yield Mention(*match.span(1), "compatibility", name.lower())
