"""Keywords by rule: the words of a user's purchases that weigh most by TF-IDF over the names of all items; asks no model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from reviewllm.prompts.tasks.profile import MAX_KEYWORD_CHARS, MAX_KEYWORDS
from reviewllm.recommend.affinity import NONE, largest, purchase_matrix
from reviewllm.recommend.names import Names

RULE_VERSION = "1"  # raise it with any change of what is found


class KeywordRule:
    """Knows how telling each word is; of a user it takes the heaviest words of all purchases together."""

    def __init__(self, names: Names) -> None:
        """Learn of the names of all items."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._items = pl.Series(list(names.names), dtype=pl.String)
        vectorizer = TfidfVectorizer(token_pattern=r"[^\W\d]{3,}", stop_words="english", norm=None, sublinear_tf=True)
        try:
            self._weights = vectorizer.fit_transform(names.names.values())
            self._words = vectorizer.get_feature_names_out()
        except ValueError:  # no name has a word
            self._weights, self._words = None, np.array([])

    def keywords(self, histories: Sequence[Sequence[str]]) -> list[list[str]]:
        """The keywords of users by their purchases, the heaviest first; none where no name has a word."""
        if self._weights is None or not histories:
            return [[] for _ in histories]
        bought = purchase_matrix(pl.Series(histories, dtype=pl.List(pl.String)), self._items)
        found = largest((bought @ self._weights).tocoo(), MAX_KEYWORDS)
        return [[str(self._words[one])[:MAX_KEYWORD_CHARS] for one in row if one != NONE] for row in found]
