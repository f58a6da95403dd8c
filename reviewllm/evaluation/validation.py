"""What the figures are worth: each of them on real reviews whose stars, users and items are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FiniteFloat

from reviewllm.evaluation.auc import auc
from reviewllm.evaluation.baselines import Reviews
from reviewllm.evaluation.complete import written
from reviewllm.evaluation.corruption import Detection, Likelihood, detect
from reviewllm.evaluation.figures import TABLE
from reviewllm.scoring.config import AS_THE_PAPER, ScoringConfig
from reviewllm.scoring.dissonance import Written, item_dissonance, user_dissonance
from reviewllm.scoring.scorer import reference_scores
from reviewllm.scoring.sentiment import NEGATIVE_RATING, POSITIVE, POSITIVE_RATING, sentiment
from reviewllm.scoring.style import style_cosine

MOST_REVIEWS = 5_000  # of those that the sentiment is validated on; its correlation then moves by about 0.01
_MOST_PAIRS = 500
_FEWEST = 20  # users or purchases below which an AUC tells nothing

Floats = NDArray[np.float64]


class Validation(BaseModel):
    """Figures on real reviews; null where too few are there to tell.

    `*_auc`: the chance that the figure is higher for the first of two: 0.5 is a guess, 1 is always.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reviews: int
    """Real reviews that the sentiment was computed for."""
    unread: int
    """Real reviews that it cannot read, beside them."""
    sentiment_spearman: FiniteFloat | None
    """Rank correlation of sentiment and stars."""
    sentiment_pearson: FiniteFloat | None
    sentiment_auc: FiniteFloat | None
    """A review of 4 or 5 stars against one of 1 or 2."""
    negative_taken_for_positive: FiniteFloat | None
    """Share of reviews of 1 or 2 stars that count as positive, in %: what `polite` is for people."""
    positive_taken_for_negative: FiniteFloat | None
    """Share of reviews of 4 or 5 stars that do not count as positive, in %."""
    users: int
    """Users whose last review was compared with their own and with another user's history."""
    style_auc: FiniteFloat | None
    user_dissonance_auc: FiniteFloat | None
    """Lower beside the user's own history than beside another user's."""
    item_dissonance_auc: FiniteFloat | None
    """Of real reviews of items that others reviewed before: lower beside these than beside reviews of another item."""
    pairs: int
    """Evaluated purchases whose real review was compared with a review of the same item and with one of another item.

    Each score is asked about those of them that it can read.
    """
    rouge1_auc: FiniteFloat | None
    rougeL_auc: FiniteFloat | None
    meteor_auc: FiniteFloat | None
    sbert_cosine_auc: FiniteFloat | None
    detections: list[Detection] = []
    """How well the figures of products notice mistakes that are put into real reviews."""


def validate(
    examples: pl.DataFrame,
    reviews: Reviews,
    stars: pl.DataFrame,
    *,
    log_likelihood: Likelihood | None = None,
    scoring: ScoringConfig = AS_THE_PAPER,
    seed: int = 0,
) -> Validation:
    """Measure the figures on real reviews.

    Args:
        examples: EXAMPLES that are evaluated: reference, rating, history, item_evidence, item_id, user_id.
        reviews: reviews by others, for pairs of the same and of different items.
        stars: any real reviews with `review` and `rating`; of more than 5,000 a sample is taken.
        log_likelihood: of a reference model; None leaves it out.
        scoring: how texts are compared with references.
        seed: of the samples.
    """
    draw = np.random.default_rng(seed)
    return Validation.model_validate(
        {
            **_sentiment(stars, draw),
            **_style(examples),
            **_dissonances(examples, scoring),
            **_items(examples, reviews.items, scoring, draw),
            "detections": detect(examples, log_likelihood=log_likelihood, embedding=scoring.embedding, seed=seed),
        }
    )


