"""How varied all texts together are."""

from __future__ import annotations

from collections.abc import Iterable

from reviewllm.scoring.words import words


def distinct(texts: Iterable[str], n: int) -> float | None:
    """Distinct-n: different n-grams over all n-grams of all texts together, times 100 (Li et al., 2016, section 5.2).

    It falls with the number of words, so only figures over the same examples compare. None where no text has n words.

    >>> distinct(["good good", "good bad"], 1)   # 2 words of 4
    50.0
    """
    different: set[tuple[str, ...]] = set()
    total = 0
    for text in texts:
        found = words(text)
        grams = list(zip(*(found[start:] for start in range(n)), strict=False))
        different.update(grams)
        total += len(grams)
    return 100 * len(different) / total if total else None
