"""Which attributes a category has, and what the grammar made of them lets through."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import llguidance
import llguidance.hf
import pytest

from reviewllm.errors import ConfigError
from reviewllm.extraction.benchmarks import Product
from reviewllm.extraction.examples import answer_text
from reviewllm.extraction.schemas import (
    ValueSchema,
    answer_schema,
    attributes_of,
    learn_schemas,
    read_schemas,
    write_schemas,
)


def product(number: int, **values: tuple[str, ...]) -> Product:
    return Product(f"p{number}", "Shoes", "Sneaker", None, values)


def test_learn_schemas_names_the_commonest_first_and_bounds_their_length(tmp_path: Path) -> None:
    schemas = learn_schemas([product(1, size=("10",), brand=("D" * 30,)), product(2, brand=("Ellie",), color=())])
    assert list(schemas["Shoes"]) == ["brand", "size", "color"]
    assert [value.max_chars for value in schemas["Shoes"].values()] == [60, 40, 40]
    write_schemas(schemas, tmp_path / "schemas.json")
    assert read_schemas(tmp_path / "schemas.json") == schemas


def test_read_schemas_takes_names_or_values_and_a_schema_for_any_category(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"Shoes": ["brand"], "*": {"weight": {"type": "number"}, "color": {"many": true}}}')
    schemas = read_schemas(tmp_path / "s.json")
    assert attributes_of(schemas, "Shoes") == {"brand": ValueSchema()}
    assert list(attributes_of(schemas, "Lamps") or {}) == ["weight", "color"]
    assert attributes_of(schemas, None) == attributes_of(schemas, "Lamps")
    assert attributes_of({"Shoes": {}}, "Lamps") is None
    jsonschema.Draft202012Validator.check_schema(json.loads(answer_schema(schemas["*"])))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("[]", "expected an object of category to attributes"),
        ('{"Shoes": "brand"}', r"'Shoes': expected a list of attribute names"),
        ('{"Shoes": []}', r"'Shoes': expected a list of attribute names"),
        ('{"Shoes": ["Net Content"]}', r"'Net Content' is no attribute name; use lower-case .* 'net_content'"),
        ('{"Shoes": {"brand": {"type": "object"}}}', r"'Shoes', 'brand': --type: .* a value has type, choices, many"),
        ('{"Shoes": {"brand": {"$ref": "#"}}}', r"'brand': --\$ref: Extra inputs"),
        ('{"Shoes": {"size": {"type": "number", "choices": ["1"]}}}', "choices belong to a string"),
        (json.dumps({"Shoes": [f"a{number}" for number in range(10_000)]}), "has 10000 attributes, .* at most 200"),
    ],
)
def test_read_schemas_what_is_no_schema_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(ConfigError, match=rf"--schema-file .*s.json.*{message}"):
        read_schemas(tmp_path / "s.json")


def test_learn_schemas_a_category_of_too_many_attributes_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"category 'Shoes' .* has 201 attributes"):
        learn_schemas([product(1, **{f"a{number}": ("x",) for number in range(201)})])


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        (answer_text({"size": '5" x 7\\"', "brand": "Café ½"}, {"brand": ..., "size": ...}), True),  # type: ignore[dict-item]
        ("{}", True),
        ('{"wheels":4,"used":false,"colors":["red","blue"],"kind":"low"}', True),
        ('{"size":"5","brand":"x"}', False),  # another order
        ('{"brand": "x"}', False),  # white space
        ('{"brand":""}', False),
        ('{"brand":null}', False),
        (f'{{"brand":"{"x" * 41}"}}', False),
        ('{"kind":"middling"}', False),
        ('{"price":1}', False),
        ("Diesel", False),
    ],
)
def test_answer_schema_lets_answers_through_and_nothing_else(tokenizer: Any, text: str, fits: bool) -> None:
    attributes = {
        "brand": ValueSchema(max_chars=40),
        "size": ValueSchema(),
        "wheels": ValueSchema(type="number"),
        "used": ValueSchema(type="boolean"),
        "colors": ValueSchema(many=True),
        "kind": ValueSchema(choices=["low", "high"]),
    }
    grammar = llguidance.LLMatcher.grammar_from_json_schema(
        answer_schema(attributes), defaults={"whitespace_flexible": False}
    )
    matcher = llguidance.LLMatcher(llguidance.hf.from_tokenizer(tokenizer), grammar)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    whole = matcher.validate_tokens(ids) == len(ids)
    assert (whole and matcher.consume_tokens(ids) and matcher.is_accepting()) == fits
