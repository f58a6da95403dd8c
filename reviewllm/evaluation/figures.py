"""Every figure of an evaluation: its name, what it means, which way is better, and how a row gets it."""

from __future__ import annotations

from typing import Literal, NamedTuple

import polars as pl

from reviewllm.scoring.sentiment import NEGATIVE_RATING, POSITIVE, POSITIVE_RATING

Better = Literal["higher", "lower", "neither"]


# Share of the rows above which a figure is not given: with more left out, the mean is one of other purchases.
MOST_UNREAD = 0.1


class Figure(NamedTuple):
    """One figure; `row` gives it for each row of scored generations, null where the row does not count.

    `unread` tells of each row whether the score cannot read its text, or (`TABLE`) its reference; null where nothing is asked
    about the row. None for a figure that reads every text. `digits` of a mean are shown after the point.
    """

    name: str
    label: str
    better: Better
    meaning: str
    row: pl.Expr
    unread: pl.Expr | None = None
    digits: int = 1


def is_unread(unread: int, asked: int) -> bool:
    """Whether too many of the rows that a figure is asked about cannot be read for it to be given."""
    return unread > MOST_UNREAD * asked


def _unread(name: str, *, asked: pl.Expr | bool = True) -> pl.Expr:
    """Whether the score could not read the text; null without one."""
    return pl.when(pl.col("review").is_not_null() & asked).then(pl.col(name).is_null())


def _against_reference(name: str, label: str, meaning: str) -> Figure:
    """A figure of which a failed row counts as 0; whether a score reads a reference is known from whoever wrote a text."""
    unread = _unread(name).any().over("split", "example_id")  # false where nobody wrote one
    row = pl.when(unread).then(None).when(pl.col("review").is_null()).then(0.0).otherwise(pl.col(name))
    return Figure(name, label, "higher", meaning, row, unread)


def _of_best_draft(name: str, label: str) -> Figure:
    """A score of the draft that is nearest to the real review, of rows that were asked for several: else as the score itself."""
    drafted, unread = pl.col("drafts").is_not_null(), _unread(name).any().over("split", "example_id")
    score = pl.when(pl.col("review").is_null()).then(0.0).otherwise(pl.col(f"oracle_{name}"))
    meaning = f"{name} of the row's draft that has the highest ROUGE-L: what a perfect choice would have taken"
    return Figure(
        f"oracle_{name}", label, "higher", meaning, pl.when(drafted & ~unread).then(score), pl.when(drafted).then(unread)
    )


_negative = pl.col("rating") <= NEGATIVE_RATING
_positive = pl.col("rating") >= POSITIVE_RATING
_sounds_positive = pl.col("sentiment") > POSITIVE
_as_percent = 100.0

