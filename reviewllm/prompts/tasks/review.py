"""Review-LLM's task: the review that the user would write of an item that is known by its title."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reviewllm.errors import PromptError
from reviewllm.prompts.tasks.task import Dialogue, Row, Target, Task, around_item, rating_field
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
DIALOGUE_WITHOUT_RATING = (
    "A user purchased these items, one after the other. Write the review that this user writes of each, in the user's own "
    "style."
)
DIALOGUE = (
    "A user purchased these items, one after the other, and rated them. Write the review that this user writes of each, in the "
    "user's own style. A low rating means that the user is not satisfied, and the review says so."
)


def titled(examples: Sequence[Row], config: PromptConfig, encoder: TextEncoder, room: int) -> list[Target | PromptError]:
    """The title, and the rating."""
    chars = config.max_title_chars
    titles = encoder.texts(dict.fromkeys((example["title"], chars) for example in examples))
    marker, response = around_item(config)
    before = encoder.structure(marker)
    return [
        Target(
            [
                *before,
                *titles[example["title"], chars],
                *encoder.structure(f".{rating_field(example['rating'], config)}{response}"),
            ]
        )
        for example in examples
    ]


REVIEW = Task(
    INSTRUCTION,
    INSTRUCTION_WITHOUT_RATING,
    columns=("title", "rating"),
    targets=titled,
    dialogue=Dialogue(DIALOGUE, DIALOGUE_WITHOUT_RATING, purchases=titled),
)
