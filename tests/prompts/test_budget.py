"""What of a history fits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reviewllm.prompts.budget import DialogueFit, Fit, fit_dialogue, fit_history


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


def test_fit_dialogue_all_fits() -> None:
    assert fit_dialogue([5, 5], [10, 20], [3, 3, 3], room=43, min_entries=1) == DialogueFit(0, None, 0)
    assert fit_dialogue([], [], [9], room=9, min_entries=4) == DialogueFit(0, None, 0)


def test_fit_dialogue_new_block_keeps_half_of_the_room() -> None:
    # 4 of 15 and an item of 5 are 65 > 64, and (64 - 5) // 2 = 29 holds one of them
    assert fit_dialogue([5] * 4, [10] * 4, [5] * 5, room=64, min_entries=1) == DialogueFit(3, None, 4)
    assert fit_dialogue([5] * 4, [10] * 4, [5] * 5, room=64, min_entries=3) == DialogueFit(1, None, 4)


def test_fit_dialogue_shortens_the_longest_reviews_of_the_newest() -> None:
    # 100 - 8 of the item - 3 * 4 = 80 for reviews of 60, 10 and 50; 10 stays, (80 - 10) // 2 = 35
    assert fit_dialogue([4] * 4, [9, 60, 10, 50], [4, 4, 4, 4, 8], room=100, min_entries=3) == DialogueFit(1, 35, 4)


def test_fit_dialogue_frames_alone_too_long_drops_entries() -> None:
    assert fit_dialogue([50, 50], [30, 30], [10, 10, 0], room=60, min_entries=2) == DialogueFit(1, 10, 2)
    assert fit_dialogue([50, 50], [30, 30], [10, 10, 0], room=50, min_entries=2) == DialogueFit(2, None, 2)


@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(0, 200), st.integers(1, 15)), min_size=1, max_size=12),
    st.integers(15, 300),
    st.integers(1, 6),
)
def test_fit_dialogue_fits_and_begins_as_before(purchases: list[tuple[int, int, int]], room: int, min_entries: int) -> None:
    frames, reviews, items = ([one[part] for one in purchases] for part in range(3))
    before: tuple[int, list[int]] | None = None
    for size in range(len(purchases)):
        fit = fit_dialogue(frames[:size], reviews[:size], items[: size + 1], room=room, min_entries=min_entries)
        shown = [
            frames[place] + min(reviews[place], reviews[place] if fit.review_tokens is None else fit.review_tokens)
            if place < fit.cut_before
            else frames[place] + reviews[place]
            for place in range(fit.start, size)
        ]
        assert sum(shown) + items[size] <= room
        if before is not None and before[0] == fit.cut_before:  # the same block: what stood there, and one more
            assert shown[:-1] == before[1]
        before = fit.cut_before, shown
