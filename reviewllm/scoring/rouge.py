"""ROUGE-1 and ROUGE-L F1 to the last bit as the package `rouge_score` computes them, times 100, and many times as fast;
where it is asked for, by words of any script.

What takes that package its time is the table of the longest common subsequence, filled cell by cell; here a row of the table
is one integer whose bits are its cells (Hyyrö, 2004, "Bit-parallel LCS-length computation revisited").
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any, NamedTuple

from reviewllm.scoring.config import RougeWords
from reviewllm.scoring.words import rouge_words

_NO_WORD = re.compile("[^a-z0-9]+")
_SHORTEST_STEMMED = 4  # letters; rouge_score leaves shorter words as they are
_LEAST_READ = 0.5  # of the words of a reference that are of a-z and 0-9 alone
_ALGORITHM = "2"  # raise it with any change of what is computed


class Rouge(NamedTuple):
    """F1 of ROUGE-1 and ROUGE-L, 0 to 100."""

    rouge1: float
    rougeL: float


def rouge_version(words: RougeWords) -> str:
    """What decides these scores, for the fingerprint."""
    return f"reviewllm {_ALGORITHM}, {words} words"


def rouge_reads(reference: str, words: RougeWords) -> bool:
    """Whether ROUGE can say how near a text comes to a reference: by the paper's words, where half of its words are such.

    Of other scripts the package sees nothing, or the bits between letters that it does not know.

    >>> [rouge_reads(text, "paper") for text in ("Works, 10/10", "Größe passt gut", "很好", "Отличный, 10/10 👍", "👍")]
    [True, True, False, False, False]
    >>> [rouge_reads(text, "unicode") for text in ("很好", "👍", "!!!")]
    [True, True, False]
    """
    found = rouge_words(reference)
    if words == "unicode":
        return bool(found)
    found = [word for word in found if word[0].isalnum()]  # an emoji between words is not missed
    found = [word for word in found if not word.isdecimal()] or found  # and a number alone says little of a text
    return bool(found) and sum(map(str.isascii, found)) >= _LEAST_READ * len(found)


def rouge(
    references: Sequence[str], texts: Sequence[str], *, stem: bool = False, words: RougeWords = "paper"
) -> list[Rouge]:
    """Score each text against its reference (Lin, 2004): lower case, words of [a-z0-9], or `words.rouge_words`.

    A pair without common words scores 0, also when a side has no such word at all.

    Args:
        references: what users wrote.
        texts: what was generated, aligned with them.
        stem: whether words are cut to their Porter stems first, as NLTK does it; the paper's figures are without.
        words: what is counted: see `ScoringConfig`.

    >>> rouge(["the cat sat"], ["the cat ran"])[0].rouge1.__round__(6)   # 2 of 3 words on both sides
    66.666667
    """
    return [
        _score(*(rouge_tokens(text, stem=stem, words=words) for text in pair))
        for pair in zip(references, texts, strict=True)
    ]


def mutual_rouge_l(texts: Sequence[str]) -> list[list[float]]:
    """ROUGE-L F1 of each text with each other, by words of any script: a symmetric table, with 100 for a text and itself.

    >>> [[round(one, 2) for one in row] for row in mutual_rouge_l(["the cat sat", "the cat ran"])]
    [[100.0, 66.67], [66.67, 100.0]]
    """
    tokens = [rouge_tokens(text, words="unicode") for text in texts]
    table = [[100.0] * len(texts) for _ in texts]
    for left, right in combinations(range(len(texts)), 2):
        table[left][right] = table[right][left] = _score(tokens[left], tokens[right]).rougeL
    return table


def lcs_length(left: Sequence[str], right: Sequence[str]) -> int:
    """Length of the longest common subsequence of two sequences of words.

    >>> lcs_length("the cat sat on the mat".split(), "the mat sat on a cat".split())   # the sat on
    3
    """
    places: dict[str, int] = {}  # word -> a bit for each of its places in `left`
    bit = 1
    for word in left:
        places[word] = places.get(word, 0) | bit
        bit <<= 1
    every = bit - 1
    row = every  # a bit is 0 where the table's row is higher than one place before
    for word in right:
        here = places.get(word)
        if here is not None:
            met = row & here
            row = ((row + met) | (row - met)) & every
    return len(left) - row.bit_count()


def _score(reference: list[str], text: list[str]) -> Rouge:
    common = _common(reference, text)
    if not common:
        return Rouge(0.0, 0.0)
    sizes = len(reference), len(text)
    return Rouge(100 * _f1(common, *sizes), 100 * _f1(lcs_length(reference, text), *sizes))


def _common(reference: list[str], text: list[str]) -> int:
    """Words that both have, each as often as the side that has it less often."""
    counts = Counter(reference)
    return sum(min(number, counts[word]) for word, number in Counter(text).items() if word in counts)


def _f1(common: int, reference: int, text: int) -> float:
    precision, recall = common / text, common / reference  # in rouge_score's order, so that it rounds alike
    return 2 * precision * recall / (precision + recall)


def rouge_tokens(text: str, *, words: RougeWords, stem: bool = False) -> list[str]:
    """The words of a text that are counted, in lower case, as `rouge` says."""
    found = rouge_words(text) if words == "unicode" else _NO_WORD.sub(" ", text.lower()).split()
    return [porter_stem(word) if len(word) >= _SHORTEST_STEMMED else word for word in found] if stem else found


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer()


@lru_cache(maxsize=100_000)
def porter_stem(word: str) -> str:
    """A word's Porter stem, as NLTK cuts it."""
    return str(_stemmer().stem(word))
