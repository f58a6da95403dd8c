"""What a task is, and the structure that prompts of several tasks share: what is ours, between the pieces that users bring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from reviewllm.errors import PromptError
from reviewllm.prompts.tokenizer import Ids, TextEncoder

if TYPE_CHECKING:
    from reviewllm.prompts.config import PromptConfig

INSTRUCTION_MARKER = "### Instruction:\n"
HISTORY_MARKER = "\n### Input:\nItems that the user purchased before:"
NEW_ITEM_MARKER = "\n### The user purchased a new item:\n"
RESPONSE_MARKER = "\n### Response:\n"
REVIEW_FIELD = ". %Review:"
RATING_FIELD = " %Rating: {:.1f}."

Row = dict[str, Any]  # one row of the examples table


class Target(NamedTuple):
    """What stands in a prompt after the history, the marker of the response included.

    The numbers tell how many of the item's attributes are shown (None for a task that shows none), and how many history
    entries, where the task itself shows them.
    """

    token_ids: Ids
    attributes_kept: int | None = None
    attributes_given: int | None = None
    history_kept: int = 0
    history_given: int = 0


# (examples, configuration, encoder, tokens that a target may take) -> the target of each example, or why it has none. One
# that cannot be made short enough is given as it is: the renderer refuses it, with the numbers.
Targets = Callable[[Sequence[Row], "PromptConfig", TextEncoder, int], list[Target | PromptError]]


class Task(NamedTuple):
    """All that the prompts of one task do not share with those of the others.

    columns: columns of EXAMPLES that its targets are made of.
    history: whether the user's earlier reviews are shown.
    response_joined: whether a response begins like a word in mid-sentence; JSON begins at the line's start.
    answer_schema: JSON Schema that the answer to a row must fit, of its columns; None where the row allows any text.
    choices: beginnings of the answers to a row of which the likelier is to be found, of its columns.
    """

    instruction: str
    instruction_without_rating: str
    columns: tuple[str, ...]
    history: bool
    targets: Targets
    response_joined: bool = True
    answer_schema: Callable[[Row], str | None] | None = None
    choices: Callable[[Row], list[str]] | None = None
