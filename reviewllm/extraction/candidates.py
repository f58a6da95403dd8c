"""What a rule can see in a text: runs of words, their shapes, codes, and quantities."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from reviewllm.attributes.units import find_quantities

_WORD = re.compile(r"[^\W_]+(?:['’.\-/&+][^\W_]+)*|[^\w\s]")
_MAX_WORDS = 8  # of a value; longer ones are sentences, which no rule finds again
_NEAR = 24  # characters beside a quantity in which a word says what it measures


class Span(NamedTuple):
    """A run of words in a text, by characters."""

    start: int
    end: int
    text: str


class Measure(NamedTuple):
    """A quantity in a text, its unit, and what of its surroundings tells a height from a width, the most telling first."""

    number: float
    unit: str
    contexts: tuple[str, ...]


def words(text: str) -> list[Span]:
    """The words and signs of a text.

    >>> [word.text for word in words("K-Cup Pods, 12 oz")]
    ['K-Cup', 'Pods', ',', '12', 'oz']
    """
    return [Span(match.start(), match.end(), match[0]) for match in _WORD.finditer(text)]


def runs(text: str) -> Iterator[Span]:
    """Every run of up to eight words."""
    found = words(text)
    for first, begin in enumerate(found):
        for last in found[first : first + _MAX_WORDS]:
            yield Span(begin.start, last.end, text[begin.start : last.end])


@lru_cache(maxsize=200_000)
def key(text: str) -> str:
    """A text without case, and without what separates its words.

    >>> key("K-Cup Pods") == key("k cup pods")
    True
    """
    return " ".join(re.findall(r"[^\W_]+|[^\w\s\-]", text.lower()))


def stands_in(value: object, text: str) -> bool:
    """Whether the words of a value, of every one of a list, stand in a text one after the other, in any case.

    >>> stands_in("men's sneaker", "Diesel Men's Sneaker, red"), stands_in(["red", "blue"], "Diesel Men's Sneaker, red")
    (True, False)
    """
    words_of = f" {key(text)} "
    return all(f" {key(str(one))} " in words_of for one in (value if isinstance(value, list) else [value]))


def shape(text: str) -> str | None:
    """What a value with digits looks like: each run of digits a 0; None for one without.

    >>> shape("Pack of 12"), shape("16.9 Fl Oz"), shape("Lotion")
    ('pack of 0', '0.0 fl oz', None)
    """
    changed = re.sub(r"\d+", "0", text.lower())
    return changed if "0" in changed else None


def squeezed(text: str) -> str:
    """A code as catalogues normalise it.

    >>> squeezed("435952-b21")
    '435952B21'
    """
    return re.sub(r"[\W_]", "", text).upper()


def code_shape(text: str) -> str:
    """What a code looks like: letters and digits, and about how many in all.

    >>> code_shape("LCF15018KW")
    'A0A 10'
    """
    return f"{re.sub(r'[^0]+', 'A', re.sub(r'[0-9]+', '0', text))} {len(text)}"


def measures(text: str) -> list[Measure]:
    """Every quantity of a text."""
    result = []
    for start, end, quantity in find_quantities(text):
        before, after = key(text[max(0, start - _NEAR) : start]).split(), key(text[end : end + _NEAR]).split()
        left, right = before[-1] if before else "", after[0] if after else ""
        contexts = (f"{left} _ {right}", f"{left} _", f"_ {right}", "_")
        result.append(Measure(quantity.low, quantity.unit, contexts))
    return result
