"""Repeated 3-grams."""

from __future__ import annotations

from reviewllm.scoring.repetition import repetition


def test_repetition_is_the_share_of_grams_that_came_before() -> None:
    assert repetition("a b c d") == 0.0
    assert repetition("a b c a b c") == 100 * (1 - 3 / 4)  # abc, bca, cab, abc
    assert repetition("It is so. It is so.") == 100 * (1 - 3 / 4)
    assert repetition("one two") is None
    assert repetition("") is None
