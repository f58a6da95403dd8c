"""Does sentiment rise with the stars? By the standard errors of the means."""

import math
from collections import Counter

import pytest

from reviewllm.report.nightly.content import Star
from reviewllm.report.nightly.measure import Measures, Sum
from reviewllm.report.nightly.stars import rises, stars_of


def _stars(*means: float, error: float = 1.0, before: tuple[float, ...] = (), rows: int = 100) -> list[Star]:
    return [
        Star(
            stars=place + 1,
            rows=rows,
            mean=mean,
            error=error,
            mean_before=before[place] if before else None,
            error_before=0.5 if before else None,
        )
        for place, mean in enumerate(means)
    ]


def _measures(sentiment: dict[int, Sum]) -> Measures:
    return Measures(0, 0, {}, {}, sentiment, Counter(), Counter())


def test_stars_of_have_mean_error_and_the_mean_before() -> None:
    tonight = _measures({5: Sum(2, 80.0, 60.0**2 + 20.0**2)})
    before = [_measures({5: Sum(1, 10.0, 100.0)}), _measures({5: Sum(3, 90.0, 2700.0), 1: Sum(1, 0.0, 0.0)})]

    (star,) = stars_of(tonight, before)

    assert (star.stars, star.rows, star.mean, star.mean_before) == (5, 2, 40.0, (10 + 90) / 4)
    assert star.error == pytest.approx(20 / math.sqrt(2))  # a deviation of 20 around 40, of two rows


@pytest.mark.parametrize(
    ("stars", "verdict", "words"),
    [
        (_stars(-30, -10, 0, 20, 40), "fine", "by 70.0 from 1 to 5 stars"),
        (_stars(-30, -10, -12, 20, 40), "fine", "rises"),  # 2 below, within 3.29 * sqrt(2) = 4.7
        (_stars(-30, -10, -15, 20, 40), "look", "falls from 2 to 3 stars"),
        (_stars(10, 10, 10, 10, 10), "look", "the texts do not follow the ratings"),
        (_stars(10, 10, 10, 10, 10, error=5.0), "unknown", "a rise of 10 may be chance"),
        (_stars(0, 5, 10, 15, 20, before=(-40, -20, 0, 20, 40)), "look", "by 20.0 from 1 to 5 stars, before by 80.0"),
        (_stars(0, 10, 20, 30, 50, before=(-40, -20, 0, 20, 40)), "fine", "by 50.0"),  # less, but more than half
        (_stars(10, 20, rows=29), "unknown", "fewer than two stars have 30 rows"),
        ([], "unknown", "was not scored"),
    ],
)
def test_rises_by_the_rule(stars: list[Star], verdict: str, words: str) -> None:
    finding = rises(stars, with_rating=True)

    assert finding.verdict == verdict
    assert words in finding.claim
    assert bool(finding.about) == (verdict == "look")


def test_rises_without_ratings_in_prompts_is_no_alarm() -> None:
    finding = rises(_stars(10, 10, 10), with_rating=False)

    assert finding.verdict == "note"
    assert "the prompts showed no ratings" in finding.claim
