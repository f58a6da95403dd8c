"""The longest run of words that a text shares with others: what was copied from the history, or memorised in training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from reviewllm.scoring.words import words

Ints = NDArray[np.int64]

MOST_WORDS = (
    1_000  # of any text that are looked at; two copies of one word without end would take the square of their length
)


def longest_shared_runs(texts: Sequence[str], sources: Sequence[Sequence[str]]) -> list[int]:
    """For each text, the length in words of its longest run that stands in one of its own sources, 0 where none does.

    A run never crosses the border of a source; of each text the first 1,000 words count. All texts are worked on at once:
    the places at which a run of n words is shared are those of n - 1 words that go on alike, so each round looks at the few
    places that are left. Exact: runs are compared by number, not by hash.

    Args:
        sources: aligned with the texts; of an evaluation the user's reviews.

    >>> longest_shared_runs(["well made and works great", "new"], [["It works great!", "made of tin"], ["old"]])
    [2, 0]
    """
    numbers: dict[str, int] = {}
    mine = _Places(([text] for text in texts), numbers)
    theirs = _Places(sources, numbers)
    return _longest(mine, theirs, len(texts), len(numbers) + 1)


def longest_runs_in(texts: Sequence[str], corpus: Iterable[str]) -> list[int]:
    """As `longest_shared_runs`, with one corpus for all texts: of an evaluation the reviews that were trained on."""
    numbers: dict[str, int] = {}
    mine = _Places([texts], numbers)  # one group, so that all share the corpus
    theirs = _Places([list(corpus)], numbers)
    mine.owner = np.repeat(np.arange(len(texts)), [len(_words(text)) + 1 for text in texts])
    return _longest(mine, theirs, len(texts), len(numbers) + 1)


class _Places:
    """Words of all texts in a row, each text with a 0 behind it; `group` says with which sources a word may be compared."""

    def __init__(self, groups: Iterable[Iterable[str]], numbers: dict[str, int]) -> None:
        tokens: list[int] = []
        sizes: list[int] = []
        for group in groups:
            before = len(tokens)
            for text in group:
                tokens.extend(numbers.setdefault(word, len(numbers) + 1) for word in _words(text))
                tokens.append(0)
            sizes.append(len(tokens) - before)
        self.words: Ints = np.array(tokens, dtype=np.int64)
        self.group: Ints = np.repeat(np.arange(len(sizes)), sizes)
        self.owner = self.group


def _words(text: str) -> list[str]:
    return words(text)[:MOST_WORDS]


def _longest(mine: _Places, theirs: _Places, texts: int, vocabulary: int) -> list[int]:
    longest = np.zeros(texts, dtype=np.int64)
    here, there = np.flatnonzero(mine.words), np.flatnonzero(theirs.words)
    key, other = (side.group[at] * vocabulary + side.words[at] for side, at in ((mine, here), (theirs, there)))
    length = 0
    while len(here) and len(there):
        # Dense numbers, the same for the same run, so that the next word's key cannot overflow.
        runs, dense = np.unique(np.concatenate([key, other]), return_inverse=True)
        key, other = dense[: len(key)], dense[len(key) :]
        shared = np.zeros((2, len(runs)), dtype=bool)
        shared[0, key] = shared[1, other] = True
        both = shared[0] & shared[1]
        here, key, there, other = here[both[key]], key[both[key]], there[both[other]], other[both[other]]
        if not len(here):
            break
        length += 1
        longest[mine.owner[here]] = length
        here, key = _go_on(mine.words, here, key, length, vocabulary)
        there, other = _go_on(theirs.words, there, other, length, vocabulary)
    return [int(found) for found in longest]


def _go_on(all_words: Ints, at: Ints, key: Ints, length: int, vocabulary: int) -> tuple[Ints, Ints]:
    """The places whose text goes on for another word, and the keys with it."""
    following = all_words[at + length]  # a 0 ends every text, so this never runs over the end
    goes_on = following > 0
    return at[goes_on], key[goes_on] * vocabulary + following[goes_on]
