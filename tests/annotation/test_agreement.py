"""Agreement: worked by hand, and undefined with a reason where it is undefined."""

import math

import numpy as np
import pytest

from reviewllm.annotation.agreement import fleiss_kappa, krippendorff_alpha

NONE = math.nan


def test_fleiss_kappa_worked_by_hand():
    # Four pairs, three annotators: 1 1 1, 1 1 0, 0 0 1, 0 0 0.
    answers = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0.0]])
    # Of the 3 couples of a pair, 3, 1, 1 and 3 agree; 6 of 12 answers are 1.
    observed, expected = (3 / 3 + 1 / 3 + 1 / 3 + 3 / 3) / 4, (6 / 12) ** 2 + (6 / 12) ** 2
    kappa = fleiss_kappa(answers)

    assert kappa.value == pytest.approx((observed - expected) / (1 - expected))
    assert (kappa.pairs, kappa.reason) == (4, None)


def test_krippendorff_alpha_worked_by_hand():
    answers = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0.0]])
    # Ordered couples within a pair, each weighted 1 / (annotators - 1): two pairs hold 4 couples that differ each.
    observed = (4 / 2 + 4 / 2) / 12
    expected = 2 * 6 * 6 / (12 * 11)

    assert krippendorff_alpha(answers).value == pytest.approx(1 - observed / expected)


def test_agreement_with_missing_answers_uses_what_each_measure_can():
    answers = np.array([[1, 1, 0, NONE, 1], [1, 0, 0, 1, NONE], [1, NONE, 0, 1, NONE]])
    # Kappa: pairs 1 and 3. Alpha: pairs 1 to 4, of 3, 2, 3 and 2 answers; six ones, four zeros; only pair 2 differs.
    kappa, alpha = fleiss_kappa(answers), krippendorff_alpha(answers)

    assert (kappa.value, kappa.pairs) == (1.0, 2)
    assert alpha.value == pytest.approx(1 - (2 / 10) / (2 * 6 * 4 / (10 * 9)))
    assert alpha.pairs == 4


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([[1, 0, 1]], "it takes two annotators"),
        ([[1, 1], [1, 1]], "all answers are equal"),
        ([[0, 0], [0, 0], [0, 0]], "all answers are equal"),
        ([[1, NONE, 0], [1, 0, NONE]], "all answers are equal"),  # of those that both answered
        ([[1, NONE], [NONE, 0]], "no pair was answered by"),
    ],
)
@pytest.mark.parametrize("measure", [fleiss_kappa, krippendorff_alpha])
def test_agreement_is_undefined_with_a_reason(measure, answers, reason):
    agreement = measure(np.array(answers, dtype=float))

    assert agreement.value is None
    assert reason in agreement.reason


def test_fleiss_kappa_without_a_pair_that_all_answered_is_undefined_where_alpha_is_not():
    answers = np.array([[1, 0, NONE], [1, NONE, 0], [NONE, 0, 1]])

    assert fleiss_kappa(answers).reason == "no pair was answered by all annotators"
    assert krippendorff_alpha(answers).value is not None
