"""How positive a text sounds, and whether that agrees with the stars.

VADER (Hutto and Gilbert, 2014) by its own package: a lexicon with rules for negation, emphasis and punctuation, made for short
English texts; of others there is no figure. It needs no model, gives the same figure everywhere and for ever, and so can be
compared between nights and bases; on real reviews it orders negative and positive ones about as well as a classifier of sentence
embeddings that was trained on reviews of another category (docs/notes/2026-11-21-scores.md).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from reviewllm.scoring.language import reads_english

# Where negative (1, 2) and positive (4, 5) real reviews are told apart best (Youden's index): at 12 on Musical Instruments 2014
# and at 13 on the 24 categories of Amazon Reviews 2023. VADER's own bound of 5 calls 30 to 42 % of negative ones positive.
POSITIVE = 12.5
NEGATIVE_RATING = 2
POSITIVE_RATING = 4

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_MOST_CHARS = 5_000  # of a text; a longer one is decided by then


def sentiment(text: str) -> float | None:
    """Mean of VADER's compound score over the sentences of a text, times 100: -100 to 100, 0 for a text without any.

    Its authors advise to score longer texts by sentences: a whole review soon saturates at either end. None for a text that
    is not English.

    >>> sentiment("It broke at once. What a waste of money!") < POSITIVE < sentiment("I love it.")
    True
    >>> sentiment("Es ist sofort kaputt gegangen.")
    """
    if not reads_english(text):
        return None
    sentences = [sentence for sentence in _SENTENCE_END.split(text[:_MOST_CHARS]) if sentence.strip()]
    if not sentences:
        return 0.0
    scores = [_analyzer().polarity_scores(sentence)["compound"] for sentence in sentences]
    return 100 * float(sum(scores)) / len(scores)


def sounds_as_rated(sentiment: float | None, rating: float) -> bool | None:
    """Whether a text of this sentiment sounds as the stars say; None of other stars than 1, 2, 4 and 5, and of an unread text.

    >>> sounds_as_rated(60.0, 5), sounds_as_rated(60.0, 1), sounds_as_rated(60.0, 3)
    (True, False, None)
    """
    if sentiment is None or NEGATIVE_RATING < rating < POSITIVE_RATING:
        return None
    return (sentiment > POSITIVE) == (rating >= POSITIVE_RATING)


@lru_cache(maxsize=1)
def _analyzer() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()
