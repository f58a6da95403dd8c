"""Mistakes that are put into real reviews, and whether the figures notice."""

from __future__ import annotations

import gzip
import html
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import example
from evaluated import examples_frame

from reviewllm.evaluation.corruption import detect, invented, negated, swapped
from reviewllm.scoring.hallucination import hallucination
from reviewllm.scoring.scorer import Product, claims_of

KETTLE = Product("Alder red kettle, 2 lbs, dishwasher safe", None, [])


def test_mistakes_are_made_where_they_can_be() -> None:
    draw = np.random.default_rng(0)
    assert negated("A red one.", KETTLE) == "A not red one."
    assert negated("A fine one.", KETTLE) is None
    assert swapped("A fine one.", KETTLE, draw) is None
    for mistaken in (swapped("The 2 lbs are fine.", KETTLE, draw), swapped("A red one.", KETTLE, draw)):
        assert mistaken is not None
        assert [claim.verdict for claim in claims_of(mistaken, KETTLE)] == ["contradicted"]
    assert hallucination(claims_of(invented("A red one.", KETTLE, draw), KETTLE)) == 100 * 2 / 3


def test_detect_by_construction() -> None:
    rows = [
        example(
            example_id=str(number),
            title=f"Alder {colour} kettle number {number}",
            attributes=json.dumps({"color": colour}),
            reference=f"I love the {colour} colour of it, it pours very well.",
        )
        for number, colour in enumerate(["red", "blue", "green", "black"] * 6)
    ]
    likely = {row["reference"] for row in rows}
    found = detect(examples_frame(*rows), log_likelihood=lambda texts: [-1.0 if text in likely else -2.0 for text in texts])
    aucs = {(one.mistake, one.figure): one.auc for one in found}
    for mistake in ("swapped value", "negated", "invented", "another product"):
        assert aucs[mistake, "hallucination"] == 1.0
    assert aucs["another product", "attribute_share"] == aucs["shuffled words", "log_likelihood"] == 1.0
    assert aucs["loop", "repetition"] == 1.0
    assert (aucs["another product", "relevance"] or 0) > 0.6
    assert all(one.auc is None for one in detect(examples_frame(*rows[:8])))  # of 8 reviews


@pytest.mark.slow  # it embeds a thousand texts
def test_detect_on_real_reviews(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("data/amazon_2023")
    titles = {row["parent_asin"]: row["title"] for row in _lines(folder, "meta_*.gz")}
    rows = [
        example(
            example_id=str(number), title=html.unescape(titles[row["parent_asin"]]), reference=html.unescape(row["text"])
        )
        for number, row in enumerate(_lines(folder, "[A-Z]*.gz"))
        if titles.get(row["parent_asin"]) and row["text"]
    ]
    # A swap can be made in one review of thirty: all of these, whatever else they claim.
    draw = np.random.default_rng(0)
    products = [(row, Product(row["title"], None, [])) for row in rows]
    wanted = [
        row for row, product in products if negated(row["reference"], product) or swapped(row["reference"], product, draw)
    ]
    found = {(one.mistake, one.figure): one for one in detect(examples_frame(*wanted))}
    assert found["swapped value", "hallucination"].reviews > 50
    for mistake in ("swapped value", "negated"):
        assert (found[mistake, "hallucination"].auc or 0) > 0.9


def _lines(folder: Path, pattern: str) -> Iterator[dict[str, str]]:
    for file in sorted(folder.glob(pattern)):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            yield from map(json.loads, lines)
