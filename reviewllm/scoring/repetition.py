"""How much of a text repeats itself."""

from __future__ import annotations

from reviewllm.scoring.words import words

_GRAM = 3
_MOST_CHARACTERS = 20_000


def repetition(text: str) -> float | None:
    """Share of the text's 3-grams of words that stood in it before, in %; None for a text without three words.

    100 (1 - different 3-grams / 3-grams): seq-rep-3 of Welleck et al. (2020, "Neural text generation with unlikelihood
    training", section 6.1), which they take of 4-grams of longer texts. The first 20,000 characters count.

    >>> repetition("so good so good so good")   # 'so good so' twice, 'good so good' twice
    50.0
    """
    found = words(text[:_MOST_CHARACTERS])
    grams = [tuple(found[start : start + _GRAM]) for start in range(len(found) - _GRAM + 1)]
    return 100 * (1 - len(set(grams)) / len(grams)) if grams else None
