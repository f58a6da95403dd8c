"""Why an item is recommended to a user, in one sentence, from the user's own reviews.

### Instruction:
<instruction>
### Input:
Items that the user purchased before: (1) <title>. %Review: <review> %Rating: 4.0. (2) ...
### The user is recommended:
<title>
### Response:
<one sentence>

In the dialogue form the user's purchases come with their reviews, as in `review`, and last the recommended item.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reviewllm.errors import PromptError
from reviewllm.prompts.tasks.review import titled
from reviewllm.prompts.tasks.task import Dialogue, Row, Target, Task, around_item
from reviewllm.prompts.tokenizer import TextEncoder

if TYPE_CHECKING:
    from reviewllm.prompts.config import PromptConfig

_ONE = (
    "Say in one short sentence, in the user's own terms, why the recommended item suits this user. State nothing about the item "
    "that its name does not say."
)
INSTRUCTION = f"The input lists items that a user purchased, with the user's review and rating of each. {_ONE}"
INSTRUCTION_WITHOUT_RATING = f"The input lists items that a user purchased, with the user's review of each. {_ONE}"
DIALOGUE = f"A user purchased these items and reviewed them; the last one is recommended to the user. {_ONE}"
MARKER = "\n### The user is recommended:\n"
_RECOMMENDED = "Recommended:"  # before the item of a dialogue


def _targets(examples: Sequence[Row], config: PromptConfig, encoder: TextEncoder, room: int) -> list[Target | PromptError]:
    """The title of the item."""
    chars = config.max_title_chars
    titles = encoder.texts(dict.fromkeys((example["title"], chars) for example in examples))
    marker, response = around_item(config, marker=MARKER)
    before, after = encoder.structure(marker or _RECOMMENDED), encoder.structure(response)
    return [Target([*before, *titles[example["title"], chars], *after]) for example in examples]


REASON = Task(
    INSTRUCTION,
    INSTRUCTION_WITHOUT_RATING,
    columns=("title",),
    targets=_targets,
    dialogue=Dialogue(DIALOGUE, DIALOGUE, purchases=titled),
)
