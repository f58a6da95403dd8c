"""Five forms of the same attributes, each well-formed whatever the values hold."""

from __future__ import annotations

import json
import re
from typing import get_args
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewllm.attributes.serialise import Serialisation, serialise, value_text
from reviewllm.attributes.values import Value

PRODUCT: dict[str, Value] = {
    "color": ["red", "black"],
    "weight": {"value": 1.2, "unit": "kg"},
    "waterproof": True,
    "note": "<b>5 | 6</b> & a\ttab\nand_a *line*",
}
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def test_serialise_json_reads_back() -> None:
    assert json.loads(serialise(PRODUCT, "json")) == PRODUCT


def test_serialise_markdown() -> None:
    assert serialise(PRODUCT, "markdown").split("\n") == [
        "| attribute | value |",
        "|---|---|",
        "| color | red, black |",
        "| weight | 1.2 kg |",
        "| waterproof | yes |",
        r"| note | \<b\>5 \| 6\</b\> &amp; a tab and_a \*line\* |",
    ]


def test_serialise_tsv() -> None:
    assert serialise(PRODUCT, "tsv").split("\n") == [
        "color\tred, black",
        "weight\t1.2 kg",
        "waterproof\tyes",
        "note\t<b>5 | 6</b> & a\\ttab\\nand_a *line*",
    ]


def test_serialise_html() -> None:
    rows = "<tr><th>color</th><td>red, black</td></tr><tr><th>weight</th><td>1.2 kg</td></tr>"
    rows += "<tr><th>waterproof</th><td>yes</td></tr>"
    note = "&lt;b&gt;5 | 6&lt;/b&gt; &amp; a\ttab\nand_a *line*"
    assert serialise(PRODUCT, "html") == f"<table>{rows}<tr><th>note</th><td>{note}</td></tr></table>"


def test_serialise_text() -> None:
    assert serialise(PRODUCT, "text").split("\n") == [
        "color: red, black",
        "weight: 1.2 kg",
        "waterproof: yes",
        "note: <b>5 | 6</b> & a tab and_a *line*",
    ]


def test_serialise_of_nothing() -> None:
    assert {form: serialise({}, form) for form in get_args(Serialisation)} == {
        **dict.fromkeys(("markdown", "tsv", "html", "text"), ""),
        "json": "{}",
    }


@settings(deadline=None)
@given(st.dictionaries(texts, texts, min_size=1, max_size=3))
def test_serialise_keeps_its_form_whatever_the_text(product: dict[str, str]) -> None:
    root = ElementTree.fromstring(serialise(product, "html"))
    assert [row.tag for row in root] == ["tr"] * len(product)
    assert all(len(row) == 2 and not len(row[0]) and not len(row[1]) for row in root)
    rows = [line.split("\t") for line in re.split(r"\r|\n", serialise(product, "tsv"))]
    assert [[_unescaped(cell) for cell in row] for row in rows] == [[name, value] for name, value in product.items()]
    assert len(serialise(product, "text").split("\n")) == len(product)
    lines = serialise(product, "markdown").split("\n")[2:]
    assert [len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in lines] == [3] * len(product)


def _unescaped(cell: str) -> str:
    return re.sub(r"\\(.)", lambda match: {"t": "\t", "n": "\n", "r": "\r"}.get(match[1], match[1]), cell)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-7, "0.0000001"),
        (1500000.0, "1500000"),
        (False, "no"),
        ({"minimum": -20, "maximum": 5, "unit": "degC"}, "-20 to 5 °C"),
        ({"value": 16.9, "unit": "fl_oz"}, "16.9 fl oz"),
        ({"value": 100, "unit": "%"}, "100%"),
        ([{"value": 5, "unit": "in"}, "&amp;"], "5 in, &amp;"),
    ],
)
def test_value_text(value: Value, text: str) -> None:
    assert value_text(value) == text
