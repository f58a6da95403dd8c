"""Which entries of a history are shown where not all fit, and that they stand in order of time."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import entry, example
from hypothesis import given
from hypothesis import strategies as st

from reviewllm.prompts.config import PromptConfig
from reviewllm.prompts.renderer import Prompt, PromptRenderer
from reviewllm.prompts.selection import wanted

TITLES = ["Guitar strings, light", "Rake", "Guitar picks", "Lamp", "Rake"]


def history(*ratings: float) -> list[dict[str, Any]]:
    return [
        entry(place, title=title, rating=rating, review=f"R{place}: " + "word " * 20)
        for place, (title, rating) in enumerate(zip(TITLES, ratings, strict=True))
    ]


def shown(tokenizer: Any, rows: list[dict[str, Any]], *, tokens: int = 420, **options: Any) -> list[int]:
    """The places of the entries in a prompt, in the order in which they stand there."""
    config = PromptConfig(max_prompt_tokens=tokens, min_history=1, **options)
    (prompt,) = PromptRenderer(tokenizer, config).render(
        [example(title="Strings for an electric guitar", rating=1.0, history=rows)]
    )
    assert isinstance(prompt, Prompt), prompt
    text = tokenizer.decode(prompt.token_ids)
    assert f"({prompt.history_kept})" in text
    return sorted((place for place in range(len(rows)) if f"R{place}:" in text), key=lambda place: text.index(f"R{place}:"))


def test_wanted_similar_weighs_rare_words_and_near_ratings() -> None:
    rows = history(5.0, 5.0, 5.0, 1.0, 5.0)
    new = {"title": "Strings for an electric guitar", "rating": 1.0}
    # "guitar" and "strings" of the first, "guitar" alone of the third; the lamp has the stars; of the rakes the older goes first
    assert wanted("similar", rows, new, ratings=False) == [1, 3, 4, 2, 0]
    assert wanted("similar", rows, new, ratings=True) == [1, 4, 2, 0, 3]
    alike = [{"title": "Rake", "rating": stars} for stars in (1.0, 2.0, 5.0, 1.0)]
    assert wanted("similar", alike, {"title": "Rake", "rating": 1.0}, ratings=True) == [2, 1, 0, 3]
    assert wanted("similar", alike, {"title": "Rake", "rating": 1.0}, ratings=False) == [0, 1, 2, 3]


def test_wanted_spread_has_each_item_and_each_rating_once_before_any_twice() -> None:
    rows = history(4.0, 4.0, 2.0, 4.0, 4.0)
    # Newest first: the second rake stands last; then 2 stars and the lamp of 4, which a newer one of 4 precedes.
    assert wanted("spread", rows, {"title": "x", "rating": 4.0}, ratings=True) == [1, 0, 3, 2, 4]
    assert wanted("spread", rows, {"title": "x", "rating": 4.0}, ratings=False) == [1, 0, 2, 3, 4]


@pytest.mark.parametrize("selection", ["latest", "similar", "spread"])
def test_render_selects_only_where_not_all_fits_and_keeps_the_order_of_time(tokenizer: Any, selection: str) -> None:
    rows = history(5.0, 4.0, 5.0, 1.0, 5.0)
    assert shown(tokenizer, rows, tokens=4000, history_selection=selection) == [0, 1, 2, 3, 4]
    some = shown(tokenizer, rows, tokens=620, history_selection=selection)
    assert 0 < len(some) < 5
    assert some == sorted(some)


def test_render_shows_similar_entries_however_old(tokenizer: Any) -> None:
    rows = history(5.0, 5.0, 5.0, 5.0, 5.0)
    kept = len(shown(tokenizer, rows, tokens=620))
    assert 0 not in shown(tokenizer, rows, tokens=620)
    found = shown(tokenizer, rows, tokens=620, history_selection="similar")
    assert found[0] == 0
    assert len(found) >= kept


def test_render_without_ratings_selects_without_them(tokenizer: Any) -> None:
    rows = [entry(place, review=f"R{place}: " + "word " * 20, rating=5.0) for place in range(5)]
    rated = [{**row, "rating": stars} for row, stars in zip(rows, (1.0, 1.0, 5.0, 5.0, 5.0), strict=True)]
    for selection in ("similar", "spread"):
        options = {"tokens": 620, "history_selection": selection, "rating": False}
        assert shown(tokenizer, rated, **options) == shown(tokenizer, rows, **options)


@pytest.mark.parametrize("selection", ["similar", "spread"])
def test_render_selects_for_a_recommended_item_that_nobody_rated(tokenizer: Any, selection: str) -> None:
    config = PromptConfig(task="reason", max_prompt_tokens=620, min_history=1, history_selection=selection, user_facts=True)  # type: ignore[arg-type]
    (prompt,) = PromptRenderer(tokenizer, config).render(
        [{"title": "Lamp", "history": history(5.0, 4.0, float("nan"), 1.0, 5.0)}]
    )
    assert isinstance(prompt, Prompt)
    assert "R3:" in tokenizer.decode(prompt.token_ids)


ENTRIES = st.lists(
    st.tuples(st.sampled_from([*TITLES, "", "非常好"]), st.sampled_from([1.0, 2.0, 4.5, 5.0])), max_size=12
).map(lambda pairs: [{"title": title, "rating": rating} for title, rating in pairs])


@given(ENTRIES, st.sampled_from(["latest", "similar", "spread"]), st.booleans())
def test_wanted_is_every_place_once(rows: list[dict[str, Any]], selection: Any, ratings: bool) -> None:
    order = wanted(selection, rows, {"title": "Guitar strings", "rating": 4.0}, ratings=ratings)
    assert sorted(order) == list(range(len(rows)))
    assert order == wanted(selection, rows, {"title": "Guitar strings", "rating": 4.0}, ratings=ratings)
