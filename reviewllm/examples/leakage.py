"""Proof, on the examples as written, that no model is shown what it is to write."""

from __future__ import annotations

from typing import Literal

import polars as pl
import pyarrow as pa

from reviewllm.errors import LeakageError
from reviewllm.examples.leakage_evidence import EvidenceCheck
from reviewllm.examples.purchases import SameTime

# What a history keeps of one review: more than any prompt shows of it, and little enough that a shard of a thousand
# examples with a hundred entries each stays under the two gigabytes of an Arrow column.
MAX_HISTORY_CHARS = 8000

_PURCHASE = ["user_id", "item_id", "purchased_at"]
_ENTRY = ["user_id", "entry_item", "entry_at", "entry_review"]


class LeakageCheck:
    """Checks examples shard by shard, independently of the code that built them.

    It raises where a history holds a purchase that is later than its target, or of its time and not before it in the table
    (or, with same_time "leave-out", of its time at all), so no target is in its own or an earlier history; where a history
    holds a hidden review, where a training or backfill reference belongs to an evaluation target, where an evaluated user is
    trained on, and where a purchase is in two examples. It counts, and does not refuse, examples whose reference the user had
    written before in the same words about another purchase: that text is rightly in the history.

    Of what others wrote it raises where it is the user's own, of the target's time or later, about another item than its column
    says, or in the words of a hidden review or an evaluated reference, in whatever example (`close`).

    It does not prevent leakage across users in time: another user's later review may be trained on.
    """

    def __init__(self, *, evaluated: pl.Series, backfill_history: Literal["before", "all"], same_time: SameTime) -> None:
        """Take the ids of the users that are evaluated, and which purchases histories were asked to hold."""
        self._evaluated = set(evaluated)
        self._backfill_history = backfill_history
        self._same_time = same_time
        self._without_review = pl.DataFrame()
        self._tied = pl.DataFrame()
        self._ids: set[str] = set()  # of the part
        self._evidence = EvidenceCheck()
        self.repeated_wording = 0

    def start_part(self, part: pl.DataFrame) -> None:
        """Take a part's purchases, in the order of `purchases.read_part`, of which no review without `is_review` may be shown.

        Reads purchase_id, user_id, item_id, purchased_at, review and is_review.
        """
        rows = part.with_row_index("place").select(
            *("purchase_id", "place", "is_review"), *_PURCHASE, pl.col("review").str.slice(0, MAX_HISTORY_CHARS)
        )
        self._without_review = rows.filter(~pl.col("is_review"), pl.col("review").is_not_null())
        nth = pl.when("is_review").then(pl.int_range(pl.len()).over(*_PURCHASE, "review", "is_review"))
        self._tied = rows.filter(pl.len().over("user_id", "purchased_at") > 1).with_columns(nth=nth)
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
            self._refuse(entries.filter(pl.col("entry_at") > pl.col("purchased_at")), "see a later purchase")
            self._check_same_time(entries.filter(pl.col("entry_at") == pl.col("purchased_at")))
        shown = entries.join(self._without_review, left_on=_ENTRY, right_on=[*_PURCHASE, "review"], how="semi")
        self._refuse(shown, "see a hidden review")
        self.repeated_wording += entries.filter(pl.col("entry_review") == pl.col("reference"))["example_id"].n_unique()
        for broken, rule in self._evidence.add(examples):
            self._refuse(broken, rule)

    def close(self) -> None:
        """Check what only all shards together tell.

        Raises:
            LeakageError: as `add`.
        """
        for broken, rule in self._evidence.close():
            self._refuse(broken, rule)

    def _check_same_time(self, entries: pl.DataFrame) -> None:
        """Refuse entries that are not before their target in the table; the n-th of equal ones is the n-th there."""
        if self._same_time == "leave-out":
            self._refuse(entries, "see a purchase of the same time")
        if entries.is_empty():
            return
        tied = self._tied_of(entries["user_id"])
        reviews = tied.filter("is_review").select(*_PURCHASE, "review", "nth", "place")
        placed = (
            entries.with_columns(nth=pl.int_range(pl.len()).over("example_id", *_ENTRY))
            .join(tied.select(example_id="purchase_id", target="place"), on="example_id", how="left")
            .join(reviews, left_on=[*_ENTRY, "nth"], right_on=[*_PURCHASE, "review", "nth"], how="left")
        )
        is_before = (pl.col("place") < pl.col("target")).fill_null(False)
        self._refuse(placed.filter(~is_before), "see a purchase of the same time that does not stand before it")

    def _tied_of(self, users: pl.Series) -> pl.DataFrame:
        """The rows of `users` and of those between them; the part is in the order of the users, as its shards are."""
        in_order = self._tied["user_id"]
        first, last = str(users.min()), str(users.max())
        start, end = in_order.search_sorted(first, "left"), in_order.search_sorted(last, "right")
        return self._tied[start:end]

    def _refuse(self, broken: pl.DataFrame, rule: str) -> None:
        if len(broken):
            raise LeakageError(
                f"{broken['example_id'].n_unique()} example(s) {rule}, the first is {broken['example_id'][0]}; nothing was "
                "written; this is a defect of the examples step, not of the input: please report it"
            )
