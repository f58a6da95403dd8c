"""JSON Schema (draft 2020-12) of attributes, for whoever writes them and for engines with structured outputs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from reviewllm.attributes.unit_table import UNITS
from reviewllm.attributes.values import MAX_NAMES

_NUMBER: dict[str, Any] = {"type": "number"}
_UNIT: dict[str, Any] = {"enum": list(UNITS)}
_SIMPLE: dict[str, Any] = {
    "anyOf": [
        {"type": "string"},
        {"type": "number"},
        {"type": "boolean"},
        {
            "type": "object",
            "properties": {"value": _NUMBER, "unit": _UNIT},
            "required": ["value", "unit"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {"minimum": _NUMBER, "maximum": _NUMBER, "unit": _UNIT},
            "required": ["minimum", "maximum", "unit"],
            "additionalProperties": False,
        },
    ]
}
_DEFINITIONS = {
    "simple": _SIMPLE,
    "value": {"anyOf": [*_SIMPLE["anyOf"], {"type": "array", "items": {"$ref": "#/$defs/simple"}}]},
}
_VALUE = {"$ref": "#/$defs/value"}
_DIALECT = "https://json-schema.org/draft/2020-12/schema"

ATTRIBUTES_SCHEMA: dict[str, Any] = {
    "$schema": _DIALECT,
    "title": "product attributes",
    "type": "object",
    # lower-case words of any script, joined by '_'
    "propertyNames": {"pattern": r"^[^\sA-Z_]+(_[^\sA-Z_]+)*$"},
    "additionalProperties": _VALUE,
    "maxProperties": MAX_NAMES,
    "$defs": _DEFINITIONS,
}


def schema_for(names: Iterable[str]) -> dict[str, Any]:
    """The schema of attributes with none but these names, each of which may be left out."""
    return {
        "$schema": _DIALECT,
        "type": "object",
        "properties": dict.fromkeys(names, _VALUE),
        "additionalProperties": False,
        "$defs": _DEFINITIONS,
    }
