"""Which purchases become targets, and in which split.

The Review-LLM protocol (section 3.1): users with more than 10 and fewer than 30 reviews, the last review is the target;
per category 1,000 random ones for training, 200 for the simple and 200 negative ones for the hard evaluation.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from reviewllm.config import StageConfig
from reviewllm.examples.purchases import SameTime
from reviewllm.tables import EvidenceKind

NEGATIVE_RATING = 2.0  # "negative": at most two stars


class ExamplesConfig(StageConfig):
    """What becomes an example."""

    targets: Literal["last", "all"] = Field("last", description="train on each user's last review, or on every one")
    first_target: int = Field(2, ge=1, description="with --targets all: the first review that is a target, counted from 1")
    more_than_reviews: int = Field(
        10,
        ge=0,
        description="evaluated users have more reviews than this; 0: also those whose only review is the target, as new users",
    )
    fewer_than_reviews: int = Field(30, ge=2, description="evaluated users have fewer reviews than this")
    train_per_category: int = Field(1000, ge=1, description="with --targets last: training targets per category")
    simple_per_category: int = Field(200, ge=0, description="simple evaluation targets per category")
    hard_per_category: int = Field(200, ge=0, description="hard (negative) evaluation targets per category")
    history: Literal["before", "all"] = Field(
        "before", description="backfill histories: the user's earlier reviews, or every review of the user"
    )
    same_time: SameTime = Field(
        "before",
        description="purchases of the user at the target's time, as where times are days: those before it in the source's "
        "order are history, or none is",
    )
    max_history: int = Field(100, ge=0, description="newest reviews kept in a history; prompts cut further")
    history_attributes: bool = Field(
        False, description="entries of histories hold the items' attributes too, which dialogues of --task attributes show"
    )
    evidence: EvidenceKind = Field(
        "none",
        description="earlier reviews by others that examples carry: of the item, of its category by users who reviewed what this "
        "user had reviewed, or both",
    )
    max_evidence: int = Field(5, ge=1, le=20, description="reviews by others that an example carries, of each kind")
    hide_fraction: float = Field(0.0, ge=0, lt=1, description="share of reviews whose text is hidden, to be backfilled")
    shard_rows: int = Field(1000, ge=1, description="rows of a shard, about: a user is never split")
    seed: int = Field(0, ge=0, description="of every random choice")

    @model_validator(mode="after")
    def _bounds_leave_room(self) -> ExamplesConfig:
        if self.fewer_than_reviews <= self.more_than_reviews + 1:
            raise ValueError(
                f"no number of reviews is more than {self.more_than_reviews} (--more-than-reviews) and fewer than "
                f"{self.fewer_than_reviews} (--fewer-than-reviews)"
            )
        return self


class Quota(NamedTuple):
    """What one category gave: candidates, negatives among them, and the size of each split."""

    category: str
    candidates: int
    negatives: int
    train: int
    simple: int
    hard: int

    def falls_short(self, config: ExamplesConfig) -> bool:
        """Whether the category had fewer users than the protocol asks for."""
        wanted = (config.train_per_category, config.simple_per_category, config.hard_per_category)
        return (self.train, self.simple, self.hard) < wanted or self.simple < wanted[1] or self.hard < wanted[2]


def last_reviews(part: pl.DataFrame, config: ExamplesConfig) -> pl.DataFrame:
    """The last review of every user whose number of reviews lies in the protocol's bounds.

    Reads the columns of `place_histories`; returns purchase_id, user_id, category, rating, one row a user.
    """
    reviews = part.filter("is_review")
    count = pl.len().over("user_id")
    bounded = reviews.filter(count > config.more_than_reviews, count < config.fewer_than_reviews)
    last = bounded.group_by("user_id", maintain_order=True).last()
    return last.select("purchase_id", "user_id", "category", "rating")


def assign_splits(candidates: pl.DataFrame, config: ExamplesConfig) -> tuple[pl.DataFrame, list[Quota]]:
    """Draw the splits of every category; returns purchase_id, user_id, split, and what each category gave.

    Where a category has fewer users than asked for: half of the negatives, rounded up, go to the hard set, so that
    training keeps some; the others are shared between simple and train in the proportion that was asked for.
    """
    chosen, quotas = [], []
    for (category,), group in candidates.sort("purchase_id").group_by("category", maintain_order=True):
        ids, quota = _draw(str(category), group, config)
        quotas.append(quota)
        chosen.append(ids)
    columns = pl.Schema({"purchase_id": pl.String, "user_id": pl.String, "split": pl.String})
    return pl.concat([pl.DataFrame(schema=columns), *chosen]), sorted(quotas)


def _draw(category: str, group: pl.DataFrame, config: ExamplesConfig) -> tuple[pl.DataFrame, Quota]:
    # The category's name enters the seed, so that adding a category does not change another's draw.
    rng = np.random.default_rng([config.seed, *category.encode()])
    shuffled = group[rng.permutation(len(group))]
    negative = shuffled["rating"] <= NEGATIVE_RATING
    negatives = shuffled.filter(negative)
    hard = negatives.head(min(config.hard_per_category, -(-len(negatives) // 2)))
    rest = shuffled.join(hard, on="purchase_id", how="anti", maintain_order="left")
    wanted = config.train_per_category + config.simple_per_category
    simple = rest.head(min(config.simple_per_category, round(len(rest) * config.simple_per_category / wanted)))
    train = rest[len(simple) :].head(config.train_per_category)
    parts = [
        frame.select("purchase_id", "user_id", split=pl.lit(split))
        for frame, split in ((train, "train"), (simple, "simple"), (hard, "hard"))
    ]
    return pl.concat(parts), Quota(category, len(group), len(negatives), len(train), len(simple), len(hard))


def select_targets(part: pl.DataFrame, splits: pl.DataFrame, config: ExamplesConfig) -> pl.DataFrame:
    """Add `split` to the part's purchases and keep those that become examples.

    Rating-only and hidden purchases are `backfill`. With `targets="all"` every review from the user's `first_target`-th
    on is `train`, unless the user is evaluated.
    """
    drawn = part.join(splits.select("purchase_id", "split"), on="purchase_id", how="left", maintain_order="left")
    split = pl.when(~pl.col("is_review")).then(pl.lit("backfill")).otherwise("split")
    if config.targets == "all":
        evaluated = splits.filter(pl.col("split") != "train")["user_id"]
        enough = pl.col("history_end") - pl.col("history_start") >= config.first_target - 1
        trained = pl.col("is_review") & enough & ~pl.col("user_id").is_in(evaluated.implode())
        split = pl.when(trained).then(pl.lit("train")).when(pl.col("split") == "train").then(None).otherwise(split)
    return drawn.with_columns(split=split).filter(pl.col("split").is_not_null())
