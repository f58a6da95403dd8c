"""Figures against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from reviewllm.extraction.answers import Answer, Found
from reviewllm.extraction.benchmarks import Product
from reviewllm.extraction.results import plain_text
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
    product("Shoes", brand=("Ellie", "Ellie Shoes")),  # people listed no size
    product("Lamps", brand=("Corvo",), watts=()),
]
ANSWERS = [
    Answer({"brand": "Diesel", "size": "11"}),  # VC, VW
    Answer({"brand": "Ellie Shoes", "size": "9"}),  # VC, UV
    Answer({}, "is not JSON"),  # VN, NN
]


@pytest.mark.parametrize(
    ("accepted", "given", "kind"),
    [
        (None, None, "UN"),
        (None, "red", "UV"),
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
def test_decision_each_class(accepted: tuple[str, ...] | None, given: Found | None, kind: str) -> None:
    assert decision(accepted, given) == kind


def test_score_answers_counts_pairs_as_the_published_evaluation_does() -> None:
    found = score_answers(PRODUCTS, ANSWERS, SCHEMAS)
    assert found.classes["all", "all"] == {"NN": 1, "NV": 0, "VN": 1, "VC": 2, "VW": 1, "UN": 0, "UV": 1}
    figures = {(one.slice, one.group, one.measure): (one.value, one.n) for one in found.scores}
    precision, recall = 2 / (0 + 2 + 1), 2 / (1 + 2 + 1)
    assert figures["all", "all", "precision"] == (pytest.approx(100 * precision), 3)
    assert figures["all", "all", "recall"] == (pytest.approx(100 * recall), 4)
    assert figures["all", "all", "f1"] == (pytest.approx(100 * 2 * precision * recall / (precision + recall)), 7)
    strict = 2 / (0 + 2 + 1 + 1)
    assert figures["all", "all", "strict_precision"] == (pytest.approx(100 * strict), 4)
    assert figures["all", "all", "strict_f1"] == (pytest.approx(100 * 2 * strict * recall / (strict + recall)), 8)
    assert figures["all", "all", "exact_match"] == (0.0, 3)
    assert figures["all", "all", "readable"] == (pytest.approx(100 * 2 / 3), 3)
    assert figures["attribute", "Shoes: brand", "f1"] == (100.0, 4)
    assert figures["attribute", "Shoes: size", "precision"] == (0.0, 1)
    assert figures["attribute", "Shoes: size", "strict_precision"] == (0.0, 2)
    assert found.classes["category", "Lamps"] == {"NN": 1, "NV": 0, "VN": 1, "VC": 0, "VW": 0, "UN": 0, "UV": 0}
    assert figures["category", "Lamps", "f1"] == (0.0, 1)
    assert figures["category", "Lamps", "precision"] == (0.0, 0)  # nothing was given


def test_score_answers_of_people_themselves_are_perfect_and_without_width() -> None:
    right = [Answer({name: several[0] for name, several in one.values.items() if several}) for one in PRODUCTS]
    found = score_answers(PRODUCTS, right, SCHEMAS)
    assert {(one.value, one.ci_low, one.ci_high) for one in found.scores if one.n} == {(100.0, 100.0, 100.0)}
    assert found.classes["all", "all"] == {"NN": 1, "NV": 0, "VN": 0, "VC": 4, "VW": 0, "UN": 1, "UV": 0}


def test_score_answers_leaves_unlisted_attributes_to_our_own_count() -> None:
    """Against a loop over what is listed, as ExtractGPT's evaluation goes, of answers that often invent a size."""
    draw = np.random.default_rng(0)
    products = [
        product(
            "Shoes", brand=("Diesel",), **({"size": ("10",) if draw.random() < 0.7 else ()} if draw.random() < 0.5 else {})
        )
        for _ in range(200)
    ]
    values = [{"brand": "Diesel"}, {"brand": "Ellie", "size": "10"}, {"size": "10"}, {"brand": "Diesel", "size": "9"}]
    answers = [Answer(values[draw.integers(len(values))]) for _ in products]
    right = given = wanted = unlisted = 0
    for one, answer in zip(products, answers, strict=True):
        for name in SCHEMAS["Shoes"]:
            if name not in one.values:
                unlisted += name in answer.values
                continue
            given += name in answer.values
            wanted += bool(one.values[name])
            right += answer.values.get(name) in one.values[name]
    found = {
        score.measure: score.value for score in score_answers(products, answers, SCHEMAS).scores if score.slice == "all"
    }
    assert unlisted > 20
    assert [found["precision"], found["recall"]] == pytest.approx([100 * right / given, 100 * right / wanted])
    assert found["f1"] == pytest.approx(200 * right / (given + wanted))
    assert found["strict_precision"] == pytest.approx(100 * right / (given + unlisted))
    assert found["strict_f1"] == pytest.approx(200 * right / (given + unlisted + wanted))


def test_plain_text_names_both_counts_where_they_differ() -> None:
    text = plain_text({"one": score_answers(PRODUCTS, ANSWERS, SCHEMAS)}, title="t")
    assert "strict_* and exact_match are ours: it is wrong (one 1)" in text
    assert "strict_*" not in plain_text({"one": score_answers(PRODUCTS[::2], ANSWERS[::2], SCHEMAS)}, title="t")
