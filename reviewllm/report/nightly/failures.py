"""A night's dead letters by class, with what each class means for the person who reads of it."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence

import polars as pl

from reviewllm.backfill.night import Manifest
from reviewllm.generation import failures
from reviewllm.place import Place
from reviewllm.report.nightly.content import Failure
from reviewllm.tables import DEAD_LETTERS

MEANINGS = {
    failures.PROMPT_TOO_LONG: "instruction and item alone are over the prompt's budget; raise --max-prompt-tokens",
    failures.BAD_ATTRIBUTES: "the item's attributes are no flat JSON object; write them with jobs/prepare.py",
    failures.EMPTY_OUTPUT: "the model wrote nothing that a person could read",
    failures.LOOPING_OUTPUT: "the text ends in the same few tokens again and again",
    failures.GARBAGE_OUTPUT: "the text is mostly characters that are no text",
    failures.UNSUPPORTED_CLAIMS: "the text claims more than the product's data support (--max-hallucination)",
    failures.COPIED: "the text repeats another customer's words (--max-copied-words)",
    failures.NO_DRAFT_PASSED: "none of the row's drafts passed every check (--if-no-draft-passes dead-letter)",
    failures.REFUSED: "the engine does not take the request",
    failures.ENGINE_FAILED: "the engine took the row and failed on it, as often as it was asked",
    failures.KILLED_ENGINE: "an engine that had nothing else to do died on the row, twice",
    failures.HUNG_ENGINE: "an engine that had nothing else to do gave no token for the row, twice",
}
ENGINES_LOST = frozenset({failures.KILLED_ENGINE, failures.HUNG_ENGINE})
_UNKNOWN = "a class that this version does not know"
_MESSAGE_CHARS = 200
_COLUMNS = ["error_class", "message"]


def dead_letters(data: Place, day: datetime.date, manifest: Manifest) -> pl.DataFrame:
    """The dead letters of a night by class, most frequent first: error_class, count, and a message of one of them.

    Raises:
        SchemaError: they are missing or damaged.
    """
    schema = {"error_class": pl.String, "count": pl.UInt32, "message": pl.String}
    if manifest.dead_letters is None:
        return pl.DataFrame(schema=schema)
    name = f"dead_letters/dt={day.isoformat()}/{manifest.dead_letters.name}"
    parts = [
        rows.group_by("error_class").agg(count=pl.len(), message=pl.first("message"))
        for rows in data.batches(name, DEAD_LETTERS, _COLUMNS)
    ]
    together = pl.concat([pl.DataFrame(schema=schema), *parts]).group_by("error_class")
    return together.agg(pl.sum("count"), pl.first("message")).sort("count", "error_class", descending=[True, False])


def failures_by_class(
    letters: pl.DataFrame, rows: int, before: Sequence[pl.DataFrame], rows_before: int
) -> tuple[Failure, ...]:
    """The classes of a night beside their shares of the rows of the nights before; the classes of those are not repeated."""
    earlier: Counter[str] = Counter()
    for one in before:
        earlier.update(dict(one.select("error_class", "count").rows()))
    return tuple(
        Failure(
            error_class=name,
            count=count,
            share=count / rows,
            share_before=earlier[name] / rows_before if rows_before else None,
            meaning=MEANINGS.get(name, _UNKNOWN),
            may_mend=name in failures.TRANSIENT,
            message=message if len(message) <= _MESSAGE_CHARS else f"{message[:_MESSAGE_CHARS]}…",
        )
        for name, count, message in letters.rows()
    )
