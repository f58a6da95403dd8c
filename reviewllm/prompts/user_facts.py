"""What sets a user apart, in a few computed words: how long the reviews are, how the stars fall, which words come again.

All of it comes of the reviews in the user's own history, and of nothing else.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from statistics import median
from typing import NamedTuple

from reviewllm.prompts.tasks.task import Row
from reviewllm.prompts.tokenizer import Ids, TextEncoder
from reviewllm.scoring.language import reads_english
from reviewllm.scoring.words import words

_FEWEST = 3  # reviews below which nothing is usual
# Words of a review: about the lower and the upper quartile of Amazon's (23 categories of 2023: 9, 23, 58; Musical Instruments 2014:
# 31, 54, 104). What others of the same shop write is not looked up, so "short" means short among such reviews.
_SHORT, _LONG = 20, 80
_MOSTLY = 2 / 3  # of the reviews that have the same stars
_MOST_WORDS = 5
_WORD_LETTERS = range(4, 21)
_READ_CHARACTERS = 5_000  # of a review


FACTS_MARKER = "\n### The user:\n"
_WORDS = "The user often writes:"
_LONGEST_LIST = _MOST_WORDS * (_WORD_LETTERS.stop + 1)  # characters


class UserFacts(NamedTuple):
    """Sentences of ours, and the words that the user comes back to, most often first, which are the user's own text."""

    sentences: tuple[str, ...]
    words: tuple[str, ...]


def user_facts(history: Sequence[Row], title: str, *, ratings: bool) -> UserFacts | None:
    """What can be said of a user by the reviews of a history; None of fewer than three.

    A word counts where it stands in at least three reviews and a quarter of them, is no stop word, and stands in no title: those
    of the products say what was bought. Only English reviews have such words. The same history gives the same facts.

    Args:
        history: entries with title, review and rating.
        title: of the new item.
        ratings: whether the stars may be spoken of.

    >>> history = [{"title": "Rake", "review": f"Lovely rake, honestly. {text}", "rating": 5.0} for text in ("Good.", "", "Fine!")]
    >>> facts = user_facts(history, "Hose", ratings=True)   # of reviews of 4, 3 and 4 words
    >>> facts.sentences
    ("The user's reviews are short, about 5 words.", 'The user gives mostly 5 stars.')
    >>> facts.words
    ('honestly', 'lovely')
    """
    if len(history) < _FEWEST:
        return None
    length = median(_looked_at(entry["review"])[0] for entry in history)
    kind = "short" if length < _SHORT else "long" if length > _LONG else "of average length"
    stars = _stars([entry["rating"] for entry in history]) if ratings else None
    sentences = [f"The user's reviews are {kind}, about {_round(length)} words.", *([stars] if stars else [])]
    return UserFacts(tuple(sentences), _own_words(history, title))


def facts_ids(facts: Sequence[UserFacts | None], encoder: TextEncoder, *, is_dialogue: bool) -> list[Ids]:
    """What stands in each prompt right before the new item, behind the history, so that the history begins as it did before.

    The words are text of the user, made harmless as such.
    """
    lists = [", ".join(one.words) if one else "" for one in facts]
    encoded = encoder.texts({(text, _LONGEST_LIST): None for text in lists})
    before, after = ("", "\nThe item:") if is_dialogue else (FACTS_MARKER, "")
    return [
        encoder.structure(before + " ".join((*one.sentences, _WORDS) if one.words else one.sentences))
        + encoded[text, _LONGEST_LIST]
        + encoder.structure(("." if one.words else "") + after)
        if one
        else []
        for one, text in zip(facts, lists, strict=True)
    ]


def _round(length: float) -> int:
    """A number that a further review does not change much: 5, 10, ... 50, 60, ... 200, 250, ..."""
    step = 5 if length < 50 else 10 if length < 200 else 50
    return max(step, step * round(length / step))


def _stars(ratings: Sequence[float | None]) -> str | None:
    known = [rating for rating in ratings if rating and not math.isnan(rating)]
    if not known:
        return None
    commonest, count = max(Counter(known).items(), key=lambda one: (one[1], one[0]))
    if count >= _MOSTLY * len(known):
        return f"The user gives mostly {commonest:g} star{'s' if commonest != 1 else ''}."
    return f"The user gives {min(known):g} to {max(known):g} stars, {sum(known) / len(known):.1f} on average."


def _own_words(history: Sequence[Row], title: str) -> tuple[str, ...]:
    counts = Counter(word for entry in history for word in _looked_at(entry["review"])[1])
    titles = {word for one in (title, *(entry["title"] for entry in history)) for word in words(one)}
    least = max(_FEWEST, math.ceil(len(history) / 4))
    often = [word for word, count in counts.items() if count >= least and word not in titles]
    return tuple(sorted(often, key=lambda word: (-counts[word], word))[:_MOST_WORDS])


@lru_cache(maxsize=4_096)  # the rows of a user come one after the other
def _looked_at(review: str) -> tuple[int, frozenset[str]]:
    """How many words a review has, and those of them that may tell its user from others."""
    review = review[:_READ_CHARACTERS]
    found = words(review)
    if not reads_english(review):
        return len(found), frozenset()
    telling = {word for word in found if word.isalpha() and len(word) in _WORD_LETTERS}
    return len(found), frozenset(telling - _stop_words())


@lru_cache(maxsize=1)
def _stop_words() -> frozenset[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return frozenset(ENGLISH_STOP_WORDS)
