"""Purchases as rows of the examples table."""

from __future__ import annotations

from reviewllm.prompts.tasks.recommend import Asked, read_asked
from reviewllm.recommend.rows import example_row, example_table


def test_example_row_keeps_the_newest_purchases_and_what_is_asked() -> None:
    ids, names = [f"i{number}" for number in range(25)], [f"Item {number}" for number in range(25)]
    asked = Asked(["a", "b"], ["garden"], 2)
    row = example_row("e1", "u1", ids, names, asked=asked, split="train", answer=["b", "a"])
    assert [entry["title"] for entry in row["history"]] == names[5:]
    assert [entry["item_id"] for entry in row["history"]] == ids[5:]
    assert read_asked(row["attributes"]) == asked
    assert row["reference"] == '["b","a"]'
    bare = example_row("e2", "u2", [], [], asked=None, split="test")
    assert (bare["attributes"], bare["reference"], bare["history"]) == (None, None, [])
    assert example_table([row, bare]).num_rows == 2
