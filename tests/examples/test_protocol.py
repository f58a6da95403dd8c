"""Who is evaluated, who is trained on, and in what proportion."""

from __future__ import annotations

import polars as pl
import pytest
from pydantic import ValidationError

from reviewllm.examples.protocol import ExamplesConfig, assign_splits, last_reviews, select_targets


def candidates(positive: int, negative: int, category: str = "Garden") -> pl.DataFrame:
    """One row for each user of a category, the negative ones first."""
    size = positive + negative
    return pl.DataFrame(
        {
            "purchase_id": [f"{category}{number}" for number in range(size)],
            "user_id": [f"u{category}{number}" for number in range(size)],
            "category": [category] * size,
            "rating": [2.0] * negative + [3.0] * positive,
        }
    )


def sizes(splits: pl.DataFrame) -> dict[str, int]:
    return {split: splits.filter(pl.col("split") == split).height for split in ("train", "simple", "hard")}


def test_assign_splits_enough_users_gives_the_papers_sizes() -> None:
    splits, (quota,) = assign_splits(candidates(2000, 500), ExamplesConfig())
    assert sizes(splits) == {"train": 1000, "simple": 200, "hard": 200}
    assert splits["purchase_id"].n_unique() == 1400
    assert not quota.falls_short(ExamplesConfig())


def test_assign_splits_fewer_users_keep_the_proportions() -> None:
    splits, (quota,) = assign_splits(candidates(115, 9), ExamplesConfig())
    # half of 9 negatives, rounded up: 5 hard; of the other 119, 119 * 200 / 1200 = 19.8 -> 20 simple; 99 train
    assert sizes(splits) == {"train": 99, "simple": 20, "hard": 5}
    assert tuple(quota) == ("Garden", 124, 9, 99, 20, 5)
    assert quota.falls_short(ExamplesConfig())


def test_assign_splits_hard_is_negative_and_seeded() -> None:
    everyone = candidates(300, 40)
    splits, _ = assign_splits(everyone, ExamplesConfig(seed=1))
    ratings = splits.join(everyone, on="purchase_id").filter(pl.col("split") == "hard")["rating"]
    assert (ratings <= 2).all()
    assert splits.equals(assign_splits(everyone.sample(fraction=1, shuffle=True, seed=5), ExamplesConfig(seed=1))[0])
    assert not splits.equals(assign_splits(everyone, ExamplesConfig(seed=2))[0])


def test_assign_splits_another_category_changes_nothing() -> None:
    alone, _ = assign_splits(candidates(60, 9), ExamplesConfig())
    both, quotas = assign_splits(pl.concat([candidates(30, 3, "Desk"), candidates(60, 9)]), ExamplesConfig())
    assert alone.equals(both.filter(pl.col("user_id").str.contains("Garden")))
    assert [quota.category for quota in quotas] == ["Desk", "Garden"]


def test_assign_splits_no_candidates() -> None:
    splits, quotas = assign_splits(candidates(0, 0), ExamplesConfig())
    assert (splits.height, quotas) == (0, [])


def placed(reviews_of: dict[str, int]) -> pl.DataFrame:
    """Users with so many reviews each, in the columns of `place_histories`."""
    rows = [(user, number) for user, count in reviews_of.items() for number in range(count)]
    starts = dict(zip(reviews_of, [0, *pl.Series(list(reviews_of.values())).cum_sum().to_list()], strict=False))
    return pl.DataFrame(
        {
            "purchase_id": [f"{user}{number}" for user, number in rows],
            "user_id": [user for user, _ in rows],
            "category": ["Garden"] * len(rows),
            "rating": [5.0] * len(rows),
            "is_review": [True] * len(rows),
            "history_start": [starts[user] for user, _ in rows],
            "history_end": [starts[user] + number for user, number in rows],
        }
    )


def test_last_reviews_more_than_10_and_fewer_than_30() -> None:
    found = last_reviews(placed({"a": 10, "b": 11, "c": 29, "d": 30}), ExamplesConfig())
    assert found["purchase_id"].to_list() == ["b10", "c28"]


def test_select_targets_last_takes_the_drawn_ones() -> None:
    splits = pl.DataFrame({"purchase_id": ["a2", "b1"], "user_id": ["a", "b"], "split": ["train", "hard"]})
    chosen = select_targets(placed({"a": 3, "b": 2}), splits, ExamplesConfig())
    assert chosen.select("purchase_id", "split").rows() == [("a2", "train"), ("b1", "hard")]


def test_select_targets_all_from_the_kth_without_evaluated_users() -> None:
    splits = pl.DataFrame({"purchase_id": ["a2", "b1"], "user_id": ["a", "b"], "split": ["train", "hard"]})
    config = ExamplesConfig(targets="all", first_target=2)
    chosen = select_targets(placed({"a": 3, "b": 2, "c": 2}), splits, config)
    assert chosen.select("purchase_id", "split").rows() == [
        ("a1", "train"),
        ("a2", "train"),
        ("b1", "hard"),
        ("c1", "train"),
    ]


def test_select_targets_without_review_is_backfill() -> None:
    part = placed({"a": 3}).with_columns(is_review=pl.Series([True, False, True]))
    nobody = pl.DataFrame(schema={"purchase_id": pl.String, "user_id": pl.String, "split": pl.String})
    assert select_targets(part, nobody, ExamplesConfig()).select("purchase_id", "split").rows() == [("a1", "backfill")]


def test_examples_config_bounds_without_room_are_refused() -> None:
    with pytest.raises(ValidationError, match="--fewer-than-reviews"):
        ExamplesConfig(more_than_reviews=10, fewer_than_reviews=11)
