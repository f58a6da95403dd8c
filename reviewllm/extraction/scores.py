"""Answers against the values that people found: precision, recall and F1 of (attribute, value) pairs, and exact match.

Every attribute that people listed for a product is one decision, of one of five classes (Xu et al. 2019 count pairs so; names
and count are those of the evaluation published with ExtractGPT and WDC PAVE, Brinkmann et al. 2023, Baumann et al. 2024):

    NN  there is no value, and none was given          VN  there is one, and none was given
    NV  there is none, and one was given               VC  one was given that people accept
                                                       VW  another was given
    precision = VC / (NV + VC + VW)     recall = VC / (VN + VC + VW)     F1 = 2 precision recall / (precision + recall)

A value is accepted where it equals one of theirs, letter by letter (`answers.comparable`). An answer that cannot be read gives
nothing. An attribute of the category that is not listed for a product (OA-Mine and AE-110k leave out what is not there, WDC PAVE
lists it as "n/a") is not judged by them, whatever is given for it. That lets an invented value pass, so there are figures of our
own beside theirs, which count it as wrong:

    UN  it is not listed, and none was given           UV  it is not listed, and one was given
    strict_precision = VC / (NV + VC + VW + UV)        strict_f1 from that and recall
    exact_match = share of products with nothing but NN, VC and UN
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

CLASSES = ("NN", "NV", "VN", "VC", "VW", "UN", "UV")
OF_PAIRS = ("precision", "recall", "f1", "strict_precision", "strict_f1")
MEASURES = (*OF_PAIRS, "exact_match", "readable")


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


def decision(accepted: Sequence[str] | None, given: Found | None) -> str:
    """The class of one decision; `accepted` is None for an attribute that is not listed.

    >>> decision(["Men's"], "Men's"), decision([], "Red"), decision(["Red"], None), decision([], None), decision(["Red"], "red")
    ('VC', 'NV', 'VN', 'NN', 'VW')
    """
    if accepted is None:
        return "UN" if given is None else "UV"
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

    F1 is the mean, over all given and all wanted pairs together, of whether a pair is right: 2 VC / (NV + VN + 2 VC + 2 VW),
    and strictly 2 VC / (NV + UV + VN + 2 VC + 2 VW). So products can be drawn for its interval as users are elsewhere
    (`evaluation.bootstrap`).
    """
    rows = pl.DataFrame(list(_rows(products, answers, schemas)), schema=_SCHEMA, orient="row")
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


_SCHEMA = {
    "user_id": pl.String,  # what is drawn: the product
    "category": pl.String,
    "attribute": pl.String,
    "class": pl.String,  # of a decision; it stands once, at the first of its rows
    **dict.fromkeys(MEASURES, pl.Float64),
}


def _rows(products: Sequence[Product], answers: Sequence[Answer], schemas: Schemas) -> Iterable[tuple[object, ...]]:
    """A row for each pair given, each pair wanted, each decision without a pair, and each product."""
    for number, (product, answer) in enumerate(zip(products, answers, strict=True)):
        attributes = attributes_of(schemas, product.category) or {}
        is_exact = True
        for name in dict.fromkeys([*attributes, *product.values]):
            kind = decision(product.values.get(name), answer.values.get(name))
            is_exact &= kind in ("NN", "VC", "UN")
            right = float(kind == "VC")
            row = (str(number), product.category, name)
            if kind in ("NN", "UN"):
                yield _row(*row, kind)
            if kind in ("NV", "VC", "VW"):
                yield _row(*row, kind, precision=right, f1=right, strict_precision=right, strict_f1=right)
            if kind == "UV":
                yield _row(*row, kind, strict_precision=right, strict_f1=right)
            if kind in ("VN", "VC", "VW"):
                yield _row(*row, kind if kind == "VN" else None, recall=right, f1=right, strict_f1=right)
        told = {"exact_match": float(is_exact), "readable": float(answer.problem is None)}
        yield _row(str(number), product.category, None, None, **told)


def _row(product: str, category: str, attribute: str | None, kind: str | None, **figures: float) -> tuple[object, ...]:
    return (product, category, attribute, kind, *(figures.get(name) for name in MEASURES))


def _scores(kind: str, group: str, rows: pl.DataFrame, seed: int) -> list[Score]:
    measures = OF_PAIRS if kind == "attribute" else MEASURES
    estimate = bootstrap(rows, measures, seed=seed)
    found = zip(measures, estimate.value, estimate.ci_low, estimate.ci_high, estimate.n, strict=True)
    # A model that gives no value has no precision; 0 is what its F1 says, and what the published evaluation takes.
    return [
        Score(kind, group, measure, _percent(value, n), _percent(low, n), _percent(high, n), int(n))
        for measure, value, low, high, n in found
        if n or measure in ("precision", "strict_precision")
    ]


def _percent(share: float, n: int) -> float:
    return 100 * float(share) if n else 0.0


def _classes(rows: pl.DataFrame) -> dict[str, int]:
    counts = Counter(rows["class"].drop_nulls().to_list())
    return {name: counts[name] for name in CLASSES}
