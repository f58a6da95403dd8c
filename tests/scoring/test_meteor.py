"""METEOR against counting by hand, and against what NLTK prints."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.stem.porter import PorterStemmer
from nltk.translate.meteor_score import single_meteor_score

from reviewllm.scoring.meteor import meteor, meteor_version

ACTION = "It is a guide to action which ensures that the military always obeys the commands of the party"
REFERENCE = "It is a guide to action that ensures that the military will forever heed Party commands"
TEXTS = st.lists(st.sampled_from(["running", "runs", "a", "The", "cats", "cat", "5", "ünï"]), max_size=20).map(" ".join)


def test_meteor_equals_the_published_example() -> None:
    """Of NLTK's own documentation, where no synonym is among the matches."""
    assert meteor([REFERENCE], [ACTION]) == [pytest.approx(69.44, abs=0.005)]
    assert meteor(["this is a cat"], ["non matching hypothesis"]) == [0.0]


def test_meteor_counted_by_hand() -> None:
    # "cats" matches "cat" by its stem. 3 words of 4 are among the 5 of the reference: P = 3/4, R = 3/5; they stand in two runs.
    mean = 10 * (3 / 4) * (3 / 5) / (3 / 5 + 9 * (3 / 4))
    assert meteor(["The cat sat there quietly."], ["quietly, the CATS slept"]) == [
        pytest.approx(100 * mean * (1 - 0.5 * (2 / 3) ** 3))
    ]


def test_meteor_weighs_recall_above_precision() -> None:
    long, short = meteor(["a fine guitar"] * 2, ["a fine guitar and much more of it", "guitar"])
    assert long > short


@pytest.mark.parametrize(("reference", "text"), [("", "a"), ("a", ""), ("!!!", "!!!"), ("big", "large"), ("cat", "dog")])
def test_meteor_nothing_in_common_is_zero(reference: str, text: str) -> None:
    assert meteor([reference], [text]) == [0.0]  # "large" is "big" in WordNet, which is not asked


def test_meteor_by_unicode_words_reads_any_script() -> None:
    # Four words of one character in one run: P = R = 1.
    assert meteor(["非常好的"], ["非常好的"], words="unicode") == [pytest.approx(100 * (1 - 0.5 / 4**3))]
    assert meteor(["非常好的"], ["非常好的"]) == [0.0]


@given(reference=TEXTS, text=TEXTS)
def test_meteor_equals_nltk_with_its_own_stemmer(reference: str, text: str) -> None:
    class Nothing:
        def synsets(self, _: str) -> list[str]:
            return []

    words = [one.lower().replace("ünï", "n").split() for one in (reference, text)]
    expected = single_meteor_score(*words, stemmer=PorterStemmer(), wordnet=Nothing())
    assert meteor([reference], [text]) == [100 * expected]


def test_meteor_version_says_what_is_left_out() -> None:
    assert meteor_version("paper").endswith("equal words and stems, no synonyms, paper words")
