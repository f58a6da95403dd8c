"""Rankings by hand: hits, misses, slices, comparisons."""

from __future__ import annotations

import math

import polars as pl
import pytest

from reviewllm.errors import ConfigError, InputError
from reviewllm.recommend.evaluate import Measured, asked_users, measure
from reviewllm.recommend.rankings import Ranking

# The targets: y for a, w for b, q for c (nobody else bought q), and d has one item only.
SEQUENCES = pl.DataFrame(
    {
        "user_id": ["a", "b", "c", "d"],
        "item_ids": [["x", "z", "v", "y"], ["y", "x", "z", "v", "x2", "w"], ["w", "y", "q"], ["x"]],
    }
)


def ranking(*rows: tuple[str, str, int]) -> Ranking:
    """Rows of user, item and rank."""
    return Ranking(pl.DataFrame(rows, schema=["user_id", "item_id", "rank"], orient="row"), {})


def measured(**systems: Ranking) -> Measured:
    """Systems on all users' test items; the last one is the candidate."""
    return measure(systems, asked_users(SEQUENCES, "test"), run="r", target="test", candidate=list(systems)[-1])


def test_asked_users_knows_targets_histories_and_what_could_be_learned() -> None:
    # Learned from: x z | y x z v | w  -> y once, w once, q never.
    assert asked_users(SEQUENCES, "test").rows() == [("a", "y", 3, 1), ("b", "w", 5, 1), ("c", "q", 2, 0)]
    assert asked_users(SEQUENCES, "validation").rows() == [("a", "v", 2, 1), ("b", "x2", 4, 0), ("c", "y", 1, 1)]
    assert asked_users(SEQUENCES, "test", ["c", "a", "c"])["user_id"].to_list() == ["a", "c"]


def test_asked_users_refuses() -> None:
    with pytest.raises(ConfigError, match="holds nothing out"):
        asked_users(SEQUENCES, "next")
    with pytest.raises(InputError, match="2 of 3 have no item held out, as '"):
        asked_users(SEQUENCES, "test", ["a", "d", "stranger"])
    with pytest.raises(InputError, match="too short"):
        asked_users(SEQUENCES.filter(user_id="d"), "test")


def test_measure_by_hand() -> None:
    # a: rank 2; b: listed, without its target; c: no row.
    found = measured(one=ranking(("a", "w", 1), ("a", "y", 2), ("b", "q", 1)))
    values = {(row["slice"], row["group"], row["metric"]): (row["value"], row["n"]) for row in found.metrics.to_pylist()}
    assert values["all", "all", "HR@1"] == (0.0, 3)
    assert values["all", "all", "HR@50"] == (pytest.approx(100 / 3), 3)
    assert values["all", "all", "NDCG@10"] == (pytest.approx(100 / math.log2(3) / 3), 3)
    assert values["history", "1-4", "HR@10"] == (50.0, 2)
    assert values["history", "5-9", "HR@10"] == (0.0, 1)
    assert values["item_count", "0", "HR@10"] == (0.0, 1)
    assert values["item_count", "1-4", "HR@10"] == (50.0, 2)
    assert found.about["one"] == {
        "users_listed": 2, "users_missing": 1, "users_not_asked": 0, "shortest_list": 1, "longest_list": 2, "dropped_rows": {},
    }  # fmt: skip
    assert found.comparisons.num_rows == 0


def many(users: int) -> pl.DataFrame:
    """Users whose test item is t."""
    return pl.DataFrame({"user_id": [f"u{n:02d}" for n in range(users)], "item_ids": [["x", "y", "t"]] * users})


def test_measure_compares_the_candidate_with_every_other_user_by_user() -> None:
    sequences = many(40)
    users = sequences["user_id"].to_list()
    worse = ranking(*[(user, "t", 20) for user in users])
    better = ranking(*[(user, "t", 1 if n < 30 else 20) for n, user in enumerate(users)])
    equal = ranking(*[(user, "t", 20) for user in reversed(users)])
    systems = {"worse": worse, "better": better, "equal": equal}
    found = measure(systems, asked_users(sequences, "test"), run="r", target="test", candidate="better")
    rows = {(row["other"], row["metric"]): row for row in found.comparisons.to_pylist()}
    assert set(rows) == {(other, metric) for other in ("worse", "equal") for metric in ("HR@10", "NDCG@10")}
    one = rows["worse", "HR@10"]
    assert (one["difference"], one["users"], one["verdict"]) == (75.0, 40, "higher")
    assert one["ci_low"] > 55
    # 30 users differ, all one way: 2 of 2^30 ways of signs are as far, so none is drawn; four tests.
    assert one["p_value"] == 1 / 100_000
    assert one["p_corrected"] == pytest.approx(4 / 100_000)
