"""Every rule of the leakage check is broken once."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
import pytest
from conftest import day, entry, example

from reviewllm.errors import LeakageError
from reviewllm.examples.leakage import LeakageCheck
from reviewllm.tables import EXAMPLES

NOTHING = pl.DataFrame(
    schema={"user_id": pl.String, "item_id": pl.String, "purchased_at": pl.Datetime("us", "UTC"), "review": pl.String}
)


def shard(**changed: object) -> pa.Table:
    return pa.Table.from_pylist([example(**changed)], schema=EXAMPLES.schema)  # type: ignore[arg-type]


def check(evaluated: list[str], history: str = "before") -> LeakageCheck:
    made = LeakageCheck(evaluated=pl.Series(evaluated, dtype=pl.String), backfill_history=history)  # type: ignore[arg-type]
    made.start_part(NOTHING)
    return made


def test_add_earlier_history_passes() -> None:
    made = check(["u2"])
    made.add(shard(history=[entry(1), entry(99)]))
    assert made.repeated_wording == 0


@pytest.mark.parametrize("when", [100, 101], ids=["equal time", "later"])
def test_add_history_that_is_not_earlier_is_refused(when: int) -> None:
    with pytest.raises(LeakageError, match=r"1 example\(s\) see a purchase that is not earlier, the first is e1"):
        check([]).add(shard(history=[entry(1), entry(when)]))


def test_add_backfill_with_the_whole_history_may_see_later_reviews() -> None:
    check([], history="all").add(shard(history=[entry(101)], split="backfill", reference=None))


def test_add_evaluated_user_in_training_is_refused() -> None:
    with pytest.raises(LeakageError, match="train on an evaluated user"):
        check(["u1"]).add(shard())
    check(["u1"]).add(shard(split="simple"))


def test_add_hidden_review_in_a_history_is_refused() -> None:
    made = check([])
    hidden = [{"user_id": "u1", "item_id": "i1", "purchased_at": day(1), "review": "I love it."}]
    made.start_part(pl.DataFrame(hidden, schema=NOTHING.schema))
    with pytest.raises(LeakageError, match="see a hidden review"):
        made.add(shard(history=[entry(1)]))


def test_add_same_words_about_another_purchase_are_counted() -> None:
    made = check([])
    made.add(shard(history=[entry(1, review="Fine."), entry(2, review="Fine.")], reference="Fine."))
    assert made.repeated_wording == 1


def test_add_a_purchase_in_two_examples_of_a_part_is_refused() -> None:
    made = check([])
    made.add(shard(split="backfill", reference=None))
    with pytest.raises(LeakageError, match=r"1 example\(s\) are of a purchase that another has too, the first is e1"):
        made.add(shard(split="train"))
    with pytest.raises(LeakageError, match=r"1 example\(s\) are of a purchase"):
        check([]).add(pa.concat_tables([shard(), shard()]))
