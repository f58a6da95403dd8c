"""What an engine is: the seam between shards and whatever writes the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from reviewllm.prompts.tasks import TaskName
from reviewllm.prompts.tokenizer import Ids


class Request(NamedTuple):
    """One row to write: the example, its prompt ids, the row's seed, and the folder of a live adapter (None: none).

    Of the example an engine may read example_id, title and rating, and a rule, where it has one for the `task`, attributes
    and history_titles too. `greedy` overrides the run's sampling: a canary is written greedily, and is short.
    `answer_schema` is the JSON Schema that the text must fit (None: any text), `choices` are the ids of the texts whose
    likelihood is asked for, `reference_ids` those of the real review as a response, where its likelihood is asked for (else
    none), and `new_user_ids` those of the prompt without the history, where it is to be told behind that one too.
    """

    example: dict[str, Any]
    prompt_ids: Ids | np.ndarray
    seed: int
    adapter: str | None
    greedy: bool = False
    answer_schema: str | None = None
    task: TaskName = "review"
    choices: Sequence[Ids] = ()
    reference_ids: Sequence[int] = ()
    new_user_ids: Sequence[int] = ()


class Draft(NamedTuple):
    """One of several texts that were written for a row, and why it ended (stop or length)."""

    text: str
    finish_reason: str


class Completion(NamedTuple):
    """What was written: the text without its end token, its tokens, and why it ended (stop or length).

    `completion_tokens` is how many it took, where that is another number than that of the ids: None says that it is not.
    `drafts` are the texts that the row's own is still to be chosen from, where it was asked for several; they took the tokens
    together, and `text` is the first of them until then.
    `reference_log_likelihood` is that of the request's `reference_ids`, `new_user_log_likelihood` the same behind the prompt
    without the history; None where it was not asked for, or cannot be told.
    """

    text: str
    token_ids: Ids
    finish_reason: str
    completion_tokens: int | None = None
    reference_log_likelihood: float | None = None
    new_user_log_likelihood: float | None = None
    drafts: Sequence[Draft] = ()


class Progress(NamedTuple):
    """What an engine has done since its start: tokens computed and written, and prompt tokens asked for and found cached."""

    tokens: int = 0
    prefix_queries: int = 0
    prefix_hits: int = 0


def shared_beginning(choices: Sequence[Ids]) -> int:
    """With how many tokens all choices begin alike, leaving each at least one of its own.

    >>> shared_beginning([[1, 2, 3], [1, 2, 4, 5]]), shared_beginning([[1, 2], [1, 2, 3]])
    (2, 1)
    """
    shortest = min(map(len, choices), default=1)
    columns = zip(*choices, strict=False)
    alike = next((place for place, column in enumerate(columns) if len(set(column)) > 1), shortest)
    return min(alike, shortest - 1)


class RowError(Exception):
    """The engine failed on this row; it and the other rows go on, and another try may succeed."""


class RefusedError(RowError):
    """The engine does not take this row, and never will."""


class Engine(Protocol):
    """Writes many requests at once; built inside the actor that uses it."""

    async def load_adapters(self) -> None:
        """Load the adapters that it serves, before any time is spent.

        Raises:
            AdapterError: it would not serve one of them whole.
        """
        ...

    async def generate(self, request: Request) -> Completion:
        """Write one row.

        Raises:
            RowError: this row failed.
            EngineError: the engine died; no row can be written any more.
        """
        ...

    async def write_drafts(self, request: Request, count: int) -> list[Completion]:
        """Write one row so many times, each from a luck of its own, which the request's seed and the draft's place decide.

        Raises:
            RowError: this row failed.
            EngineError: the engine died; no row can be written any more.
        """
        ...

    async def log_likelihoods(self, request: Request) -> list[float]:
        """Natural logarithm of the likelihood of each of the request's choices as the beginning of the response.

        That of the tokens with which all of them begin is left out.

        Raises:
            RowError: this row failed.
            EngineError: the engine died; nothing can be asked any more.
        """
        ...

    async def reference_log_likelihood(self, request: Request) -> float | None:
        """Natural logarithm of the likelihood of the request's `reference_ids` behind its prompt; None where no model tells it.

        Raises:
            RowError: this row failed.
            EngineError: the engine died; nothing can be asked any more.
        """
        ...

    def progress(self) -> Progress:
        """What was done so far; may be asked from any thread. Tokens that stand still mean that the engine hangs."""
        ...

    def close(self) -> None:
        """Free everything; to be called before the process ends."""
        ...
