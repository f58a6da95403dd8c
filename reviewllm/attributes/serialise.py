"""Attributes as the text of a prompt, in one of five forms, each well-formed whatever the values hold."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

from reviewllm.attributes.values import Value, quantity_of

Serialisation = Literal["json", "markdown", "tsv", "html", "text"]

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_MARKDOWN = re.compile(r"([\\`*\[\]<>|~#])|(?<!\w)_|_(?!\w)")  # '_' within a word is no emphasis
_TSV = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_UNIT_TEXT = {"degC": "°C", "degF": "°F", "deg": "°", "fl_oz": "fl oz", "ft_lb": "ft lb", "in^2": "sq in", "ft^2": "sq ft"}
_UNIT_TEXT |= {"cm^2": "sq cm", "m^2": "sq m", "in^3": "cu in", "ft^3": "cu ft", "cm^3": "cu cm", "m^3": "cu m"}


def serialise(product: Mapping[str, Value], form: Serialisation) -> str:
    """Write attributes, in their own order; '' where there are none, save for '{}' in JSON.

    json      one object, names and values as they stand
    markdown  a table; signs of Markdown are escaped
    tsv       a line of names and values each, parted by a tab, with \\t, \\n, \\r and \\\\ for those within
    html      a table
    text      a line each, 'weight: 1.2 kg'

    >>> serialise({"color": ["red", "black"], "weight": {"value": 1.2, "unit": "kg"}}, "text")
    'color: red, black\\nweight: 1.2 kg'
    """
    if form == "json":
        return json.dumps(product, ensure_ascii=False)
    rows = [(name, value_text(value)) for name, value in product.items()]
    if not rows:
        return ""
    if form == "markdown":
        lines = [f"| {_markdown(name)} | {_markdown(text)} |" for name, text in rows]
        return "\n".join(["| attribute | value |", "|---|---|", *lines])
    if form == "tsv":
        return "\n".join(f"{_tsv(name)}\t{_tsv(text)}" for name, text in rows)
    if form == "html":
        inner = "".join(f"<tr><th>{_html(name)}</th><td>{_html(text)}</td></tr>" for name, text in rows)
        return f"<table>{inner}</table>"
    return "\n".join(f"{_one_line(name)}: {_one_line(text)}" for name, text in rows)


def value_text(value: Value) -> str:
    """A value as people write it.

    >>> value_text({"minimum": 2, "maximum": 3, "unit": "cm"}), value_text(True), value_text(["a", 1.5])
    ('2-3 cm', 'yes', 'a, 1.5')
    """
    if isinstance(value, list):
        return ", ".join(map(value_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if quantity := quantity_of(value):
        low, high = _number_text(quantity.low), _number_text(quantity.high)
        amount = low if low == high else f"{low} to {high}" if "-" in low + high else f"{low}-{high}"
        return f"{amount} {_UNIT_TEXT.get(quantity.unit, quantity.unit)}".replace(" %", "%")
    assert not isinstance(value, dict)
    return _number_text(value)


def _number_text(number: float) -> str:
    if isinstance(number, int):
        return str(number)
    return str(int(number)) if number.is_integer() else format(Decimal(repr(number)), "f")


def _markdown(text: str) -> str:
    return _MARKDOWN.sub(r"\\\g<0>", html.escape(_one_line(text), quote=False).replace("&lt;", "<").replace("&gt;", ">"))


def _tsv(text: str) -> str:
    return "".join(_TSV.get(sign, sign) for sign in text)


def _html(text: str) -> str:
    return html.escape(_CONTROL.sub(" ", text), quote=False)


def _one_line(text: str) -> str:
    return " ".join(text.split())
