"""Which attributes a category has, and the JSON Schema that an answer about one of its products must fit."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from reviewllm.config import StageConfig, describe
from reviewllm.errors import ConfigError
from reviewllm.extraction.benchmarks import Product, attribute_name

ANY_CATEGORY = "*"
MAX_ATTRIBUTES = 200  # of one category: a prompt names them all, and a grammar grows with them
MAX_CHOICES = 500


class ValueSchema(StageConfig):
    """What one attribute may be: text, a number, yes or no, one of some words (`choices`), or (`many`) a list of these."""

    type: Literal["string", "number", "boolean"] = "string"
    choices: list[str] = Field([], max_length=MAX_CHOICES)
    many: bool = False
    max_chars: int = Field(120, ge=1, le=2000)

    @model_validator(mode="after")
    def _check(self) -> ValueSchema:
        if self.choices and self.type != "string":
            raise ValueError("choices belong to a string")
        return self

    def json_schema(self) -> dict[str, Any]:
        """As JSON Schema."""
        one: dict[str, Any] = {"type": self.type}
        if self.choices:
            one = {"enum": self.choices}
        elif self.type == "string":
            one |= {"minLength": 1, "maxLength": self.max_chars}
        return {"type": "array", "items": one, "minItems": 1, "maxItems": 16} if self.many else one


Attributes = Mapping[str, ValueSchema]  # in the order in which an answer names them
Schemas = Mapping[str, Attributes]  # by category; ANY_CATEGORY is for those that have none of their own


def attributes_of(schemas: Schemas, category: str | None) -> Attributes | None:
    """The attributes of a category; None where it has none."""
    return schemas.get(category or ANY_CATEGORY, schemas.get(ANY_CATEGORY))


def answer_schema(attributes: Attributes) -> str:
    """The JSON Schema (draft 2020-12) of an answer: one flat object, each attribute at most once and in this order."""
    properties = {name: value.json_schema() for name, value in attributes.items()}
    return json.dumps({"type": "object", "properties": properties, "additionalProperties": False})


def learn_schemas(products: Iterable[Product]) -> dict[str, dict[str, ValueSchema]]:
    """Every attribute that people looked for in a category, the ones found most often first.

    Raises:
        ConfigError: a category has more than `MAX_ATTRIBUTES`.
    """
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    longest: Counter[str] = Counter()
    for product in products:
        for name, values in product.values.items():
            found[product.category][name] += bool(values)
            longest[name] = max(longest[name], *map(len, values), 0)
    for category, names in found.items():
        _check_number(len(names), f"category {category!r} of the training products")
    return {
        category: {
            name: ValueSchema(max_chars=max(40, min(2 * longest[name], 2000)))
            for name, _ in sorted(names.items(), key=lambda pair: (-pair[1], pair[0]))
        }
        for category, names in sorted(found.items())
    }


def read_schemas(file: Path) -> dict[str, dict[str, ValueSchema]]:
    """Read what `write_schemas` writes, or a person: category -> attribute names, or name -> `ValueSchema`.

    The category "*" stands for every one that is not named.

    Raises:
        ConfigError: it is no such file; the message names category and attribute.
    """
    try:
        loaded = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"--schema-file {file}: cannot be read as JSON ({error}); `jobs/attributes.py prepare` writes schemas.json, or name a "
            "file of your own"
        ) from error
    if not isinstance(loaded, dict) or not loaded:
        raise ConfigError(
            f"--schema-file {file}: expected an object of category to attributes, as "
            '{"Shoes": ["brand", "size"], "*": {"weight": {"type": "number"}}}'
        )
    return {category: _attributes(given, f"--schema-file {file}: {category!r}") for category, given in loaded.items()}


def write_schemas(schemas: Schemas, file: Path) -> None:
    """Write the attributes of every category as JSON that `--schema-file` reads."""
    plain = {
        category: {name: value.model_dump(exclude_defaults=True) for name, value in attributes.items()}
        for category, attributes in schemas.items()
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(plain, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _attributes(given: object, where: str) -> dict[str, ValueSchema]:
    if isinstance(given, list):
        given = {name if isinstance(name, str) else repr(name): {} for name in given}
    if not isinstance(given, dict) or not given:
        raise ConfigError(f"{where}: expected a list of attribute names, or an object of name to what it may be")
    _check_number(len(given), where)
    wrong = [name for name in given if attribute_name(name) != name or not name]
    if wrong:
        raise ConfigError(
            f"{where}: {wrong[0][:80]!r} is no attribute name; use lower-case letters, digits and _, as "
            f"{attribute_name(wrong[0])[:80] or 'net_content'!r}"
        )
    return {name: _value(value, f"{where}, {name!r}") for name, value in given.items()}


def _value(given: object, where: str) -> ValueSchema:
    try:
        return ValueSchema.model_validate(given)
    except ValidationError as error:
        raise ConfigError(f"{where}: {describe(error)}; a value has type, choices, many and max_chars") from error


def _check_number(number: int, where: str) -> None:
    if number > MAX_ATTRIBUTES:
        raise ConfigError(
            f"{where}: has {number} attributes, and a prompt names at most {MAX_ATTRIBUTES}; keep those that matter, or split "
            "the category"
        )
