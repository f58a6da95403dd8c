"""Review-LLM's task: the review that the user would write of an item that is known by its title."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reviewllm.errors import PromptError
from reviewllm.prompts.tasks.task import NEW_ITEM_MARKER, RATING_FIELD, RESPONSE_MARKER, Row, Target, Task
from reviewllm.prompts.tokenizer import TextEncoder

if TYPE_CHECKING:
    from reviewllm.prompts.config import PromptConfig

INSTRUCTION = (
    "The input lists items that a user purchased, with the user's review and rating of each. Write the review that this "
    "user would write of the new item, in the user's own style. A low rating means that the user is not satisfied, and "
    "the review says so."
)
INSTRUCTION_WITHOUT_RATING = (
    "The input lists items that a user purchased, with the user's review of each. Write the review that this user would "
    "write of the new item, in the user's own style."
)


def _targets(examples: Sequence[Row], config: PromptConfig, encoder: TextEncoder, room: int) -> list[Target | PromptError]:
    """The title, and the rating."""
    chars = config.max_title_chars
    titles = encoder.texts(dict.fromkeys((example["title"], chars) for example in examples))
    marker = encoder.structure(NEW_ITEM_MARKER)
    return [
        Target([*marker, *titles[example["title"], chars], *encoder.structure(_end(example["rating"], config))])
        for example in examples
    ]


def _end(rating: float, config: PromptConfig) -> str:
    return f".{RATING_FIELD.format(rating) if config.rating else ''}{RESPONSE_MARKER}"


REVIEW = Task(INSTRUCTION, INSTRUCTION_WITHOUT_RATING, columns=("title", "rating"), history=True, targets=_targets)
