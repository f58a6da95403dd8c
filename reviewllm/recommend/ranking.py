"""What a model answered -> the user's order of items: nothing invented, nothing twice, nothing left out."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from reviewllm.recommend.names import Names

OUTSIDE_CATALOGUE, OUTSIDE_CANDIDATES = "outside the catalogue", "outside the candidates"
DUPLICATES, BOUGHT, REPAIRED, UNREADABLE = "duplicates", "already bought", "repaired", "unreadable"
MODEL, RETRIEVER = "model", "retriever"

_MAX_CHARS = 200_000  # of an answer: a model that writes more has lost its way
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


class Place(NamedTuple):
    """One item in a user's order, and who put it there."""

    item_id: str
    source: str
    log_likelihood: float | None = None


def read_list(text: str | None, counts: Counter[str]) -> list[str] | None:
    """The texts of the JSON list that an answer begins with; None for an answer that is none, which is counted.

    A list that was cut off, or quoted texts without the brackets, give what is whole in them, and are counted as repaired.

    >>> read_list('["Corvo stapler","Birch gel pens"] ###', Counter())
    ['Corvo stapler', 'Birch gel pens']
    >>> read_list('["Corvo stapler","Birch ge', Counter())
    ['Corvo stapler']
    """
    text = (text or "").strip()[:_MAX_CHARS]
    try:
        loaded, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        loaded = None
    if isinstance(loaded, list) and loaded and all(isinstance(one, str) for one in loaded):
        return loaded
    whole = [_unescaped(one) for one in _QUOTED.findall(text)] if text[:1] in ("[", '"') else []
    counts[REPAIRED if whole else UNREADABLE] += 1
    return whole or None


def read_likelihoods(text: str | None, candidates: int, counts: Counter[str]) -> list[float] | None:
    """The log-likelihood of each candidate; None for an answer that does not have them, which is counted."""
    try:
        loaded = json.loads(text or "")
    except (ValueError, RecursionError):
        loaded = None
    if isinstance(loaded, list) and len(loaded) == candidates and all(isinstance(one, int | float) for one in loaded):
        told = [float(one) for one in loaded]
        if all(map(math.isfinite, told)):
            return told
    counts[UNREADABLE] += 1
    return None


def place_named(
    answer: Sequence[str],
    candidates: Sequence[str],
    bought: frozenset[str],
    names: Names,
    counts: Counter[str],
    *,
    free: bool,
) -> list[Place]:
    """The items that an answer names, each once, in its order.

    Args:
        candidates: item ids that the model may choose among.
        bought: the user's history: nothing of it is recommended.
        free: any item of the catalogue is taken (PALR v1), not the candidates alone.
    """
    allowed = set(candidates)
    placed: dict[str, None] = {}
    for text in answer:
        item = names.item(text)
        counts[OUTSIDE_CATALOGUE] += item is None
        counts[OUTSIDE_CANDIDATES] += item not in allowed
        if item is None or (item not in allowed and not free):
            continue
        counts[BOUGHT] += item in bought
        counts[DUPLICATES] += item in placed
        if item not in bought:
            placed[item] = None
    return [Place(item, MODEL) for item in placed]


def place_likeliest(log_likelihoods: Sequence[float], candidates: Sequence[str]) -> list[Place]:
    """The candidates, the likeliest first; equal ones in the order of `candidates`.

    >>> [place.item_id for place in place_likeliest([-3.0, -1.0, -3.0], ["a", "b", "c"])]
    ['b', 'a', 'c']
    """
    pairs = sorted(zip(log_likelihoods, candidates, strict=True), key=lambda pair: -pair[0])
    return [Place(item, MODEL, one) for one, item in pairs]


def fall_back(placed: Sequence[Place], candidates: Sequence[str]) -> list[Place]:
    """What was placed, and behind it the other candidates in the retriever's order."""
    there = {place.item_id for place in placed}
    return [*placed, *(Place(item, RETRIEVER) for item in candidates if item not in there)]


def _unescaped(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:
        return text
