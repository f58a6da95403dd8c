"""METEOR (Lavie and Agarwal, 2007) as NLTK computes it, times 100, but for its last step: synonyms.

NLTK looks synonyms up in WordNet, which is no part of any package that is well kept, and has to be downloaded. So words match
where they are equal, or where their Porter stems are. What others print with synonyms is higher, for the same texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from reviewllm.scoring.config import RougeWords
from reviewllm.scoring.rouge import porter_stem, rouge_tokens


class _Stems:
    """NLTK's stemmer, which remembers: the same words come again and again."""

    stem = staticmethod(porter_stem)


class _NoSynonyms:
    """In the place of WordNet."""

    @staticmethod
    def synsets(_: str) -> list[object]:
        return []


def meteor_version(words: RougeWords) -> str:
    """What decides the score, for the fingerprint."""
    return f"nltk {version('nltk')}, equal words and stems, no synonyms, {words} words"


def meteor(references: Sequence[str], texts: Sequence[str], *, words: RougeWords = "paper") -> list[float]:
    """Score each text against its reference, 0 to 100: of the words that match in one-to-one pairs, a mean of precision and recall
    in which recall weighs nine times as much, less a penalty for matches that do not stand side by side.

    With P and R over the words of text and reference, m matches in c runs: 10 P R / (R + 9 P) * (1 - 0.5 (c / m)^3), 0 without a
    match. Words are those of ROUGE, in lower case, and it reads what ROUGE reads (`rouge.rouge_reads`).

    Args:
        references: what users wrote.
        texts: what was generated, aligned with them.
        words: what is counted: see `ScoringConfig`.

    >>> meteor(["the cat sat"], ["the cat sat"])[0].__round__(4)   # P = R = 1, one run of 3: 1 - 0.5 / 27
    98.1481
    """
    from nltk.translate.meteor_score import single_meteor_score

    return [
        100
        * single_meteor_score(
            rouge_tokens(reference, words=words), rouge_tokens(text, words=words), stemmer=_Stems, wordnet=_NoSynonyms
        )
        for reference, text in zip(references, texts, strict=True)
    ]
