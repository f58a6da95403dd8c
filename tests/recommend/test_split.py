"""What is held out, and that histories as arrays say the same."""

from __future__ import annotations

import pytest

from reviewllm.recommend.split import Target, held_out


@pytest.mark.parametrize(
    ("target", "expected"),
    [("validation", (["a"], "b")), ("test", (["a", "b"], "c")), ("next", (["a", "b", "c"], None))],
)
def test_held_out_of_three_items(target: Target, expected: tuple[list[str], str | None]) -> None:
    assert held_out(["a", "b", "c"], target) == expected


@pytest.mark.parametrize("target", ["validation", "test", "next"])
def test_held_out_of_nothing(target: Target) -> None:
    assert held_out([], target) == ([], None)


def test_held_out_of_too_few_items_for_a_history_is_nothing() -> None:
    assert held_out(["a"], "test") == ([], None)
    assert held_out(["a", "b"], "validation") == ([], None)
