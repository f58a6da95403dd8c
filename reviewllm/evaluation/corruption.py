"""What the figures of products are worth: real reviews against the same reviews with a known mistake put in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FiniteFloat

from reviewllm.evaluation.auc import auc
from reviewllm.evaluation.complete import product_of, relevance
from reviewllm.scoring.claims import Claim
from reviewllm.scoring.facts import product_facts
from reviewllm.scoring.hallucination import attribute_share, hallucination
from reviewllm.scoring.language import reads_english
from reviewllm.scoring.repetition import repetition
from reviewllm.scoring.scorer import Product, claims_of
from reviewllm.scoring.vocabulary import TERMS, Kind

MOST_REVIEWS = 2_000  # an AUC of so many moves by about 0.01 between samples
_MOST_EMBEDDED = 500
_FEWEST = 20  # reviews below which an AUC tells nothing
_SWAPPED: tuple[Kind, ...] = ("quantity", "count", "colour", "material", "flavour", "brand")
_NEGATED: tuple[Kind, ...] = ("feature", "colour", "material")

Floats = NDArray[np.float64]
Likelihood = Callable[[Sequence[str]], list[float | None]]


class Detection(BaseModel):
    """How well a figure tells reviews from the same ones with a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mistake: str
    figure: str
    reviews: int
    """Reviews in which the mistake could be made."""
    auc: FiniteFloat | None
    """Chance that the figure is worse for one with the mistake than for one without; null with fewer than 20 reviews."""


def detect(
    examples: pl.DataFrame, *, log_likelihood: Likelihood | None = None, embedding: Path | None = None, seed: int = 0
) -> list[Detection]:
    """Put mistakes into real reviews and see which figures notice.

    swapped value      a supported value is replaced by another of its kind: hallucination
    negated            "not" before a supported colour, material or feature: hallucination
    invented           a sentence with a feature and a weight that the product's data do not have: hallucination
    another product    the review stands under another product: hallucination, relevance, attribute_share
    shuffled words     repetition, and log_likelihood where a model is at hand
    loop               the last words again and again: repetition

    A review without a claim counts as 0 in hallucination. A figure is asked about the reviews that it can read.

    Args:
        examples: EXAMPLES with references.
        log_likelihood: of a reference model; None leaves it out.
        embedding: folder of the model of sentence embeddings; None for that of `scoring.sbert`.
        seed: of the sample and the mistakes.
    """
    draw = np.random.default_rng(seed)
    known = examples.filter(pl.col("reference").is_not_null())
    known = known[np.sort(draw.permutation(len(known))[:MOST_REVIEWS])]
    pairs = [(row["reference"], product_of(row)) for row in known.iter_rows(named=True)]
    english = [pair for pair in pairs if reads_english(pair[0])]
    found = [
        _hallucination("swapped value", english, [swapped(*pair, draw) for pair in english]),
        _hallucination("negated", english, [negated(*pair) for pair in english]),
        _hallucination("invented", english, [invented(*pair, draw) for pair in english]),
    ]
    found += _another_product(pairs, embedding)
    found += _disordered(pairs, log_likelihood, draw)
    return found


def swapped(text: str, product: Product, draw: np.random.Generator) -> str | None:
    """A review with one supported value replaced by another of its kind that the product has not; None without one."""
    claims = _supported(text, product, _SWAPPED)
    if not claims:
        return None
    claim = claims[draw.integers(len(claims))]
    other = _other_value(claim, product, draw)
    return None if other is None else text[: claim.start] + other + text[claim.end :]


def negated(text: str, product: Product) -> str | None:
    """A review with "not" before its first supported colour, material or feature; None without one."""
    claims = _supported(text, product, _NEGATED)
    return f"{text[: claims[0].start]}not {text[claims[0].start :]}" if claims else None


def invented(text: str, product: Product, draw: np.random.Generator) -> str:
    """A review with a sentence more, of a feature and a weight that the product's data do not have."""
    feature = _value_of("feature", product, draw)
    return f"{text} It is {feature} and weighs {draw.integers(300, 900)} tons."


def _supported(text: str, product: Product, kinds: Sequence[Kind]) -> list[Claim]:
    return [claim for claim in claims_of(text, product) or [] if claim.verdict == "supported" and claim.kind in kinds]


