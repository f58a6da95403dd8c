"""What was written for a shard as rows of the generations table, whether an engine, an endpoint or a rule wrote it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reviewllm.generation.choice import Bounds
from reviewllm.generation.drafts import DRAFT_COLUMNS, add_oracle, choose_drafts, drafts_column
from reviewllm.generation.engine import Completion
from reviewllm.generation.failures import Failure
from reviewllm.generation.journal import Result
from reviewllm.generation.model import Variant
from reviewllm.generation.refuse import refuse_copied, refuse_unsupported
from reviewllm.generation.tasks import UNSCORED
from reviewllm.scoring.config import AS_THE_PAPER, ScoringConfig
from reviewllm.scoring.scorer import Product, add_scores

TO_SCORE = ("reference", "title", "attributes", "history_titles", "evidence_reviews")
"""Columns of an example that its scores need: the real review, what is known of the product, and what others wrote."""


def generation_rows(
    prompts: pa.Table, seeds: Sequence[int], results: Sequence[Result], variant: Variant, *, drafts: int = 1
) -> pa.Table:
    """The generations of a shard without scores, every row with every column, and behind them `TO_SCORE` and attributes_given.

    Where rows were asked for several drafts, `DRAFT_COLUMNS` come behind those.

    Args:
        prompts: what `ShardRenderer` made of the shard's examples; results and seeds are in its order.
        results: of every row its text, or why it has none, whatever wrote it.
        variant: what wrote them.
        drafts: texts that each row was asked for.
    """
    ids = prompts["prompt_ids"].combine_chunks()
    done = [result if isinstance(result, Completion) else None for result in results]
    failed = [result if isinstance(result, Failure) else None for result in results]
    rows = len(results)
    nll, alone = (
        [None if one is None else -one for one in (getattr(result, name) for result in results)]
        for name in ("reference_log_likelihood", "new_user_log_likelihood")
    )
    columns = {
        **{name: prompts[name] for name in ("example_id", "user_id", "item_id", "category", "rating", "split")},
        "review": [result.text if result else None for result in done],
        "error": [result.message if result else None for result in failed],
        "error_stage": [result.stage if result else None for result in failed],
        "error_class": [result.error_class if result else None for result in failed],
        "attempts": [result.attempts if result else 1 for result in failed],
        "model": [variant.model] * rows,
        "adapter": [str(variant.adapter) if variant.adapter else None] * rows,
        "with_rating": [variant.prompt.rating] * rows,
        "fingerprint": [variant.fingerprint] * rows,
        "prompt_sha256": [_sha256(prompt) for prompt in ids],
        "prompt_tokens": pc.list_value_length(ids),
        "history_kept": prompts["history_kept"],
        "attributes_kept": prompts["attributes_kept"],
        "completion_tokens": [_tokens(result) if result else None for result in done],
        "finish_reason": [result.finish_reason if result else None for result in done],
        "reference_nll": _each(nll, pc.list_value_length(prompts["reference_ids"])),
        "reference_nll_per_byte": _each(nll, prompts["reference_bytes"]),
        "reference_nll_without_history": _each(alone, pc.list_value_length(prompts["reference_ids"])),
        "drafts": [drafts if drafts > 1 else None] * rows,
        "drafts_passed": [None] * rows,  # as the next, filled when one is chosen
        "chosen_because": [None] * rows,
        "seed": list(seeds),
        "generated_at": [datetime.now(UTC)] * rows,
        "is_generated": [True] * rows,
    }
    arrays = [
        pa.array(columns[field.name], field.type) if isinstance(columns[field.name], list) else columns[field.name]
        for field in UNSCORED
    ]
    made = pa.Table.from_arrays(arrays, schema=UNSCORED)
    for name in (*TO_SCORE, "attributes_given"):
        made = made.append_column(name, prompts[name])
    if drafts > 1:
        for name, column in zip(DRAFT_COLUMNS, (drafts_column(results), prompts["usual_words"]), strict=True):
            made = made.append_column(name, column)
    return made


def unrendered(prompts: pa.Table, row: int) -> Failure:
    """Why a row of what `ShardRenderer` made has no prompt."""
    return Failure("render", prompts["prompt_error_class"][row].as_py(), prompts["prompt_error"][row].as_py(), 0)


def score_rows(
    rows: pa.Table,
    scoring: ScoringConfig = AS_THE_PAPER,
    *,
    max_hallucination: float | None = None,
    max_copied_words: int | None = None,
    least_bad: bool = True,
) -> pa.Table:
    """Score what `generation_rows` gave, and choose among drafts first where there are some.

    Args:
        scoring: how texts are compared with references.
        max_hallucination: rows above it fail, see `refuse_unsupported`; None: whatever a text claims.
        max_copied_words: rows above it fail, see `refuse_copied`; None: whatever a text copies.
        least_bad: whether a row none of whose drafts passes the checks gets one all the same, see `choose_drafts`.

    Raises:
        SchemaError: a column is missing.
    """
    columns = (rows[name].to_pylist() for name in ("title", "attributes", "history_titles"))
    products = [Product(*row) for row in zip(*columns, strict=True)]
    others = rows["evidence_reviews"].to_pylist()
    if is_drafted := set(DRAFT_COLUMNS) <= set(rows.column_names):
        bounds = Bounds(max_hallucination, max_copied_words)
        rows = choose_drafts(rows, products, others, scoring, bounds, least_bad=least_bad)
    scored = add_scores(
        rows.drop_columns(list(TO_SCORE)), rows["reference"].combine_chunks(), products, scoring, others=others
    )
    if is_drafted:
        scored = add_oracle(scored, rows, scoring)
    if max_copied_words is not None:
        scored = refuse_copied(scored, max_copied_words)
    return scored if max_hallucination is None else refuse_unsupported(scored, products, max_hallucination)


def _each(sums: Sequence[float | None], counts: pa.ChunkedArray) -> list[float | None]:
    """Each sum by what it is over; None without one."""
    return [None if total is None else total / count for total, count in zip(sums, counts.to_pylist(), strict=True)]


def _tokens(completion: Completion) -> int:
    return len(completion.token_ids) if completion.completion_tokens is None else completion.completion_tokens


def _sha256(prompt: pa.ListScalar) -> str | None:
    if prompt.values is None:
        return None
    return hashlib.sha256(np.asarray(prompt.values, dtype=np.int32).tobytes()).hexdigest()
