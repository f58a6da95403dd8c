"""How much of what a review claims is not in the product's data."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from reviewllm.attributes.salience import FREE_TEXT, by_salience
from reviewllm.attributes.units import same_quantity
from reviewllm.attributes.values import Quantity, as_list, quantity_of
from reviewllm.scoring.claims import Claim
from reviewllm.scoring.facts import phrases_of, read_known
from reviewllm.scoring.mentions import Mention, Words, matches_at, read_text
from reviewllm.scoring.vocabulary import SIZES

SALIENT = 5  # attributes of a product that a review could be expected to name
_SHOWN = 5  # claims that a message names


def hallucination(claims: Sequence[Claim]) -> float | None:
    """Share of claims that are contradicted or unsupported, in %; None without a claim.

    >>> hallucination([Claim(0, 3, "colour", "red", "contradicted"), Claim(4, 8, "quantity", "1 lb", "supported")])
    50.0
    """
    return 100 * len(doubtful(claims)) / len(claims) if claims else None


def doubtful(claims: Sequence[Claim]) -> list[Claim]:
    """The claims that the product's data contradict or do not support."""
    return [claim for claim in claims if claim.verdict != "supported"]


def doubtful_text(claims: Sequence[Claim]) -> str:
    """The doubtful claims in words, for a message; text of a model is shortened and shown with its odd characters escaped."""
    wrong = doubtful(claims)
    named = ", ".join(f"{claim.text[:40]!a} ({claim.kind}, {claim.verdict})" for claim in wrong[:_SHOWN])
    return f"{named}, and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else named


def attribute_share(text: str, attributes: str | None) -> float | None:
    """Share of a product's most salient attributes that a review names, in %; None where the product has none to name.

    What counts: the first 5 of `by_salience` that have a short value (a word or a few, a number with a unit, a feature that
    is there); prose, plain numbers and codes do not. One is named where the review has one of its values, in any unit.

    >>> attribute_share("A red kettle of 35 oz.", '{"color": "red", "weight": {"value": 1, "unit": "kg"}, "brand": "Alder"}')
    66.66666666666667
    """
    wanted = _nameable(attributes)
    if not wanted:
        return None
    words, said = read_text(text)
    return 100 * sum(_is_named(one, words, said) for one in wanted) / len(wanted)


class _Nameable(NamedTuple):
    """What of an attribute a review could name."""

    phrases: list[tuple[str, ...]]
    values: frozenset[str]  # what its words stand for: another word of the same colour names it too
    quantities: list[Quantity]


@lru_cache(maxsize=4096)
def _nameable(attributes: str | None) -> list[_Nameable]:
    """The salient attributes of a product that a review could name."""
    known = read_known(attributes)
    found = []
    for name in by_salience(known):
        phrases = [] if name in FREE_TEXT else phrases_of(name, known[name])
        quantities = [quantity for one in as_list(known[name]) if (quantity := quantity_of(one))]
        if phrases or quantities:
            said = [mention.value for phrase in phrases for mention in read_text(" ".join(phrase)).mentions]
            values = {value for value in said if isinstance(value, str)}
            values |= {SIZES[text] for phrase in phrases if (text := " ".join(phrase)) in SIZES}
            found.append(_Nameable(phrases, frozenset(values), quantities))
    return found[:SALIENT]


def _is_named(wanted: _Nameable, words: Words, said: Sequence[Mention]) -> bool:
    for phrase in wanted.phrases:
        if any(matches_at(words, place, phrase) for place, word in enumerate(words.words) if word == phrase[0]):
            return True
    for mention in said:
        if isinstance(mention.value, str):
            if mention.value in wanted.values:
                return True
        elif any(same_quantity(mention.value, one) for one in wanted.quantities):
            return True
    return False
