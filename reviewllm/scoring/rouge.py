"""ROUGE-1 and ROUGE-L F1, as the package `rouge_score` computes them, times 100."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple


class Rouge(NamedTuple):
    """F1 of ROUGE-1 and ROUGE-L, 0 to 100."""

    rouge1: float
    rougeL: float


@lru_cache(maxsize=1)
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rouge1", "rougeL"], use_stemmer=False)


def rouge(references: Sequence[str], texts: Sequence[str]) -> list[Rouge]:
    """Score each text against its reference: lower case, words of [a-z0-9], no stemmer (Lin, 2004).

    A pair without common words scores 0, also when a side has no such word at all.

    >>> rouge(["the cat sat"], ["the cat ran"])[0].rouge1.__round__(6)   # 2 of 3 words on both sides
    66.666667
    """
    scored = (_scorer().score(reference, text) for reference, text in zip(references, texts, strict=True))
    return [Rouge(100 * pair["rouge1"].fmeasure, 100 * pair["rougeL"].fmeasure) for pair in scored]
