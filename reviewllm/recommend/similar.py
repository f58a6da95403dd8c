"""The retriever of PALR's profiles: the items whose names are nearest to a user's keywords, by sentence embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reviewllm.recommend.histories import Histories, Ints
from reviewllm.recommend.names import Names
from reviewllm.recommend.profiles import Profiles
from reviewllm.recommend.ranks import Floats
from reviewllm.scoring.sbert import embed


class ProfileRetriever:
    """Scores items by the cosine of their name and the user's keywords; a user without keywords has no candidates.

    Holds the embeddings of all names, 384 numbers each.
    """

    name = "profile"
    needs_history = False

    def __init__(self, profiles: Profiles, names: Names) -> None:
        """Embed the names.

        Args:
            profiles: those of the same target, so that no keyword knows what is held out.
            names: of all items.
        """
        self.item_ids: Sequence[str] = list(names.names)
        self._profiles = profiles
        self._vectors = embed(list(names.names.values()))

    def score(self, histories: Histories, users: Ints) -> Floats:
        """Cosines, -1 to 1, and minus infinity for users without keywords; equal keywords are embedded once."""
        asked = [histories.user_ids[user] for user in users]
        keywords = self._profiles.of(asked)
        texts = {user: ", ".join(keywords[user]) for user in asked if user in keywords}
        distinct = list(dict.fromkeys(texts.values()))
        place = {text: number for number, text in enumerate(distinct)}
        scores = np.full((len(users), len(self.item_ids)), -np.inf, dtype=np.float32)
        rows = [row for row, user in enumerate(asked) if user in texts]
        if rows:
            scores[rows] = embed(distinct)[[place[texts[asked[row]]] for row in rows]] @ self._vectors.T
        return scores
