"""Figures against values worked out by hand."""

from __future__ import annotations

import pytest

from reviewllm.extraction.answers import Answer, Found
from reviewllm.extraction.benchmarks import Product
from reviewllm.extraction.schemas import ValueSchema
from reviewllm.extraction.scores import decision, score_answers

SCHEMAS = {
    "Shoes": {"brand": ValueSchema(), "size": ValueSchema()},
    "Lamps": {"brand": ValueSchema(), "watts": ValueSchema()},
}


def product(category: str, **values: tuple[str, ...]) -> Product:
    return Product("p", category, "title", None, values)


PRODUCTS = [
    product("Shoes", brand=("Diesel",), size=("10",)),
    product("Shoes", brand=("Ellie", "Ellie Shoes")),  # people found no size
    product("Lamps", brand=("Corvo",), watts=()),
]
ANSWERS = [
    Answer({"brand": "Diesel", "size": "11"}),  # VC, VW
    Answer({"brand": "Ellie Shoes", "size": "9"}),  # VC, NV
    Answer({}, "is not JSON"),  # VN, NN
]


@pytest.mark.parametrize(
    ("accepted", "given", "kind"),
    [
        ((), None, "NN"),
        ((), "red", "NV"),
        (("red",), None, "VN"),
        (("red", "Red"), "Red", "VC"),
        (("red",), "Red", "VW"),
        (("Café™",), "CaféTM", "VC"),  # the compatibility form
        (("5",), 5.0, "VC"),
        (("yes",), True, "VC"),
        (("red", "blue"), ["red", "blue"], "VC"),
        (("red",), ["red", "blue"], "VW"),
    ],
)
def test_decision_each_class(accepted: tuple[str, ...], given: Found | None, kind: str) -> None:
    assert decision(accepted, given) == kind


def test_score_answers_counts_pairs_as_the_published_evaluation_does() -> None:
    found = score_answers(PRODUCTS, ANSWERS, SCHEMAS)
    assert found.classes["all", "all"] == {"NN": 1, "NV": 1, "VN": 1, "VC": 2, "VW": 1}
    figures = {(one.slice, one.group, one.measure): (one.value, one.n) for one in found.scores}
    precision, recall = 2 / (1 + 2 + 1), 2 / (1 + 2 + 1)
    assert figures["all", "all", "precision"] == (pytest.approx(100 * precision), 4)
    assert figures["all", "all", "recall"] == (pytest.approx(100 * recall), 4)
    assert figures["all", "all", "f1"] == (pytest.approx(100 * 2 * precision * recall / (precision + recall)), 8)
    assert figures["all", "all", "exact_match"] == (0.0, 3)
    assert figures["all", "all", "readable"] == (pytest.approx(100 * 2 / 3), 3)
    assert figures["attribute", "Shoes: brand", "f1"] == (100.0, 4)
    assert figures["attribute", "Shoes: size", "precision"] == (0.0, 2)
    assert found.classes["category", "Lamps"] == {"NN": 1, "NV": 0, "VN": 1, "VC": 0, "VW": 0}
    assert figures["category", "Lamps", "f1"] == (0.0, 1)
    assert figures["category", "Lamps", "precision"] == (0.0, 0)  # nothing was given


def test_score_answers_of_people_themselves_are_perfect_and_without_width() -> None:
    right = [Answer({name: several[0] for name, several in one.values.items() if several}) for one in PRODUCTS]
    found = score_answers(PRODUCTS, right, SCHEMAS)
    assert {(one.value, one.ci_low, one.ci_high) for one in found.scores if one.n} == {(100.0, 100.0, 100.0)}
    assert found.classes["all", "all"] == {"NN": 2, "NV": 0, "VN": 0, "VC": 4, "VW": 0}
