"""ROUGE against counting by hand and against the package itself."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from reviewllm.scoring.rouge import Rouge, lcs_length, rouge, rouge_reads

WORDS = st.lists(
    st.sampled_from(["running", "runs", "ran", "a", "5", "Ünï", "é!", "cats", "cat's", "sky’s", "under-rated"]), max_size=40
)
TEXTS = st.one_of(st.text(max_size=80), WORDS.map(" ".join))


def package(reference: str, text: str, *, stem: bool) -> Rouge:
    scored = RougeScorer(["rouge1", "rougeL"], use_stemmer=stem).score(reference, text)
    return Rouge(100 * scored["rouge1"].fmeasure, 100 * scored["rougeL"].fmeasure)


def test_rouge_counted_by_hand() -> None:
    (pair,) = rouge(["The cat sat on the mat."], ["the mat, the cat"])
    # 4 words of 4 are among the 6 of the reference: P = 4/4, R = 4/6; the longest common subsequence is "the mat" or "the cat"
    assert pair.rouge1 == pytest.approx(100 * 2 * 1.0 * (4 / 6) / (1.0 + 4 / 6))
    assert pair.rougeL == pytest.approx(100 * 2 * (2 / 4) * (2 / 6) / (2 / 4 + 2 / 6))


@pytest.mark.parametrize(("reference", "text"), [("", "a"), ("a", ""), ("!!!", "!!!"), ("😀", "😀"), ("cat", "dog")])
def test_rouge_nothing_in_common_is_zero(reference: str, text: str) -> None:
    assert rouge([reference], [text]) == [(0.0, 0.0)]


def test_rouge_is_stemmed_where_asked_to() -> None:
    assert rouge(["cats"], ["cat"])[0].rouge1 == 0.0
    assert rouge(["cats"], ["cat"], stem=True)[0].rouge1 == 100.0
    assert rouge(["was"], ["wa"], stem=True)[0].rouge1 == 0.0  # three letters are not stemmed, as in the package
    assert rouge(["running shoes"], ["runs in shoe"], stem=True)[0] == package("running shoes", "runs in shoe", stem=True)


@pytest.mark.parametrize("stem", [False, True])
@given(reference=TEXTS, text=TEXTS)
def test_rouge_equals_rouge_score(stem: bool, reference: str, text: str) -> None:
    assert rouge([reference], [text], stem=stem) == [package(reference, text, stem=stem)]


@given(reference=st.text(st.characters(max_codepoint=127), max_size=80), text=st.text(st.characters(max_codepoint=127)))
def test_rouge_by_unicode_words_equals_rouge_score_on_ascii(reference: str, text: str) -> None:
    assert rouge([reference], [text], words="unicode") == [package(reference, text, stem=False)]


@pytest.mark.parametrize(
    "text",
    ["非常好，值得买", "音がとても良いです", "Отличный товар", "👍🎸", "बहुत अच्छा", "아주 좋아요", "Größe paßt", "très bon"],
)
def test_rouge_by_unicode_words_of_equal_texts_is_100(text: str) -> None:
    assert rouge([text], [text.upper()], words="unicode") == [(100.0, 100.0)]
    assert rouge_reads(text, "unicode")


def test_rouge_by_unicode_words_counted_by_hand() -> None:
    (pair,) = rouge(["非常好的吉他"], ["吉他不好"], words="unicode")
    # 吉, 他 and 好 of 4 are among the 6 of the reference; in order 吉他.
    assert pair.rouge1 == pytest.approx(100 * 2 * (3 / 4) * (3 / 6) / (3 / 4 + 3 / 6))
    assert pair.rougeL == pytest.approx(100 * 2 * (2 / 4) * (2 / 6) / (2 / 4 + 2 / 6))
    assert rouge(["sehr schön"], ["sehr scho\u0308n"], words="unicode") == [(100.0, 100.0)]  # the same letter in two forms


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("It works.", True),
        ("Great 👍👍👍👍", True),  # the words are read
        ("Die Größe passt überhaupt nicht", True),  # German as the package reads it, without its two umlauts
        ("10/10", True),
        ("👍", False),
        ("!!!", False),
        ("", False),
        ("Купил 2 года назад", False),  # a 2 alone says nothing of it
        ("非常好 ok", False),
    ],
)
def test_rouge_reads_references_that_are_mostly_words_of_the_paper(text: str, reads: bool) -> None:
    assert rouge_reads(text, "paper") == reads


@pytest.mark.parametrize("stem", [False, True])
def test_rouge_equals_rouge_score_on_thousands_of_random_pairs(stem: bool) -> None:
    draw = random.Random(0)
    vocabulary = [f"word{number}ing" if number % 3 else f"w{number}" for number in range(60)]
    scorer = RougeScorer(["rouge1", "rougeL"], use_stemmer=stem)
    pairs = [[" ".join(draw.choices(vocabulary, k=draw.randrange(40))) for _ in "rt"] for _ in range(2_000)]
    expected = [scorer.score(*pair) for pair in pairs]
    assert rouge(*zip(*pairs, strict=True), stem=stem) == [
        (100 * found["rouge1"].fmeasure, 100 * found["rougeL"].fmeasure) for found in expected
    ]


def test_rouge_equals_rouge_score_on_real_reviews(shared_data: Callable[[str], Path]) -> None:
    file = shared_data("data/amazon_2014") / "reviews_Musical_Instruments_5.json.gz"
    with gzip.open(file) as lines:
        texts = [json.loads(line)["reviewText"] for _, line in zip(range(401), lines, strict=False)]
    for reference, text in pairwise(texts):
        assert rouge([reference[:1500]], [text[:1500]]) == [package(reference[:1500], text[:1500], stem=False)]


@given(st.text("abc", max_size=100), st.text("abc", max_size=100))
def test_lcs_length_is_that_of_the_table(left: str, right: str) -> None:
    table = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for row, one in enumerate(left):
        for column, other in enumerate(right):
            table[row + 1][column + 1] = (
                table[row][column] + 1 if one == other else max(table[row][column + 1], table[row + 1][column])
            )
    assert lcs_length(left, right) == table[-1][-1]
