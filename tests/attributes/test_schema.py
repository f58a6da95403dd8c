"""The schema admits what `read_attributes` admits, and nothing else."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from reviewllm.attributes.schema import ATTRIBUTES_SCHEMA, schema_for

GOOD: list[Any] = ["x", 1, 1.5, True, {"value": 1, "unit": "kg"}, {"minimum": 1, "maximum": 2, "unit": "cm"}, ["x", 1], []]
BAD: list[Any] = [None, [None], [["x"]], {}, {"value": 1}, {"value": 1, "unit": "flibs"}, {"value": "1", "unit": "kg"}]


@pytest.mark.parametrize("schema", [ATTRIBUTES_SCHEMA, schema_for(["weight"])])
def test_schema_of_values(schema: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    assert all(validator.is_valid({"weight": value}) for value in GOOD)
    assert not any(validator.is_valid({"weight": value}) for value in BAD)


@pytest.mark.parametrize("name", ["Item Weight", "", "_", "a__b", "Weight"])
def test_schema_of_names(name: str) -> None:
    assert not jsonschema.Draft202012Validator(ATTRIBUTES_SCHEMA).is_valid({name: "x"})


def test_schema_for_allows_no_other_name() -> None:
    validator = jsonschema.Draft202012Validator(schema_for(["weight"]))
    assert validator.is_valid({})
    assert not validator.is_valid({"color": "red"})
