"""A user's purchases as rows of the examples table: one row type goes through training, profiles, ranking and reasons.

history      the names of what the user bought, oldest first, as titles of entries without reviews
attributes   {"candidates": [...], "profile": [...], "count": 10}: what `reviewllm.prompts.tasks.recommend` shows beside them
reference    the answer as JSON; null where none is known
rating       0: nobody has rated anything here
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from reviewllm.prompts.tasks.recommend import HISTORY_ITEMS, Asked, answer_text
from reviewllm.tables import EXAMPLES

CATEGORY = "recommend"
_NO_TIME = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def example_row(
    example_id: str,
    user_id: str,
    item_ids: Sequence[str],
    names: Sequence[str],
    *,
    asked: Asked | None,
    split: str,
    answer: Sequence[str] | None = None,
) -> dict[str, Any]:
    """One row; of the purchases the newest 20 stay, as no prompt shows more.

    Args:
        item_ids: what the user bought, oldest first.
        names: theirs, aligned.
        asked: what is asked for; None where the task asks of the history alone.
        answer: names that a model is to learn to write.
    """
    kept = list(zip(item_ids, names, strict=True))[-HISTORY_ITEMS:]
    return {
        "example_id": example_id,
        "user_id": user_id,
        "item_id": "",
        "category": CATEGORY,
        "rating": 0.0,
        "title": "",
        "attributes": _attributes(asked) if asked else None,
        "purchased_at": _NO_TIME,
        "history": [
            {"item_id": item, "title": name, "rating": 0.0, "review": "", "purchased_at": _NO_TIME} for item, name in kept
        ],
        "reference": None if answer is None else answer_text(answer),
        "split": split,
    }


def example_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows as a table."""
    return pa.Table.from_pylist(list(rows), schema=EXAMPLES.schema)


def _attributes(asked: Asked) -> str:
    lists = {"candidates": asked.candidates, "profile": asked.profile}
    return json.dumps({**{name: one for name, one in lists.items() if one}, "count": asked.count}, ensure_ascii=False)
