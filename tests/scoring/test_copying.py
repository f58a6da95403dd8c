"""Shared runs against comparing every pair of places."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reviewllm.scoring.copying import MOST_WORDS, longest_runs_in, longest_shared_runs
from reviewllm.scoring.words import words

TEXT = st.text("ab c.", max_size=30)


def by_hand(text: str, sources: list[str]) -> int:
    mine = words(text)
    runs = {tuple(mine[start:end]) for start in range(len(mine)) for end in range(start + 1, len(mine) + 1)}
    longest = 0
    for source in map(words, sources):
        parts = {tuple(source[start:end]) for start in range(len(source)) for end in range(start + 1, len(source) + 1)}
        longest = max(longest, max((len(run) for run in runs & parts), default=0))
    return longest


@given(st.lists(st.tuples(TEXT, st.lists(TEXT, max_size=3)), max_size=5))
def test_longest_shared_runs_is_each_text_with_its_own_sources(rows: list[tuple[str, list[str]]]) -> None:
    texts, sources = [row[0] for row in rows], [row[1] for row in rows]
    assert longest_shared_runs(texts, sources) == [by_hand(*row) for row in rows]


@given(st.lists(TEXT, max_size=5), st.lists(TEXT, max_size=5))
def test_longest_runs_in_is_each_text_with_all_of_the_corpus(texts: list[str], corpus: list[str]) -> None:
    assert longest_runs_in(texts, corpus) == [by_hand(text, corpus) for text in texts]


def test_longest_shared_runs_of_a_whole_copy_and_across_a_border() -> None:
    review = " ".join(f"word{number}" for number in range(700))
    assert longest_shared_runs([review, "one two"], [[review], ["so one", "two more"]]) == [700, 1]


def test_longest_shared_runs_of_one_word_without_end_is_cut() -> None:
    endless = "spam " * 100_000
    assert longest_shared_runs([endless], [[endless] * 3]) == longest_runs_in([endless], [endless]) == [MOST_WORDS]
