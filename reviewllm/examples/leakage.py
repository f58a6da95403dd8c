"""Proof, on the examples as written, that no model is shown what it is to write."""

from __future__ import annotations

from typing import Literal

import polars as pl
import pyarrow as pa

from reviewllm.errors import LeakageError

# What a history keeps of one review: more than any prompt shows of it, and little enough that a shard of a thousand
# examples with a hundred entries each stays under the two gigabytes of an Arrow column.
MAX_HISTORY_CHARS = 8000


class LeakageCheck:
    """Checks examples shard by shard, independently of the code that built them.

    It raises where a history holds a purchase that is not strictly earlier than its target (so no target is in its own
    or an earlier history), where a history holds a hidden review, where a training or backfill reference belongs to an
    evaluation target, where an evaluated user is trained on, and where a purchase is in two examples. It counts, and does
    not refuse, examples whose reference the user had written before in the same words about another purchase: that text is
    rightly in the history.

    It does not prevent leakage across users in time: another user's later review may be trained on.
    """

    def __init__(self, *, evaluated: pl.Series, backfill_history: Literal["before", "all"]) -> None:
        """Take the ids of the users that are evaluated, and how backfill histories were asked for."""
        self._evaluated = set(evaluated)
        self._backfill_history = backfill_history
        self._without_review = pl.DataFrame()
        self._ids: set[str] = set()  # of the part
        self.repeated_wording = 0

    def start_part(self, without_review: pl.DataFrame) -> None:
        """Take a part's purchases whose review may be shown nowhere: user_id, item_id, purchased_at, review."""
        hidden = without_review.filter(pl.col("review").is_not_null())
        review = pl.col("review").str.slice(0, MAX_HISTORY_CHARS)
        self._without_review = hidden.select("user_id", "item_id", "purchased_at", review)
        self._ids.clear()

    def add(self, shard: pa.Table) -> None:
        """Check one shard of examples of the current part.

        Raises:
            LeakageError: with the rule that is broken, how often, and the first example.
        """
        examples = pl.DataFrame(shard)
        split = examples["split"][0]
        known = pl.Series([name in self._ids for name in examples["example_id"].to_list()], dtype=pl.Boolean)
        self._refuse(
            examples.filter(known | examples["example_id"].is_duplicated()), "are of a purchase that another has too"
        )
        self._ids.update(examples["example_id"])
        if split == "train":
            self._refuse(examples.filter(pl.col("user_id").is_in(list(self._evaluated))), "train on an evaluated user")
        entries = examples.select("example_id", "user_id", "purchased_at", "reference", "history").explode("history")
        entries = entries.filter(pl.col("history").is_not_null()).with_columns(
            entry_item=pl.col("history").struct.field("item_id"),
            entry_at=pl.col("history").struct.field("purchased_at"),
            entry_review=pl.col("history").struct.field("review"),
        )
        if split != "backfill" or self._backfill_history == "before":
            self._refuse(entries.filter(pl.col("entry_at") >= pl.col("purchased_at")), "see a purchase that is not earlier")
        keys = ["user_id", "item_id", "purchased_at", "review"]
        shown = entries.join(
            self._without_review, left_on=["user_id", "entry_item", "entry_at", "entry_review"], right_on=keys, how="semi"
        )
        self._refuse(shown, "see a hidden review")
        self.repeated_wording += entries.filter(pl.col("entry_review") == pl.col("reference"))["example_id"].n_unique()

    def _refuse(self, broken: pl.DataFrame, rule: str) -> None:
        if len(broken):
            raise LeakageError(
                f"{broken['example_id'].n_unique()} example(s) {rule}, the first is {broken['example_id'][0]}; nothing was "
                "written; this is a defect of the examples step, not of the input: please report it"
            )
