"""Answers against the values that people found: precision, recall and F1 of (attribute, value) pairs, and exact match.

Every attribute that people looked for in a product is one decision, of one of five classes (Xu et al. 2019 count pairs so;
the names are those of the evaluation published with ExtractGPT and WDC PAVE, Brinkmann et al. 2023, Baumann et al. 2024):

    NN  there is no value, and none was given          VN  there is one, and none was given
    NV  there is none, and one was given               VC  one was given that people accept
                                                       VW  another was given
    precision = VC / (NV + VC + VW)     recall = VC / (VN + VC + VW)     F1 = 2 precision recall / (precision + recall)

A value is accepted where it equals one of theirs, letter by letter (`answers.comparable`). An attribute of the category that
people did not list for a product, as OA-Mine leaves absent ones out, is not there. An answer that cannot be read gives nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import polars as pl

from reviewllm.evaluation.bootstrap import bootstrap
from reviewllm.extraction.answers import Answer, Found, comparable
from reviewllm.extraction.benchmarks import Product
from reviewllm.extraction.schemas import Schemas, attributes_of

CLASSES = ("NN", "NV", "VN", "VC", "VW")
MEASURES = ("precision", "recall", "f1", "exact_match", "readable")


class Score(NamedTuple):
    """One figure, in percent, with its 95 % bootstrap interval by products and the products or pairs that count."""

    slice: str
    group: str
    measure: str
    value: float
    ci_low: float
    ci_high: float
    n: int


class Scores(NamedTuple):
    """All figures of one model; `classes` count the decisions by slice and group."""

    scores: Sequence[Score]
    classes: Mapping[tuple[str, str], Mapping[str, int]]


def decision(accepted: Sequence[str], given: Found | None) -> str:
    """The class of one decision.

    >>> decision(["Men's"], "Men's"), decision([], "Red"), decision(["Red"], None), decision([], None), decision(["Red"], "red")
    ('VC', 'NV', 'VN', 'NN', 'VW')
    """
    if given is None:
        return "VN" if accepted else "NN"
    if not accepted:
        return "NV"
    values = given if isinstance(given, list) else [given]
    wanted = {comparable(value) for value in accepted}
    return "VC" if all(_text(value) in wanted for value in values) else "VW"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else comparable(str(value))


def score_answers(products: Sequence[Product], answers: Sequence[Answer], schemas: Schemas, *, seed: int = 0) -> Scores:
    """Score one model's answers to the products, in their order: over all, by category, and by attribute of a category.

    F1 is the mean, over all given and all wanted pairs together, of whether a pair is right: 2 VC / (NV + VN + 2 VC + 2 VW).
    So products can be drawn for its interval as users are elsewhere (`evaluation.bootstrap`).
    """
    rows = pl.DataFrame(list(_rows(products, answers, schemas)), schema=_ROW, orient="row")
    groups: list[tuple[str, str, pl.DataFrame]] = [("all", "all", rows)]
    groups += [
        ("category", str(name), part) for (name,), part in sorted(rows.partition_by("category", as_dict=True).items())
    ]
    named = rows.filter(pl.col("attribute").is_not_null())
    groups += [
        ("attribute", f"{category}: {attribute}", part)
        for (category, attribute), part in sorted(named.partition_by("category", "attribute", as_dict=True).items())
    ]
    scores = [score for kind, group, part in groups for score in _scores(kind, group, part, seed)]
    return Scores(scores, {(kind, group): _classes(part) for kind, group, part in groups})


_ROW = {
    "user_id": pl.String,  # what is drawn: the product
    "category": pl.String,
    "attribute": pl.String,
    "class": pl.String,  # of a decision; it stands once, at the first of its rows
    "precision": pl.Float64,
    "recall": pl.Float64,
    "f1": pl.Float64,
    "exact_match": pl.Float64,
    "readable": pl.Float64,
}


def _rows(products: Sequence[Product], answers: Sequence[Answer], schemas: Schemas) -> Iterable[tuple[object, ...]]:
    """A row for each pair given, each pair wanted, each decision without a pair, and each product."""
    for number, (product, answer) in enumerate(zip(products, answers, strict=True)):
        attributes = attributes_of(schemas, product.category) or {}
        is_exact = True
        for name in dict.fromkeys([*attributes, *product.values]):
            kind = decision(product.values.get(name, ()), answer.values.get(name))
            is_exact &= kind in ("NN", "VC")
            right = float(kind == "VC")
            row = (str(number), product.category, name)
            if kind == "NN":
                yield (*row, kind, None, None, None, None, None)
            if kind in ("NV", "VC", "VW"):
                yield (*row, kind, right, None, right, None, None)
            if kind in ("VN", "VC", "VW"):
                yield (*row, kind if kind == "VN" else None, None, right, right, None, None)
        yield (str(number), product.category, None, None, None, None, None, float(is_exact), float(answer.problem is None))


def _scores(kind: str, group: str, rows: pl.DataFrame, seed: int) -> list[Score]:
    measures = MEASURES[:3] if kind == "attribute" else MEASURES
    estimate = bootstrap(rows, measures, seed=seed)
    found = zip(measures, estimate.value, estimate.ci_low, estimate.ci_high, estimate.n, strict=True)
    # A model that gives no value has no precision; 0 is what its F1 says, and what the published evaluation takes.
    return [
        Score(kind, group, measure, _percent(value, n), _percent(low, n), _percent(high, n), int(n))
        for measure, value, low, high, n in found
        if n or measure == "precision"
    ]


def _percent(share: float, n: int) -> float:
    return 100 * float(share) if n else 0.0


def _classes(rows: pl.DataFrame) -> dict[str, int]:
    counts = Counter(rows["class"].drop_nulls().to_list())
    return {name: counts[name] for name in CLASSES}
