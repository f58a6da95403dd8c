"""Answers of a model, whatever they are -> an order without inventions and repeats."""

from __future__ import annotations

from collections import Counter

import pytest

from reviewllm.recommend.names import item_names
from reviewllm.recommend.ranking import Place, fall_back, place_likeliest, place_named, read_likelihoods, read_list

NAMES = item_names(["a", "b", "c", "d"], ["Lamp", "Rake", "Hose", "Pen"], ids="ambiguous", max_chars=50)


@pytest.mark.parametrize(
    ("text", "names", "counted"),
    [
        ('["Lamp","Rake"]', ["Lamp", "Rake"], {}),
        ('["Lamp"] and so on ["Rake"]', ["Lamp"], {}),
        ('["Lamp","Ra', ["Lamp"], {"repaired": 1}),
        ('"Lamp", "Rake"', ["Lamp", "Rake"], {"repaired": 1}),
        (r'["12\" pen","Ra', ['12" pen'], {"repaired": 1}),
        ('["Lamp", 3]', ["Lamp"], {"repaired": 1}),
        ("[]", None, {"unreadable": 1}),
        ("I would buy a lamp.", None, {"unreadable": 1}),
        ('{"a": "Lamp"}', None, {"unreadable": 1}),
        ("[" * 100_000, None, {"unreadable": 1}),
        ("", None, {"unreadable": 1}),
        (None, None, {"unreadable": 1}),
    ],
)
def test_read_list(text: str | None, names: list[str] | None, counted: dict[str, int]) -> None:
    counts: Counter[str] = Counter()
    assert read_list(text, counts) == names
    assert counts == counted


@pytest.mark.parametrize("text", ["[-1.0]", "[-1.0, NaN]", '[-1.0, "x"]', "[-1.0,", None, '{"a": 1}', "[-1.0, Infinity]"])
def test_read_likelihoods_that_are_none(text: str | None) -> None:
    counts: Counter[str] = Counter()
    assert read_likelihoods(text, 2, counts) is None
    assert counts == {"unreadable": 1}
    assert read_likelihoods("[-1.5, -2]", 2, counts) == [-1.5, -2.0]


def test_place_named_takes_each_candidate_once_and_counts_the_rest() -> None:
    counts: Counter[str] = Counter()
    answer = ["Rake", "rake!", "Sofa", "Pen", "Lamp"]  # the same twice, one of no catalogue, one of no candidate
    placed = place_named(answer, ["a", "b"], frozenset({"c"}), NAMES, counts, free=False)
    assert placed == [Place("b", "model"), Place("a", "model")]
    assert counts == {
        "outside the catalogue": 1,
        "outside the candidates": 2,
        "duplicates": 1,
        "already bought": 0,
    }


def test_place_named_free_takes_the_catalogue_but_no_purchase() -> None:
    counts: Counter[str] = Counter()
    placed = place_named(["Pen", "Hose", "Sofa"], ["a", "b"], frozenset({"c"}), NAMES, counts, free=True)
    assert placed == [Place("d", "model")]
    assert (counts["already bought"], counts["outside the catalogue"], counts["outside the candidates"]) == (1, 1, 3)


def test_fall_back_lists_every_candidate_once_in_the_retrievers_order() -> None:
    assert fall_back([Place("b", "model")], ["a", "b", "c"]) == [
        Place("b", "model"),
        Place("a", "retriever"),
        Place("c", "retriever"),
    ]


def test_place_likeliest_keeps_the_likelihoods() -> None:
    assert place_likeliest([-2.0, -1.0], ["a", "b"]) == [Place("b", "model", -1.0), Place("a", "model", -2.0)]
