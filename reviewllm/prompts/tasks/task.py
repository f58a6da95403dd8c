"""What a task is, and the structure that prompts of several tasks share: what is ours, between the pieces that users bring."""

from __future__ import annotations

import math
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
ITEM_MARKER = "\n### Item:\n"  # of every purchase in a dialogue
REVIEW_FIELD = ". %Review:"
# Of reviews by others, of the item and of its category: before the reviews, and in a dialogue between them and the item.
EVIDENCE_MARKERS = {
    "item_evidence": "\n### The new item in other customers' reviews:",
    "neighbour_evidence": "\n### Other items in reviews by customers who purchased alike:",
}
ITEM_ITSELF_MARKER = "\n### The new item itself:\n"
OTHERS_REVIEW_FIELD = " %Review:"  # where no title stands before it
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


class Dialogue(NamedTuple):
    """What a task's prompts are in the dialogue form: the instruction, and how a purchase of the history is shown."""

    instruction: str
    instruction_without_rating: str
    purchases: Targets


class Task(NamedTuple):
    """All that the prompts of one task do not share with those of the others.

    columns: columns of EXAMPLES that its targets are made of.
    dialogue: what differs in the dialogue form; None for a task that shows no reviews of the user, whose prompts have one form.
    response_joined: whether a response begins like a word in mid-sentence; JSON begins at the line's start.
    answer_schema: JSON Schema that the answer to a row must fit, of its columns; None where the row allows any text.
    choices: beginnings of the answers to a row of which the likelier is to be found, of its columns.
    """

    instruction: str
    instruction_without_rating: str
    columns: tuple[str, ...]
    targets: Targets
    dialogue: Dialogue | None = None
    response_joined: bool = True
    answer_schema: Callable[[Row], str | None] | None = None
    choices: Callable[[Row], list[str]] | None = None


def around_item(config: PromptConfig, *, marker: str = NEW_ITEM_MARKER) -> tuple[str, str]:
    """What a target has before its item and behind it; nothing in a dialogue, where the renderer frames all purchases alike."""
    return ("", "") if config.is_dialogue else (marker, RESPONSE_MARKER)


def rating_field(rating: float | None, config: PromptConfig) -> str:
    """The rating as prompts show it; "" without ratings, and where a purchase has none: null, not a number, in a dialogue 0."""
    if not config.rating or rating is None or math.isnan(rating) or (config.is_dialogue and not rating):
        return ""
    return RATING_FIELD.format(rating)
