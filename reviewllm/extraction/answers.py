"""A model's text -> the values in it, or why it cannot be read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from reviewllm.extraction.benchmarks import NOT_THERE
from reviewllm.extraction.schemas import Attributes, ValueSchema
from reviewllm.prompts.text import fold, neutralise

Scalar = str | float | bool
Found = Scalar | list[Scalar]

_MAX_CHARS = 200_000  # of an answer: a model that writes more has lost its way


class Answer(NamedTuple):
    """What a model found: values by attribute, or the `problem` for which nothing of the text is used.

    `dropped` counts members that the schema does not know, or that are not of its type.
    """

    values: Mapping[str, Found]
    problem: str | None = None
    dropped: int = 0


def read_answer(text: str | None, attributes: Attributes) -> Answer:
    """Read the JSON object that a model wrote; whatever it is, nothing is raised.

    >>> read_answer('{"brand":"Diesel","color":null}', {"brand": ValueSchema(), "color": ValueSchema()}).values
    {'brand': 'Diesel'}
    >>> read_answer('{"brand":"Die', {"brand": ValueSchema()}).problem
    'is not JSON: Unterminated string starting at: line 1 column 10 (char 9)'
    """
    if text is None:
        return Answer({}, "there is no answer")
    if len(text) > _MAX_CHARS:
        return Answer({}, f"is longer than {_MAX_CHARS} characters")
    try:
        loaded = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        return Answer({}, f"is not JSON: {error}" if isinstance(error, ValueError) else "nests too deeply")
    if not isinstance(loaded, dict):
        return Answer({}, f"is a {type(loaded).__name__}, not an object")
    values = {}
    dropped = 0
    for name, value in loaded.items():
        if value is None or value in (NOT_THERE, "", []):
            continue
        found = _found(value, attributes[name]) if name in attributes else None
        if found is None:
            dropped += 1
        else:
            values[name] = found
    return Answer(values, None, dropped)


def _found(value: object, schema: ValueSchema) -> Found | None:
    if isinstance(value, list) and schema.many:
        several = [one for part in value if (one := _scalar(part, schema)) is not None]
        return several or None
    return _scalar(value, schema)


def _scalar(value: object, schema: ValueSchema) -> Scalar | None:
    if schema.type == "boolean":
        return value if isinstance(value, bool) else None
    if schema.type == "number":
        return (
            float(value) if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300 else None
        )
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)  # "size": 10 says the same
    text = shown(value) if isinstance(value, str) else ""
    if schema.choices:
        text = next((choice for choice in map(shown, schema.choices) if comparable(choice) == comparable(text)), "")
    return text if text and len(text) <= schema.max_chars else None


def shown(text: str) -> str:
    """A value as it is kept: one line, as prompts show text.

    >>> shown("Old  Spice™")
    'Old Spice™'
    """
    return neutralise(text, max_chars=_MAX_CHARS)


def comparable(text: str) -> str:
    """A value as it is compared: one line, in Unicode's compatibility form; case stays.

    >>> comparable("Old  Spice™")
    'Old SpiceTM'
    """
    return fold(shown(text))
