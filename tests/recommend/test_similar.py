"""Candidates by what a profile says."""

from __future__ import annotations

import polars as pl
from recommend.shop import TITLES, frame

from reviewllm.recommend.names import item_names
from reviewllm.recommend.profiles import Profiles
from reviewllm.recommend.similar import profile_candidates

NAMES = item_names(list(TITLES), list(TITLES.values()), ids="ambiguous", max_chars=100)


def test_profile_candidates_are_nearest_first_and_none_of_the_history() -> None:
    sequences = frame({"u1": ["i1", "i2", "i4"], "u2": ["i5", "i6", "i4"], "none": ["i0", "i1", "i2"]})
    keywords = {"user_id": ["u1", "u2"], "keywords": [["garden hose", "hose"], ["steel tools", "digging"]]}
    found = pl.DataFrame(profile_candidates(sequences, Profiles(pl.DataFrame(keywords)), NAMES, target="test", k=3))
    first, second = (found.filter(user_id=user) for user in ("u1", "u2"))
    assert not {"i1", "i2"} & set(first["item_id"])  # bought, and the nearest of all
    assert second["item_id"][0] == "i3"  # the steel shovel
    for part in (first, second):
        assert part["rank"].to_list() == [1, 2, 3]
        assert part["score"].to_list() == sorted(part["score"].to_list(), reverse=True)
    assert set(found["user_id"]) == {"u1", "u2"}
    assert set(found["retriever"]) == {"profile"}


def test_profile_candidates_of_a_small_catalogue_are_all_that_is_new() -> None:
    keywords = Profiles(pl.DataFrame({"user_id": ["u1"], "keywords": [["steel"]]}))
    sequences = frame({"u1": ["i0", "i1", "i2"]})
    found = pl.DataFrame(profile_candidates(sequences, keywords, NAMES, target="next", k=100))
    assert sorted(found["item_id"]) == sorted(set(TITLES) - {"i0", "i1", "i2"})
    assert profile_candidates(sequences, Profiles(), NAMES, target="next", k=5).num_rows == 0
