"""The draft that is taken, by values computed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from reviewllm.evaluation.figures import FIGURES
from reviewllm.generation.choice import CHECKS, MOST_COPIED, Asked, Bounds, Choice, choose, failed_checks, likeness
from reviewllm.generation.engine import Draft
from reviewllm.scoring.sbert import sbert_cosine
from reviewllm.scoring.scorer import Product
from reviewllm.scoring.sentiment import POSITIVE, sounds_as_rated

HOSE = Product("Garden hose", None, [])
RED_HOSE = Product("Garden hose", '{"color": "red"}', [])
ONE, TWO, THREE = "A fine hose and I love it.", "A fine hose, I love it.", "Great: my plants are happy."
BAD = "It broke at once. What a waste of money!"


def asked(*texts: str, rating: float | None = 5.0, **more: Any) -> Asked:
    drafts = [Draft(text, "stop") for text in texts]
    return Asked(drafts, **{"rating": rating, "product": HOSE, "usual_words": None, **more})


def test_choose_the_nearest_of_the_drafts_that_pass() -> None:
    assert choose([asked(BAD, THREE, TWO, ONE)], least_bad=False) == [Choice(2, 3, "nearest to the others of 3 that passed")]


def test_likeness_is_the_mean_of_rouge_l_and_of_the_embeddings_cosine() -> None:
    (found,) = likeness([[ONE, TWO, THREE]])
    cosine = {pair: sbert_cosine([pair[0]], [pair[1]])[0] for pair in ((ONE, TWO), (ONE, THREE), (TWO, THREE))}
    first = (100 * 2 * 6 / (7 + 6) + cosine[ONE, TWO]) / 2  # six words in order, of seven and of six
    second, third = (0 + cosine[ONE, THREE]) / 2, (0 + cosine[TWO, THREE]) / 2
    expected = [(first + second) / 2, (first + third) / 2, (second + third) / 2]
    assert found.tolist() == pytest.approx(expected, abs=2e-3)


def test_likeness_of_a_row_is_the_same_beside_other_rows() -> None:
    alone = likeness([[ONE, TWO, THREE]])[0]
    together = likeness([[THREE] * 3, [ONE, TWO, THREE], ["sehr gut"] * 4, [BAD, ONE], [BAD * 20, ONE, TWO]])
    np.testing.assert_array_equal(together[1], alone)
    assert [row.tolist() for row in (together[0], together[2], together[3])] == [[100.0] * 3, [100.0] * 4, [0.0] * 2]


def test_choose_takes_no_text_in_the_words_of_others() -> None:
    words = "what a fine hose and I love to have it in my garden".split()  # noqa: SIM905
    copied, long = " ".join(words[: MOST_COPIED + 1]), " ".join(words[:MOST_COPIED])
    row = asked(f"I say {copied}.", f"Love {long}.", usual_words=None, others=[f"It is {' '.join(words)}."])
    assert [failed_checks(draft, row) for draft in row.drafts] == [["copied"], []]
    assert choose([row], least_bad=True) == [Choice(1, 1, "the only one that passed")]
    strict = row._replace(bounds=Bounds(max_copied_words=3), drafts=[*row.drafts, Draft(BAD, "length")])
    assert choose([strict], least_bad=True)[0].place == 2  # fails more checks, but none that the night refuses


@pytest.mark.parametrize(
    ("texts", "choice"),
    [
        ([ONE, ONE, ONE], Choice(0, 3, "nearest to the others of 3 that passed")),
        ([THREE, ONE, ONE, THREE], Choice(0, 4, "nearest to the others of 4 that passed")),  # two and two: the first
        ([THREE, ONE, ONE, ONE], Choice(1, 4, "nearest to the others of 4 that passed")),
        ([BAD, THREE, BAD, ONE], Choice(1, 2, "the first of two that passed")),
        ([BAD, BAD, ONE], Choice(2, 1, "the only one that passed")),
        ([BAD, f"{BAD} {BAD}"], Choice(0, 0, "least bad: fails sentiment")),  # the second repeats itself too
    ],
    ids=["equal", "tie", "majority", "two", "one", "none"],
)
def test_choose_of_equals_takes_the_first(texts: list[str], choice: Choice) -> None:
    assert choose([asked(*texts)], least_bad=True) == [choice]


def test_choose_of_drafts_none_of_which_passes_takes_none_unless_it_may() -> None:
    row = asked(BAD, f"{BAD} {BAD}")
    told = "none of 2 drafts passes every check; they fail: 2 sentiment, 1 repetition"
    assert choose([row], least_bad=False) == [Choice(None, 0, told)]


def test_choose_the_least_bad_is_none_that_the_nights_bound_refuses() -> None:
    red, positive = "A wooden hose, and it broke.", "I love it, it is great!"
    row = asked(red, positive, rating=1.0, product=RED_HOSE, usual_words=100.0, bounds=Bounds(0.0))
    assert failed_checks(row.drafts[0], row) == ["claims", "length"]
    assert failed_checks(row.drafts[1], row) == ["sentiment", "length"]
    assert choose([row], least_bad=True) == [Choice(1, 0, "least bad: fails sentiment, length")]
    assert choose([row._replace(bounds=Bounds())], least_bad=True)[0].place == 0


@pytest.mark.parametrize(
    ("failed", "text", "more"),
    [
        ([], ONE, {}),
        (["sentiment"], ONE, {"rating": 2.0}),
        ([], ONE, {"rating": 3.0}),
        ([], BAD, {"rating": None}),  # the model was not told the stars, so the choice must not be
        (["sentiment"], BAD, {"rating": 4.0}),
        ([], "Ist sofort kaputt gegangen.", {}),  # what cannot be read is not held against a text
        (["claims"], "I love this wooden hose.", {"product": RED_HOSE}),
        ([], "I love this red hose.", {"product": RED_HOSE}),
        ([], "I love this wooden hose.", {}),  # of a product without data nothing is known
        (["claims"], "I love this wooden hose.", {"bounds": Bounds(20.0)}),
        (["claims"], "Ein sehr guter Schlauch.", {"bounds": Bounds(20.0)}),
        ([], "so good I love it", {"usual_words": 20.0}),  # 5 of 20 words are a quarter
        (["length"], "good I love it", {"usual_words": 20.0}),
        ([], "so good I love it so I love", {"usual_words": 2.0}),  # 8 of 2 are four times
        (["length"], "so good I love it so I love you", {"usual_words": 2.0}),
        (["repetition"], "I love it. I love it so.", {}),  # "i love it" twice, of five
    ],
)
def test_failed_checks_of_a_draft(failed: list[str], text: str, more: dict[str, Any]) -> None:
    row = asked(text, **more)
    assert failed_checks(row.drafts[0], row) == failed


def test_failed_checks_of_a_text_that_was_cut() -> None:
    assert failed_checks(Draft(ONE, "length"), asked(ONE)) == ["cut"]
    assert list(CHECKS) == ["cut", "sentiment", "claims", "copied", "length", "repetition"]


def test_sounds_as_rated_is_the_figure_of_the_evaluation() -> None:
    rows = [(sentiment, stars) for sentiment in (-80.0, POSITIVE, 12.6, 80.0, None) for stars in (1.0, 2.0, 3.0, 4.0, 5.0)]
    frame = pl.DataFrame(rows, schema={"sentiment": pl.Float64, "rating": pl.Float64}, orient="row")
    figure = frame.select(FIGURES["sentiment_agreement"].row).to_series().to_list()
    told = [sounds_as_rated(*row) for row in rows]
    assert [None if one is None else 100.0 * one for one in told] == figure
