"""The drafts of a row on their way from what wrote them to the row's one text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from reviewllm.generation.choice import Asked, Bounds, Choice, choose
from reviewllm.generation.engine import Completion, Draft
from reviewllm.generation.failures import NO_DRAFT_PASSED, Failure, unusable
from reviewllm.generation.journal import Result
from reviewllm.scoring.config import ScoringConfig
from reviewllm.scoring.rouge import rouge
from reviewllm.scoring.scorer import Product, reference_scores, with_column

DRAFT_COLUMNS = ("drafts_written", "usual_words")
"""Behind the generations of several drafts: those that are texts, and the median words of the user's reviews."""

_WRITTEN = pa.list_(pa.struct([("text", pa.string()), ("finish_reason", pa.string())]))


def as_result(written: Sequence[Completion], attempt: int, *, for_publication: bool) -> Result:
    """What was written for a row as its result: the text, those that a choice is to be made from, or why there is none.

    Of several drafts those that a night would not publish are left out, while there is another.

    Args:
        written: at least one, in the order of the drafts.
        attempt: how often the engine was asked.
        for_publication: as in `unusable`.
    """
    problems = [unusable(one, for_publication=for_publication) for one in written]
    usable = [one for one, problem in zip(written, problems, strict=True) if not problem]
    if not usable:
        error_class, message = problems[0] or ("", "")
        message = message if len(written) == 1 else f"none of {len(written)} drafts is a text; of the first: {message}"
        told = written[0].reference_log_likelihood, written[0].new_user_log_likelihood
        return Failure("generate", error_class, message, attempt, *told)
    if len(written) == 1:
        return usable[0]
    usable = [one for one in usable if not unusable(one, for_publication=True)] or usable
    first = usable[0]
    return first._replace(
        token_ids=[],
        completion_tokens=sum(len(one.token_ids) for one in written),
        drafts=[Draft(one.text, one.finish_reason) for one in usable],
    )


def drafts_column(results: Sequence[Result]) -> pa.Array:
    """The drafts of each row; null where the row failed."""
    return pa.array([_drafts(result) for result in results], _WRITTEN)


def choose_drafts(
    rows: pa.Table,
    products: Sequence[Product],
    others: Sequence[Sequence[str] | None],
    scoring: ScoringConfig,
    bounds: Bounds,
    *,
    least_bad: bool,
) -> pa.Table:
    """Give each row that has `DRAFT_COLUMNS` the draft that is chosen; these columns stay.

    Fills review, finish_reason, drafts_passed and chosen_because; a row without a choice becomes a failed one.

    Args:
        rows: generations without scores.
        products: aligned with the rows.
        others: the reviews by others that each row's example carries; None for none.
        bounds: those of the night.
        least_bad: whether a row none of whose drafts passes gets one all the same.
    """
    names = ("drafts_written", "rating", "with_rating", "usual_words")
    columns = zip(*(rows[name].to_pylist() for name in names), products, others, strict=True)
    asked = {
        row: Asked([Draft(**one) for one in drafts], rating if shown else None, product, usual, reviews or (), bounds)
        for row, (drafts, rating, shown, usual, product, reviews) in enumerate(columns)
        if drafts
    }
    choices = choose(list(asked.values()), least_bad=least_bad, embedding=scoring.embedding)
    return _with_choices(rows, asked, dict(zip(asked, choices, strict=True)))


def add_oracle(scored: pa.Table, rows: pa.Table, scoring: ScoringConfig) -> pa.Table:
    """Fill the oracle_ columns: of each row with a text, the scores of the draft that is nearest to the real review by ROUGE-L.

    What a perfect choice would have taken: where it is far ahead of the choice, choosing is short, else writing is.

    Args:
        scored: scored generations.
        rows: what they were scored from, with `DRAFT_COLUMNS` and the references; rows without a reference have no oracle.
    """
    columns = (rows["drafts_written"], rows["reference"], scored["review"])
    texts = {
        row: ([one["text"] for one in drafts], reference)
        for row, (drafts, reference, review) in enumerate(zip(*(one.to_pylist() for one in columns), strict=True))
        if drafts and reference is not None and review is not None
    }
    best = [_nearest(drafts, reference, scoring) for drafts, reference in texts.values()]
    found = reference_scores(best, [reference for _, reference in texts.values()], scoring)
    for name, values in found.items():
        at_rows = dict(zip(texts, values, strict=True))
        scored = with_column(scored, f"oracle_{name}", [at_rows.get(row) for row in range(scored.num_rows)])
    return scored


def _nearest(drafts: Sequence[str], reference: str, scoring: ScoringConfig) -> str:
    scores = rouge([reference] * len(drafts), drafts, words=scoring.rouge_words)
    return drafts[max(range(len(drafts)), key=lambda place: scores[place].rougeL)]


def _drafts(result: Result) -> list[dict[str, str]] | None:
    return [draft._asdict() for draft in result.drafts] if isinstance(result, Completion) else None


def _with_choices(rows: pa.Table, asked: dict[int, Asked], choices: dict[int, Choice]) -> pa.Table:
    filled = ("review", "finish_reason", "completion_tokens", "error", "error_stage", "error_class")
    columns: dict[str, list[Any]] = {name: rows[name].to_pylist() for name in (*filled, "drafts_passed", "chosen_because")}
    for row, choice in choices.items():
        columns["drafts_passed"][row] = choice.passed
        if choice.place is None:
            for name, value in zip(filled, (None, None, None, choice.because, "score", NO_DRAFT_PASSED), strict=True):
                columns[name][row] = value
            continue
        columns["review"][row], columns["finish_reason"][row] = asked[row].drafts[choice.place]
        columns["chosen_because"][row] = choice.because
    for name, values in columns.items():
        rows = with_column(rows, name, values)
    return rows
