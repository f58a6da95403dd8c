"""Rows whose text claims or copies too much become failed rows: a night's bounds on what it publishes."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pyarrow as pa

from reviewllm.generation.failures import COPIED, UNSUPPORTED_CLAIMS
from reviewllm.scoring.hallucination import doubtful, doubtful_text
from reviewllm.scoring.scorer import Product, claims_of
from reviewllm.tables import GENERATIONS, SCORES


def refuse_unsupported(scored: pa.Table, products: Sequence[Product], max_hallucination: float) -> pa.Table:
    """Make failed rows of those whose `hallucination` is above the bound; a row without claims is within every bound.

    A text whose claims cannot be read, as it is not English, is within none: nothing tells that it is.

    Args:
        scored: GENERATIONS with scores.
        products: aligned with the rows.
        max_hallucination: share of unsupported or contradicted claims that a text may have, in %.
    """
    frame = pl.DataFrame(scored)
    unread = frame["review"].is_not_null() & frame["claims"].is_null()
    above = (frame["hallucination"] > max_hallucination).fill_null(False) | unread
    errors = [
        _message(text, product, max_hallucination) if refused else None
        for text, product, refused in zip(frame["review"].to_list(), products, above.to_list(), strict=True)
    ]
    return _failed(scored, errors, UNSUPPORTED_CLAIMS)


def refuse_copied(scored: pa.Table, max_copied_words: int) -> pa.Table:
    """Make failed rows of those whose `copied_from_others` is above the bound; a row without reviews by others is within it.

    Args:
        scored: GENERATIONS with scores.
        max_copied_words: words that a text may repeat of one review by another.
    """
    errors = [
        f"the text repeats {words} words of another customer's review, more than --max-copied-words {max_copied_words}"
        if words is not None and words > max_copied_words
        else None
        for words in scored["copied_from_others"].to_pylist()
    ]
    return _failed(scored, errors, COPIED)


def _failed(scored: pa.Table, errors: Sequence[str | None], error_class: str) -> pa.Table:
    """Rows with an error as failed rows: without text and scores, their error says why.

    As the text follows from the prompt and the row's own seed, another run of the same configuration fails alike.
    """
    if not any(errors):
        return scored
    reasons = pl.Series(errors, dtype=pl.String)
    refused = reasons.is_not_null()
    emptied = ("review", "completion_tokens", "finish_reason", "chosen_because", *(column.name for column in SCORES))
    failed = pl.DataFrame(scored).with_columns(
        *(pl.when(~refused).then(pl.col(name)).alias(name) for name in emptied),
        error=pl.when(refused).then(reasons).otherwise("error"),
        error_stage=pl.when(refused).then(pl.lit("score")).otherwise("error_stage"),
        error_class=pl.when(refused).then(pl.lit(error_class)).otherwise("error_class"),
    )
    return GENERATIONS.check(failed.to_arrow(), where="generations within the bound")


def _message(text: str, product: Product, bound: float) -> str:
    claims = claims_of(text, product)
    if claims is None:
        return (
            f"the text is not English, so its claims cannot be held against --max-hallucination {bound:g} %; leave the bound out "
            "for texts in other languages"
        )
    return (
        f"{len(doubtful(claims))} of {len(claims)} claims are not in the product's data, more than --max-hallucination "
        f"{bound:g} %: {doubtful_text(claims)}"
    )
