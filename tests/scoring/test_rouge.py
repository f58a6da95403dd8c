"""ROUGE against counting by hand and against the package itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from reviewllm.scoring.rouge import rouge


def test_rouge_counted_by_hand() -> None:
    (pair,) = rouge(["The cat sat on the mat."], ["the mat, the cat"])
    # 4 words of 4 are among the 6 of the reference: P = 4/4, R = 4/6; the longest common subsequence is "the mat" or "the cat"
    assert pair.rouge1 == pytest.approx(100 * 2 * 1.0 * (4 / 6) / (1.0 + 4 / 6))
    assert pair.rougeL == pytest.approx(100 * 2 * (2 / 4) * (2 / 6) / (2 / 4 + 2 / 6))


@pytest.mark.parametrize(("reference", "text"), [("", "a"), ("a", ""), ("!!!", "!!!"), ("😀", "😀"), ("cat", "dog")])
def test_rouge_nothing_in_common_is_zero(reference: str, text: str) -> None:
    assert rouge([reference], [text]) == [(0.0, 0.0)]


def test_rouge_is_not_stemmed() -> None:
    assert rouge(["cats"], ["cat"])[0].rouge1 == 0.0


@given(st.text(max_size=60), st.text(max_size=60))
def test_rouge_equals_rouge_score(reference: str, text: str) -> None:
    expected = RougeScorer(["rouge1", "rougeL"], use_stemmer=False).score(reference, text)
    assert rouge([reference], [text]) == [(100 * expected["rouge1"].fmeasure, 100 * expected["rougeL"].fmeasure)]