def _sentiment(stars: pl.DataFrame, draw: np.random.Generator) -> dict[str, object]:
    from scipy.stats import pearsonr, spearmanr

    rows = stars[np.sort(draw.permutation(len(stars))[:MOST_REVIEWS])]
    found = [sentiment(text) for text in rows["review"]]
    reads = np.array([score is not None for score in found], dtype=bool)
    scores = np.array([score for score in found if score is not None], dtype=np.float64)
    ratings = rows["rating"].to_numpy()[reads]
    negative, positive = scores[ratings <= NEGATIVE_RATING], scores[ratings >= POSITIVE_RATING]
    told = len(set(scores)) > 1 and len(set(ratings)) > 1
    return {
        "reviews": len(scores),
        "unread": len(rows) - len(scores),
        "sentiment_spearman": float(spearmanr(scores, ratings).statistic) if told else None,
        "sentiment_pearson": float(pearsonr(scores, ratings).statistic) if told else None,
        "sentiment_auc": auc(positive, negative),
        "negative_taken_for_positive": _percent(negative > POSITIVE),
        "positive_taken_for_negative": _percent(positive <= POSITIVE),
    }


def _style(examples: pl.DataFrame) -> dict[str, object]:
    """Whether a review is nearer to its own user's history than to the next user's."""
    known = examples.filter(pl.col("history").list.len() > 0).unique("user_id", keep="first", maintain_order=True)
    histories = [[entry["review"] for entry in history] for history in known["history"].to_list()]
    texts = known["reference"].to_list()
    own = style_cosine(texts, histories)
    others = style_cosine(texts, [*histories[1:], *histories[:1]])
    told = sum(None not in pair for pair in zip(own, others, strict=True))
    return {"users": told, "style_auc": _wins(own, others)}


def _dissonances(examples: pl.DataFrame, scoring: ScoringConfig) -> dict[str, object]:
    """Whether a review is nearer to its own user's and its own item's reviews than to the next ones'."""
    found: dict[str, object] = {}
    for name, column, key in (("user", "history", "user_id"), ("item", "item_evidence", "item_id")):
        rows = examples.filter(pl.col(column).list.len() > 0).unique(key, keep="first", maintain_order=True)[:_MOST_PAIRS]
        texts = [Written(*row) for row in rows.select("reference", "rating").rows()]
        groups = [written(entries) for entries in rows[column].to_list()]
        twice, both = texts + texts, [*groups, *groups[1:], *groups[:1]]
        figures = user_dissonance(twice, both) if name == "user" else item_dissonance(twice, both, scoring.embedding)
        found[f"{name}_dissonance_auc"] = _wins(figures[len(texts) :], figures[: len(texts)])
    return found


def _wins(higher: Sequence[float | None], lower: Sequence[float | None]) -> float | None:
    """In how many pairs the first is higher, level ones by half; None with too few of them."""
    both = [(one, other) for one, other in zip(higher, lower, strict=True) if one is not None and other is not None]
    return float(np.mean([(one > other) + 0.5 * (one == other) for one, other in both])) if len(both) >= _FEWEST else None


def _items(
    examples: pl.DataFrame, others: pl.DataFrame, scoring: ScoringConfig, draw: np.random.Generator
) -> dict[str, object]:
    """Whether a real review is nearer to another of the same item than to one of another item."""
    same = (
        examples.select("item_id", "user_id", "reference")
        .join(others.select("item_id", "review", other="user_id"), on="item_id", maintain_order="left")
        .filter(pl.col("other") != pl.col("user_id"))
        .unique(["user_id", "item_id"], keep="first", maintain_order=True)
    )
    same = same[np.sort(draw.permutation(len(same))[:_MOST_PAIRS])]
    shifted = pl.concat([same[1:], same[:1]])
    differ = same["item_id"] != shifted["item_id"]
    references = same["reference"].filter(differ).to_list()
    if len(references) < _FEWEST:
        return {"pairs": len(references)} | {f"{figure.name}_auc": None for figure in TABLE}
    alike, unlike = (frame["review"].filter(differ).to_list() for frame in (same, shifted))
    near, far = (reference_scores(texts, references, scoring) for texts in (alike, unlike))
    return {"pairs": len(references)} | {f"{name}_auc": _auc(near[name], far[name]) for name in near}


def _auc(higher: Sequence[float | None], lower: Sequence[float | None]) -> float | None:
    """The chance that a score is higher for the first; None with too few references that it can read."""
    read = [[score for score in scores if score is not None] for scores in (higher, lower)]
    return auc(*(np.array(scores, dtype=np.float64) for scores in read)) if len(read[0]) >= _FEWEST else None


def _percent(found: NDArray[np.bool_]) -> float | None:
    return 100 * float(found.mean()) if len(found) else None
