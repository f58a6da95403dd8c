"""What of a history fits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reviewllm.prompts.budget import Fit, fit_history


def test_fit_history_all_fits() -> None:
    assert fit_history([5, 5], [10, 20], budget=40, min_entries=1) == Fit(2, None)


def test_fit_history_drops_oldest_first() -> None:
    # newest 5 + 20 = 25, with the middle one 25 + 15 = 40, with the oldest 40 + 15 = 55 > 54
    assert fit_history([5, 5, 5], [10, 10, 20], budget=54, min_entries=1) == Fit(2, None)


def test_fit_history_shortens_longest_of_the_kept() -> None:
    # 3 entries are kept: 100 - 3 * 4 = 88 for reviews of 60, 10 and 50; 10 stays, (88 - 10) // 2 = 39
    assert fit_history([4, 4, 4, 4], [9, 60, 10, 50], budget=100, min_entries=3) == Fit(3, 39)


def test_fit_history_frames_alone_too_long_drops_entries() -> None:
    assert fit_history([50, 50], [30, 30], budget=60, min_entries=2) == Fit(1, 10)
    assert fit_history([50, 50], [30, 30], budget=50, min_entries=2) == Fit(0, None)


def test_fit_history_empty() -> None:
    assert fit_history([], [], budget=0, min_entries=4) == Fit(0, None)


def test_fit_history_drops_in_blocks_where_enough_is_left() -> None:
    ten = ([5] * 10, [10] * 10)  # 150 tokens
    assert fit_history(*ten, budget=120, min_entries=4, block=4) == Fit(6, None)  # 8 would fit; 4 dropped together
    assert fit_history(*ten, budget=90, min_entries=4, block=4) == Fit(6, None)
    assert fit_history(*ten, budget=89, min_entries=4, block=4) == Fit(5, None)  # 8 dropped would leave 2
    assert fit_history(*ten, budget=150, min_entries=4, block=4) == Fit(10, None)


def test_fit_history_of_growing_histories_begin_alike() -> None:
    kept = [fit_history([5] * n, [10] * n, budget=150, min_entries=4, block=4).kept for n in range(10, 20)]
    assert [n - k for n, k in zip(range(10, 20), kept, strict=True)] == [0, 4, 4, 4, 4, 8, 8, 8, 8, 12]  # entries dropped


@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(0, 200)), max_size=12),
    st.integers(0, 300),
    st.integers(1, 6),
)
def test_fit_history_never_exceeds_the_budget(entries: list[tuple[int, int]], budget: int, min_entries: int) -> None:
    frames, reviews = [frame for frame, _ in entries], [review for _, review in entries]
    fit = fit_history(frames, reviews, budget=budget, min_entries=min_entries)
    first = len(entries) - fit.kept
    cap = max(reviews, default=0) if fit.review_tokens is None else fit.review_tokens
    assert sum(frames[first:]) + sum(min(review, cap) for review in reviews[first:]) <= budget or fit.kept == 0
    if fit.kept and fit.review_tokens is not None:  # one token more for the longest would not fit
        longer = sum(min(review, cap + 1) for review in reviews[first:])
        assert sum(frames[first:]) + longer > budget or max(reviews[first:]) <= cap