# What the paper's tables show, and METEOR, which others do; a row that failed counts as 0.
TABLE = (
    _against_reference("rouge1", "ROUGE-1", "words shared with the real review, F1"),
    _against_reference("rougeL", "ROUGE-L", "words shared with it in the same order, F1"),
    _against_reference(
        "meteor",
        "METEOR (no synonyms)",
        "words and word stems shared with it, recall first, the better the more of them stand side by side",
    ),
    _against_reference(
        "sbert_cosine", "sbert_cosine", "cosine of sentence embeddings with the real review (the paper's BertScore)"
    ),
)
# What a perfect choice among a row's drafts would have scored, where there are several; a row that failed counts as 0.
ORACLE = (
    _of_best_draft("rouge1", "oracle ROUGE-1"),
    _of_best_draft("rougeL", "oracle ROUGE-L"),
    _of_best_draft("meteor", "oracle METEOR"),
    _of_best_draft("sbert_cosine", "oracle sbert_cosine"),
)
# What a model finds likely, whatever it writes: a row without a text counts as well. Only engines tell it, of base and adapters.
LIKELIHOOD = (
    Figure(
        "reference_nll",
        "NLL of the real review",
        "lower",
        "mean negative log-likelihood of a token of the real review behind the prompt, its end token among them, in nats; "
        "comparable under one tokenizer",
        pl.col("reference_nll"),
        digits=3,
    ),
    Figure(
        "reference_nll_per_byte",
        "NLL per byte",
        "lower",
        "the same sum over the UTF-8 bytes of the review, so that bases with other tokenizers compare",
        pl.col("reference_nll_per_byte"),
        digits=3,
    ),
    Figure(
        "reference_nll_without_history",
        "NLL without the history",
        "lower",
        "NLL of the real review behind the prompt without the history, as if the user were new",
        pl.col("reference_nll_without_history"),
        digits=3,
    ),
    Figure(
        "history_worth",
        "worth of the history",
        "higher",
        "NLL without the history less NLL with it: nats a token by which the history makes the real review likelier; 0 for a new "
        "user",
        pl.col("reference_nll_without_history") - pl.col("reference_nll"),
        digits=3,
    ),
)
# What needs no reference. A row without a text does not count, nor one to which the question does not apply.
REFERENCE_FREE = (
    Figure(
        "sentiment_agreement",
        "agrees with stars",
        "higher",
        "share of texts that sound as the stars say, of 1, 2, 4 and 5 stars, in %",
        pl.when(_negative | _positive).then((_sounds_positive == _positive).cast(pl.Float64) * _as_percent),
        _unread("sentiment", asked=_negative | _positive),
    ),
    Figure(
        "polite",
        "polite",
        "lower",
        "share of purchases of 1 or 2 stars that are answered by a positive text, in %",
        pl.when(_negative).then(_sounds_positive.cast(pl.Float64) * _as_percent),
        _unread("sentiment", asked=_negative),
    ),
    Figure("words", "words", "neither", "words of the text", pl.col("words").cast(pl.Float64)),
    Figure(
        "length_ratio",
        "length ratio",
        "neither",
        "words over the median words of the user's own reviews; 1 is the usual length",
        pl.col("length_ratio"),
        digits=2,
    ),
    Figure(
        "style_cosine",
        "style",
        "higher",
        "closeness to the user's own way of writing; compare it with the real reviews' own",
        pl.col("style_cosine"),
    ),
    Figure(
        "user_dissonance",
        "off the user's habits",
        "neither",
        "how far length, tone and style are from the user's reviews, over how far real reviews are from the others of their user; "
        "real reviews have about 1",
        pl.col("user_dissonance"),
        digits=2,
    ),
    Figure(
        "item_dissonance",
        "off the item's reviews",
        "neither",
        "how far tone and meaning are from earlier reviews of the item, over how far these are from each other; real reviews have "
        "about 1",
        pl.col("item_dissonance"),
        digits=2,
    ),
    Figure(
        "copied_words",
        "copied",
        "neither",
        "longest run of words taken from one review of the user's history",
        pl.col("copied_words").cast(pl.Float64),
    ),
    Figure(
        "copied_from_others",
        "copied from others",
        "lower",
        "longest run of words taken from one review by another, of those that the example carries; compare it with "
        "the real reviews' own",
        pl.col("copied_from_others").cast(pl.Float64),
    ),
    Figure(
        "memorised_words",
        "memorised",
        "lower",
        "longest run of words taken from one review that was trained on",
        pl.col("memorised_words").cast(pl.Float64),
    ),
    Figure(
        "repetition",
        "repetition",
        "lower",
        "share of 3-grams of words that stood in the text before, in %",
        pl.col("repetition"),
    ),
    Figure(
        "log_likelihood",
        "log-likelihood",
        "higher",
        "mean log-likelihood of a token by the reference model: fluency, as that model knows it",
        pl.col("log_likelihood"),
        digits=2,
    ),
)
# What ties a text to its product. A row without a text does not count, nor one that claims nothing.
GROUNDED = (
    Figure(
        "hallucination",
        "hallucination",
        "lower",
        "share of checkable claims that title and attributes contradict or do not support, in %; compare it with the real "
        "reviews' own, since customers know more than the shop's data",
        pl.col("hallucination"),
        _unread("claims"),
    ),
    Figure(
        "claims",
        "claims",
        "neither",
        "checkable claims about the product in a text",
        pl.col("claims").cast(pl.Float64),
        _unread("claims"),
    ),
    Figure(
        "hallucination_nli",
        "contradicted (NLI)",
        "lower",
        "share of sentences that an NLI model finds contradicted by the product's data, in %",
        pl.col("hallucination_nli"),
    ),
    Figure(
        "hallucination_judge",
        "unsupported (judge)",
        "lower",
        "share of claims that a judging model finds without support in the product's data, in %, of a sample",
        pl.col("hallucination_judge"),
    ),
    Figure(
        "relevance",
        "relevance",
        "higher",
        "cosine of sentence embeddings of the text and of the product's title and attributes",
        pl.col("relevance"),
        _unread("relevance"),
    ),
    Figure(
        "attribute_share",
        "attributes named",
        "higher",
        "share of the product's 5 most salient attributes that a text names, in %",
        pl.col("attribute_share"),
    ),
)
# Figures of all texts together, which no single row has.
CORPUS = (
    Figure("distinct1", "distinct-1", "higher", "different words over all words, in %", pl.lit(None)),
    Figure("distinct2", "distinct-2", "higher", "different pairs of words over all pairs, in %", pl.lit(None)),
    Figure("failed", "failed", "lower", "share of rows without a text, in %", pl.lit(None)),
)

BY_ROW = (*TABLE, *ORACLE, *LIKELIHOOD, *REFERENCE_FREE, *GROUNDED)
FIGURES = {figure.name: figure for figure in (*BY_ROW, *CORPUS)}
# What two models are tested on.
COMPARED = (
    *("rouge1", "rougeL", "meteor", "sbert_cosine", "reference_nll", "reference_nll_per_byte"),
    *("sentiment_agreement", "hallucination"),
)
