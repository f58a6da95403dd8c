"""What the rule learns of a few products, and how far it gets on the real ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reviewllm.extraction.answers import Answer
from reviewllm.extraction.benchmarks import Product, read_benchmark
from reviewllm.extraction.rule import RuleExtractor
from reviewllm.extraction.schemas import ValueSchema, attributes_of, learn_schemas
from reviewllm.extraction.scores import score_answers


def shoe(title: str, **values: str) -> Product:
    return Product("p", "Shoes", title, None, {name: (value,) for name, value in values.items()})


TRAINED = [
    shoe("Diesel Men's Sneaker, Red, 10 M US", brand="Diesel", gender="Men's", color="Red", size="10 M US"),
    shoe("Ellie Women's Pump, Black, 7 M US", brand="Ellie", gender="Women's", color="Black", size="7 M US"),
    shoe("Crocs Women's Clog, Red, 8 M US", brand="Crocs", gender="Women's", color="Red", size="8 M US"),
    shoe("Diesel Men's Boot, Black, 11 M US", brand="Diesel", gender="Men's", color="Black", size="11 M US"),
]
ASKED = {name: ValueSchema() for name in ("brand", "gender", "color", "size")}


def test_rule_extractor_finds_known_values_shapes_and_an_unknown_brand_at_the_start() -> None:
    rule = RuleExtractor(TRAINED)
    found = rule.extract(shoe("Minnetonka Women's Moccasin, Black, 9 M US"), ASKED)
    assert found == {"brand": "Minnetonka", "gender": "Women's", "color": "Black", "size": "9 M US"}
    assert list(found) == list(ASKED)
    assert rule.extract(shoe("DIESEL sandal in red"), ASKED) == {"brand": "DIESEL", "color": "red"}
    assert rule.extract(shoe("Diesel Men's"), {"gender": ValueSchema()}) == {"gender": "Men's"}


def test_rule_extractor_measures_codes_and_words_give_normalised_values() -> None:
    def rack(code: str, wide: int, kind: str) -> Product:
        values = {"part": (code.replace("-", ""),), "width": (f"{wide * 2.54:.1f}",), "type": (f"{kind.title()} and more",)}
        return Product("p", "Racks", f"{code} steel {kind} {wide} in. wide, 5 in. deep", None, values)

    rule = RuleExtractor([rack(f"4359{n}-B{n}", n, "shelf" if n % 2 else "cart") for n in range(20, 68)])
    asked = {name: ValueSchema() for name in ("part", "width", "type")}
    new = Product("p", "Racks", "New shelf 31 in. wide, 5 in. deep 435977-B71", None, {})
    assert rule.extract(new, asked) == {"part": "435977B71", "width": "78.7", "type": "Shelf and more"}


def test_rule_extractor_knows_nothing_of_other_categories_and_survives_any_text() -> None:
    rule = RuleExtractor(TRAINED)
    assert rule.extract(Product("p", "Lamps", "Diesel", None, {}), ASKED) == {}
    for title in ("<script>alert(1)</script>", "9 " * 500_000, "\u202e\x00#", "a" * 1_000_000):
        assert set(rule.extract(Product("p", "Shoes", title, title, {}), ASKED)) <= set(ASKED)


@pytest.mark.parametrize(
    ("train", "test", "at_least"),
    [
        ("oa-mine/train.jsonl.gz", "oa-mine/test.jsonl.gz", 63),
        pytest.param("wdc-pave/train_large.jsonl.gz", "wdc-pave/test.jsonl.gz", 69, marks=pytest.mark.slow),
    ],
)
def test_rule_extractor_on_the_benchmarks(
    shared_data: Callable[[str], object], train: str, test: str, at_least: float
) -> None:
    (learnt, _), (asked, _) = (read_benchmark(shared_data(f"data/attributes/{file}")) for file in (train, test))
    schemas, rule = learn_schemas(learnt), RuleExtractor(learnt)
    answers = [Answer(rule.extract(one, attributes_of(schemas, one.category) or {})) for one in asked]
    f1 = next(one for one in score_answers(asked, answers, schemas).scores if one.measure == "f1")
    assert f1.value >= at_least
