"""Candidates by what a profile says."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from recommend.shop import TITLES, frame

from reviewllm.recommend.names import item_names
from reviewllm.recommend.profiles import Profiles
from reviewllm.recommend.retrieve import Retrieved, retrieve
from reviewllm.recommend.similar import ProfileRetriever
from reviewllm.recommend.tables import CANDIDATES
from reviewllm.table_files import read_table

NAMES = item_names(list(TITLES), list(TITLES.values()), ids="ambiguous", max_chars=100)


def test_profile_retriever_finds_the_nearest_names_and_nothing_for_users_without_keywords(tmp_path: Path) -> None:
    sequences = frame({"u1": ["i1", "i2", "i6"], "u2": ["i5", "i6", "i3"], "none": ["i0", "i1", "i2"]})
    keywords = pl.DataFrame({"user_id": ["u1", "u2"], "keywords": [["garden hose", "hose"], ["steel shovel", "digging"]]})
    retriever = ProfileRetriever(Profiles(keywords), NAMES)
    done = retrieve(retriever, sequences, tmp_path / "profile.parquet", target="test", k=3)
    assert done == Retrieved(users=2, rows=6, without=1, asked=3, hit_ratio=1 / 3)  # u2's steel shovel alone
    found = pl.DataFrame(read_table([tmp_path / "profile.parquet"], CANDIDATES))
    first, second = (found.filter(user_id=user).sort("rank") for user in ("u1", "u2"))
    assert not {"i1", "i2"} & set(first["item_id"])  # bought, though the nearest of all
    assert second["item_id"][0] == "i3"
    for part in (first, second):
        assert part["rank"].to_list() == [1, 2, 3]
        assert part["score"].to_list() == sorted(part["score"].to_list(), reverse=True)
    assert set(found["retriever"]) == {"profile"}