def _other_value(claim: Claim, product: Product, draw: np.random.Generator) -> str | None:
    if claim.kind in ("quantity", "count"):
        digits = "".join(letter for letter in claim.text if letter.isdigit())
        if not digits:
            return None
        first = claim.text.index(digits[0])
        return f"{claim.text[:first]}{draw.integers(3, 8)}{claim.text[first:]}"  # a figure more is ten times as much
    return _value_of(claim.kind, product, draw)


def _value_of(kind: Kind, product: Product, draw: np.random.Generator) -> str:
    """A value of a kind that the product's data do not have."""
    facts = product_facts(product.title, product.attributes)
    stated = facts.stated.get(kind, frozenset())
    values = sorted(
        {
            term.value
            for terms in TERMS.values()
            for term in terms
            if term.kind == kind and not (term.unsure and kind != "flavour")
        }
    )
    free = [value for value in values if value not in stated and facts.words.isdisjoint(value.split())]
    return str(free[draw.integers(len(free))])


def _hallucination(mistake: str, pairs: Sequence[tuple[str, Product]], wrong: Sequence[str | None]) -> Detection:
    both = [(pair, text) for pair, text in zip(pairs, wrong, strict=True) if text is not None]
    before = [_share(*pair) for pair, _ in both]
    after = [_share(text, product) for (_, product), text in both]
    return _detection(mistake, "hallucination", before, after, worse="higher")


def _share(text: str, product: Product) -> float:
    return hallucination(claims_of(text, product) or []) or 0.0


def _another_product(pairs: Sequence[tuple[str, Product]], embedding: Path | None) -> list[Detection]:
    """Each review under the product of the next one, where that is another."""
    others = [*pairs[1:], *pairs[:1]]
    apart = [(text, own, other) for (text, own), (_, other) in zip(pairs, others, strict=True) if own.title != other.title]
    shares = [
        (mine, yours)
        for text, own, other in apart
        if (mine := attribute_share(text, own.attributes)) is not None
        and (yours := attribute_share(text, other.attributes)) is not None
    ]
    some = apart[:_MOST_EMBEDDED]
    texts = [text for text, _, _ in some]
    near = relevance(texts, [own for _, own, _ in some], embedding)
    far = relevance(texts, [other for _, _, other in some], embedding)
    told = [(one, other) for one, other in zip(near, far, strict=True) if one is not None and other is not None]
    english = [one for one in apart if reads_english(one[0])]
    name = "another product"
    return [
        _detection(
            name,
            "hallucination",
            [_share(text, own) for text, own, _ in english],
            [_share(text, other) for text, _, other in english],
            worse="higher",
        ),
        _detection(name, "relevance", [one for one, _ in told], [other for _, other in told], worse="lower"),
        _detection(name, "attribute_share", [one for one, _ in shares], [one for _, one in shares], worse="lower"),
    ]


def _disordered(
    pairs: Sequence[tuple[str, Product]], log_likelihood: Likelihood | None, draw: np.random.Generator
) -> list[Detection]:
    texts = [text for text, _ in pairs if len(text.split()) >= 4]  # fewer words can hardly be shuffled
    mixed = [" ".join(draw.permutation(text.split())) for text in texts]
    looped = [" ".join([text, *text.split()[-4:] * 4]) for text in texts]
    found = []
    for mistake, wrong in (("shuffled words", mixed), ("loop", looped)):
        before, after = ([repetition(text) or 0.0 for text in some] for some in (texts, wrong))
        found.append(_detection(mistake, "repetition", before, after, worse="higher"))
    if log_likelihood:
        some = texts[:_MOST_EMBEDDED]
        told = log_likelihood([*some, *mixed[: len(some)]])
        likely = [(one, other) for one, other in zip(told[: len(some)], told[len(some) :], strict=True)]
        both = [(one, other) for one, other in likely if one is not None and other is not None]
        before, after = [one for one, _ in both], [other for _, other in both]
        found.append(_detection("shuffled words", "log_likelihood", before, after, worse="lower"))
    return found


def _detection(mistake: str, figure: str, before: Sequence[float], after: Sequence[float], *, worse: str) -> Detection:
    right, wrong = np.array(before, dtype=np.float64), np.array(after, dtype=np.float64)
    value = None
    if len(right) >= _FEWEST:
        value = auc(wrong, right) if worse == "higher" else auc(right, wrong)
    return Detection(mistake=mistake, figure=figure, reviews=len(right), auc=value)
