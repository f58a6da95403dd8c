"""What of a history fits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reviewllm.prompts.budget import DialogueFit, Fit, fit_dialogue, fit_history


def test_fit_history_all_fits() -> None:
    assert fit_history([5, 5], [10, 20], budget=40, min_entries=1) == Fit(2, None)


def test_fit_history_drops_oldest_first() -> None:
    # newest 5 + 10 = 15, with the two before it 45, with the oldest 60 > 59
    assert fit_history([5] * 4, [10] * 4, budget=59, min_entries=1) == Fit(3, None)


def test_fit_history_shortens_a_long_one_and_keeps_what_is_older() -> None:
    # 11 * 10 = 110 for the frames, 10 * 20 for the short ones: 700 - 310 = 390, of three bits 384
    reviews = [20] * 8 + [2000] + [20] * 2
    assert fit_history([10] * 11, reviews, budget=700, min_entries=4) == Fit(11, 384)
    # its share is 400 // 4 = 100, of three bits 96: 106 + 10 * 30 > 400, and 106 + 9 * 30 = 376 leaves it 384 - 7 * 40 more
    assert fit_history([10] * 11, reviews, budget=400, min_entries=4) == Fit(10, 112)  # 400 - 100 - 9 * 20 = 120


def test_fit_history_shortens_longest_of_the_kept() -> None:
    # 3 entries are kept: 100 - 3 * 20 = 40 for reviews of 60, 10 and 50; 10 stays, (40 - 10) // 2 = 15, of three bits 14
    assert fit_history([20] * 4, [9, 60, 10, 50], budget=100, min_entries=3) == Fit(3, 14)


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
    assert fit_history(*ten, budget=120, min_entries=1, block=9) == Fit(8, None)  # 9 dropped would leave 15 tokens of 120
    assert fit_history(*ten, budget=150, min_entries=4, block=4) == Fit(10, None)


def test_fit_history_of_growing_histories_begin_alike() -> None:
    kept = [fit_history([5] * n, [10] * n, budget=150, min_entries=4, block=4).kept for n in range(10, 20)]
    assert [n - k for n, k in zip(range(10, 20), kept, strict=True)] == [0, 4, 4, 4, 4, 8, 8, 8, 8, 12]  # entries dropped


def _tokens(frames: list[int], reviews: list[int], fit: Fit) -> int:
    """What is shown of a history."""
    first = len(frames) - fit.kept
    cap = max(reviews, default=0) if fit.review_tokens is None else fit.review_tokens
    return sum(frames[first:]) + sum(min(review, cap) for review in reviews[first:])


@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(0, 200)), max_size=12),
    st.integers(0, 300),
    st.integers(1, 6),
    st.integers(1, 4),
)
def test_fit_history_never_exceeds_the_budget(
    entries: list[tuple[int, int]], budget: int, min_entries: int, block: int
) -> None:
    frames, reviews = [frame for frame, _ in entries], [review for _, review in entries]
    fit = fit_history(frames, reviews, budget=budget, min_entries=min_entries, block=block)
    assert _tokens(frames, reviews, fit) <= budget
    assert fit.kept >= min(min_entries, len(frames)) or sum(frames[-fit.kept - 1 :]) + fit.kept + 1 > budget
    if fit.review_tokens is not None:  # a quarter more for the longest would not fit
        longer = -(-5 * fit.review_tokens // 4) + 1
        assert _tokens(frames, reviews, fit._replace(review_tokens=longer)) > budget or max(reviews) < longer


@given(
    st.lists(st.tuples(st.integers(1, 60), st.one_of(st.integers(0, 150), st.integers(0, 9000))), min_size=1, max_size=60),
    st.integers(960, 1600),
    st.integers(1, 6),
    st.integers(1, 9),
)
def test_fit_history_uses_half_of_the_budget_where_there_is_enough(
    entries: list[tuple[int, int]], budget: int, min_entries: int, block: int
) -> None:
    frames, reviews = [frame for frame, _ in entries], [review for _, review in entries]
    fit = fit_history(frames, reviews, budget=budget, min_entries=min_entries, block=block)
    assert 2 * _tokens(frames, reviews, fit) >= min(budget, 2 * sum(frames) + 2 * sum(reviews))
    alone = fit_history(
        frames, reviews, budget=budget, min_entries=min_entries
    )  # without blocks three quarters, but for a frame
    assert _tokens(frames, reviews, alone) >= min(budget * 11 // 16 - 1, sum(frames) + sum(reviews))


def test_fit_dialogue_all_fits() -> None:
    assert fit_dialogue([5, 5], [10, 20], [3, 3, 3], room=43, min_entries=1) == DialogueFit(0, None, 0)
    assert fit_dialogue([], [], [9], room=9, min_entries=4) == DialogueFit(0, None, 0)


def test_fit_dialogue_new_block_keeps_three_quarters_of_the_room() -> None:
    # 4 of 15 and an item of 5 are 65 > 64, and three quarters of 64 - 5 are 44, which hold two of them
    assert fit_dialogue([5] * 4, [10] * 4, [5] * 5, room=64, min_entries=1) == DialogueFit(2, None, 4)
    assert fit_dialogue([5] * 4, [10] * 4, [5] * 5, room=64, min_entries=3) == DialogueFit(1, 8, 4)  # (44 - 15) // 3 = 9
    # 4 * 13 = 52 are over 44: all of the room, of which 59 - 52 = 7 are left for four reviews
    assert fit_dialogue([13] * 4, [10] * 4, [5] * 5, room=64, min_entries=4) == DialogueFit(0, 1, 4)


def test_fit_dialogue_shortens_a_long_one_and_keeps_what_is_older() -> None:
    # three quarters of 400 - 8 are 294; 6 * 10 + 5 * 10 are of the others, 294 - 110 = 184, of three bits 160
    fit = fit_dialogue([10] * 6, [10] * 5 + [900], [8] * 7, room=400, min_entries=4)
    assert fit == DialogueFit(0, 160, 6)
    more = fit_dialogue([10] * 10, [10] * 5 + [900] + [10] * 4, [8] * 11, room=400, min_entries=4)
    assert more == fit  # 270 and 4 * 20 leave room for the item: one block, behind which four came


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


@given(
    st.lists(st.tuples(st.integers(1, 40), st.one_of(st.integers(0, 150), st.integers(0, 9000))), min_size=1, max_size=40),
    st.integers(960, 1600),
    st.integers(1, 6),
)
def test_fit_dialogue_uses_half_of_the_room_where_there_is_enough(
    purchases: list[tuple[int, int]], room: int, min_entries: int
) -> None:
    frames, reviews = [frame for frame, _ in purchases], [review for _, review in purchases]
    items = [*frames, 30]
    fit = fit_dialogue(frames, reviews, items, room=room, min_entries=min_entries)
    shown = sum(frames[fit.start :]) + sum(
        min(review, fit.review_tokens) if fit.review_tokens is not None and place < fit.cut_before else review
        for place, review in enumerate(reviews)
        if place >= fit.start
    )
    # Three quarters of the room beside an item, and of these three quarters but for a frame.
    assert shown >= min((room - 40) * 9 // 16 - 42, sum(frames) + sum(reviews))
