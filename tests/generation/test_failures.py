"""What counts as no review."""

from __future__ import annotations

import pytest

from reviewllm.generation.engine import Completion
from reviewllm.generation.failures import unusable


def completion(text: str, tokens: list[int] | None = None, reason: str = "stop") -> Completion:
    return Completion(text, tokens or list(range(len(text))), reason)


@pytest.mark.parametrize(
    ("written", "error_class"),
    [
        (completion(" \n"), "EmptyOutput"),
        (completion("  \u200b\n\ufeff"), "EmptyOutput"),
        (completion("\x00 "), "EmptyOutput"),
        (completion("\ue000\u200b"), "EmptyOutput"),
        (completion("\ufffd\ufffd\ufffda"), "GarbageOutput"),
        (completion("\x00\x01\ue000a"), "GarbageOutput"),
        (completion("so so", [7] * 60, "length"), "LoopingOutput"),
        (completion("a b c", [1, 2, 3, 4, 5] * 12, "length"), "LoopingOutput"),
        (completion("so so", [7] * 60, "stop"), None),  # it knew when to end
        (completion("so so", [7] * 47, "length"), None),
        (completion("It broke.\n\nNever again."), None),
        (completion("\U0001f600\u200d\U0001f600 \u0c95\u0ccd\u0c9f"), None),  # joined emoji, a script with marks
    ],
)
def test_unusable_for_publication(written: Completion, error_class: str | None) -> None:
    problem = unusable(written, for_publication=True)
    assert (problem[0] if problem else None) == error_class


def test_unusable_in_an_evaluation_is_only_what_is_empty() -> None:
    assert unusable(completion("so so", [7] * 60, "length"), for_publication=False) is None
    assert unusable(completion(" "), for_publication=False) is not None
