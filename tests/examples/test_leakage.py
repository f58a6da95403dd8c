"""Every rule of the leakage check is broken once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from conftest import day, entry, example

from reviewllm.errors import LeakageError
from reviewllm.examples.leakage import LeakageCheck
from reviewllm.tables import EXAMPLES

PART = {
    "purchase_id": pl.String,
    "user_id": pl.String,
    "item_id": pl.String,
    "purchased_at": pl.Datetime("us", "UTC"),
    "review": pl.String,
    "is_review": pl.Boolean,
}


def bought(
    purchase_id: str, number: int, *, item: str = "", review: str = "I love it.", is_review: bool = True
) -> dict[str, Any]:
    """A purchase of user u1 on day `number`."""
    item_id = item or f"i{number}"
    return dict(zip(PART, [purchase_id, "u1", item_id, day(number), review, is_review], strict=True))


def shard(**changed: object) -> pa.Table:
    return pa.Table.from_pylist([example(**changed)], schema=EXAMPLES.schema)  # type: ignore[arg-type]


def check(
    evaluated: Sequence[str] = (), part: Sequence[dict[str, Any]] = (), *, history: str = "before", same_time: str = "before"
) -> LeakageCheck:
    made = LeakageCheck(
        evaluated=pl.Series(evaluated, dtype=pl.String),
        backfill_history=history,  # type: ignore[arg-type]
        same_time=same_time,  # type: ignore[arg-type]
    )
    made.start_part(pl.DataFrame(list(part), schema=PART))
    return made


def test_add_earlier_history_passes() -> None:
    for same_time in ("before", "leave-out"):
        made = check(["u2"], same_time=same_time)
        made.add(shard(history=[entry(1), entry(99)]))
        assert made.repeated_wording == 0


@pytest.mark.parametrize("same_time", ["before", "leave-out"])
def test_add_history_that_is_later_is_refused(same_time: str) -> None:
    with pytest.raises(LeakageError, match=r"1 example\(s\) see a later purchase, the first is e1"):
        check(same_time=same_time).add(shard(history=[entry(1), entry(101)]))


# Of the target's time, in the table's order: one before it with the words of the target, one before it, the target itself,
# one behind it.
SAME_DAY = [
    bought("e0", 100, item="new", review="Fine."),
    bought("e2", 100),
    bought("e1", 100, item="new", review="Fine."),
    bought("e3", 100, item="last"),
]
TWIN, BEFORE, BEHIND = entry(100, review="Fine.") | {"item_id": "new"}, entry(100), entry(100) | {"item_id": "last"}


@pytest.mark.parametrize("history", [[BEFORE], [TWIN], [TWIN, BEFORE]], ids=["another", "a twin", "both"])
def test_add_history_of_the_same_time_passes_before_the_target(history: list[dict[str, Any]]) -> None:
    check(part=SAME_DAY).add(shard(history=history))
    with pytest.raises(LeakageError, match=r"1 example\(s\) see a purchase of the same time, the first is e1"):
        check(part=SAME_DAY, same_time="leave-out").add(shard(history=history))


@pytest.mark.parametrize(
    "history",
    [[BEHIND], [BEFORE, BEHIND], [TWIN, BEFORE, TWIN], [BEFORE, BEFORE], [entry(100, review="Not in the table.")]],
    ids=["behind", "one behind", "itself", "twice", "unknown"],
)
def test_add_history_of_the_same_time_that_is_not_before_the_target_is_refused(history: list[dict[str, Any]]) -> None:
    with pytest.raises(LeakageError, match=r"1 example\(s\) see a purchase of the same time that does not stand before it"):
        check(part=SAME_DAY).add(shard(history=history))


def test_add_history_of_the_same_time_where_the_part_has_none_is_refused() -> None:
    with pytest.raises(LeakageError, match="does not stand before it"):
        check(part=[bought("e1", 100, item="new")]).add(shard(history=[BEFORE]))


def test_add_history_that_holds_the_target_is_refused() -> None:
    target = bought("e1", 100, item="new", review="Fine.")
    with pytest.raises(LeakageError, match="does not stand before it"):
        check(part=[target, bought("e2", 100)]).add(shard(history=[TWIN]))


def test_add_backfill_with_the_whole_history_may_see_later_reviews() -> None:
    check(history="all").add(shard(history=[entry(101)], split="backfill", reference=None))


def test_add_evaluated_user_in_training_is_refused() -> None:
    with pytest.raises(LeakageError, match="train on an evaluated user"):
        check(["u1"]).add(shard())
    check(["u1"]).add(shard(split="simple"))


def test_add_hidden_review_in_a_history_is_refused() -> None:
    made = check(part=[bought("e2", 1, is_review=False)])
    with pytest.raises(LeakageError, match="see a hidden review"):
        made.add(shard(history=[entry(1)]))


def test_add_same_words_about_another_purchase_are_counted() -> None:
    made = check()
    made.add(shard(history=[entry(1, review="Fine."), entry(2, review="Fine.")], reference="Fine."))
    assert made.repeated_wording == 1


def test_add_a_purchase_in_two_examples_of_a_part_is_refused() -> None:
    made = check([])
    made.add(shard(split="backfill", reference=None))
    with pytest.raises(LeakageError, match=r"1 example\(s\) are of a purchase that another has too, the first is e1"):
        made.add(shard(split="train"))
    with pytest.raises(LeakageError, match=r"1 example\(s\) are of a purchase"):
        check([]).add(pa.concat_tables([shard(), shard()]))


OTHERS = {
    "user_id": "u9",
    "item_id": "new",
    "title": "Garden hose",
    "rating": 4.0,
    "review": "Leaks.",
    "purchased_at": day(99),
}


@pytest.mark.parametrize(
    ("column", "changed", "rule"),
    [
        ("item_evidence", {"user_id": "u1"}, "see a review of the user's own as another's"),
        ("item_evidence", {"purchased_at": day(100)}, "see another's review that is not earlier than the purchase"),
        ("neighbour_evidence", {"item_id": "i1", "purchased_at": day(101)}, "see another's review that is not earlier"),
        ("item_evidence", {"item_id": "i1"}, "see a review of another item than item_evidence says"),
        ("neighbour_evidence", {}, "see a review of another item than neighbour_evidence says"),
    ],
)
def test_add_evidence_that_breaks_a_rule_is_refused(column: str, changed: dict[str, Any], rule: str) -> None:
    right = OTHERS if column == "item_evidence" else OTHERS | {"item_id": "i1"}
    made = check()
    made.add(shard(**{column: [right]}))
    made.close()
    with pytest.raises(LeakageError, match=f"1 example\\(s\\) {rule}"):
        check().add(shard(**{column: [right, right | (changed or OTHERS)]}))


@pytest.mark.parametrize(
    ("split", "words"),
    [("backfill", "a hidden review"), ("simple", "an evaluated reference"), ("hard", "an evaluated reference")],
)
def test_close_refuses_evidence_in_the_words_of_a_secret_reference(split: str, words: str) -> None:
    """Whichever of the two shards comes first, and whoever wrote the words."""
    shown, secret = shard(item_evidence=[OTHERS]), shard(example_id="e2", user_id="u7", reference="Leaks.", split=split)
    for shards in ((shown, secret), (secret, shown)):
        made = check()
        for one in shards:
            made.add(one)
        with pytest.raises(LeakageError, match=f"see the words of {words} as another's review, the first is e1"):
            made.close()
    made = check()
    for one in (shown, shard(example_id="e2", user_id="u7", reference="Leaks.")):  # trained on: seen by all
        made.add(one)
    made.close()
