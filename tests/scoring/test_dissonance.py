"""Distance from what is usual, in natural spreads."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reviewllm.scoring.dissonance import Written, item_dissonance, user_dissonance

SHORT = [Written("Good strings, they stay in tune.", 5.0), Written("Good picks, they last long.", 5.0)]
LONG = [
    Written(
        "I HAVE PLAYED THIS GUITAR FOR YEARS!!! The neck broke, and nobody at the shop wanted to hear about it, ever.", 1.0
    ),
    Written(
        "I HAVE TRIED THESE CABLES FOR WEEKS!!! They crackle, and nobody at the shop wanted to take them back, ever.", 1.0
    ),
]
HOSE = [Written("The hose leaks at the tap.", 2.0), Written("It leaks where the tap is.", 2.0), Written("Leaks.", 1.0)]
LAMP = [Written("A bright lamp for my desk.", 5.0), Written("Bright light on the desk, love it.", 5.0)]


def test_user_dissonance_is_lower_beside_the_users_own_reviews() -> None:
    text = Written("Good cables, they hold well.", 5.0)
    own, strange = user_dissonance([text, text], [SHORT, LONG])
    assert own is not None
    assert strange is not None
    assert own < strange


def test_user_dissonance_of_real_reviews_is_about_one() -> None:
    """Each review beside the others of its user, by spreads of just these: the mean is 1 by its definition."""
    groups = [SHORT, LONG, HOSE]
    texts = [one for group in groups for one in group]
    found = [one for one in user_dissonance(texts, [group for group in groups for _ in group]) if one is not None]
    assert len(found) == len(texts)
    assert np.mean(found) == pytest.approx(1.0, abs=1e-9)


def test_user_dissonance_tells_length_tone_and_style_by_their_spread() -> None:
    group = [Written("Bad.", 1.0), Written("Bad bad bad.", 1.0)]
    (found,) = user_dissonance([Written("Bad.", 5.0)], [group])
    length = abs(math.log1p(1) - (math.log1p(1) + math.log1p(3)) / 2) / abs(math.log1p(3) - math.log1p(1))
    assert length == pytest.approx(0.5)
    assert found is not None
    assert found > length  # the tone is two stars' worth further down than that of the others


def test_dissonance_is_none_where_nothing_tells_it() -> None:
    assert user_dissonance([], []) == []
    assert user_dissonance([SHORT[0], SHORT[1]], [[], LONG[:1]]) == [None, None]  # no history; no group of two
    assert item_dissonance([HOSE[0]], [[]]) == [None]


def test_dissonance_of_other_languages_leaves_the_tone_out() -> None:
    german = [Written("Sehr gute Saiten, klingen lange gut.", 5.0), Written("Sehr gute Kabel, halten lange gut.", 5.0)]
    one, other = user_dissonance([german[0], Written(german[0].text, 1.0)], [german, german])
    assert one is not None
    assert other is not None  # which counts as another text than the user's own of five stars
    assert other < one


def test_item_dissonance_is_lower_beside_reviews_of_the_same_item() -> None:
    text = Written("Water leaks out at the tap.", 2.0)
    own, strange = item_dissonance([text, text], [HOSE, LAMP])
    assert own is not None
    assert strange is not None
    assert own < strange
