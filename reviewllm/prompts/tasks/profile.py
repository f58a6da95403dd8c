"""What a user likes, in keywords, by the names of what the user bought (PALR, section 2.1).

### Instruction:
<instruction>
### Input:
The user purchased, oldest first: "Corvo desk lamp", "Alder notebook".
### Response:
["office","writing"]
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reviewllm.errors import PromptError
from reviewllm.prompts.tasks.recommend import Quoted, purchases
from reviewllm.prompts.tasks.task import RESPONSE_MARKER, Row, Target, Task
from reviewllm.prompts.tokenizer import TextEncoder

if TYPE_CHECKING:
    from reviewllm.prompts.config import PromptConfig

MAX_KEYWORDS, MAX_KEYWORD_CHARS = 8, 40
INSTRUCTION = (
    "The input lists the items that a user purchased. Name what this user likes in a few keywords, as kinds of products, brands, "
    f"styles and uses. Answer with one JSON list of at most {MAX_KEYWORDS} keywords, the strongest interest first."
)
_SCHEMA = json.dumps(
    {
        "type": "array",
        "items": {"type": "string", "minLength": 2, "maxLength": MAX_KEYWORD_CHARS},
        "minItems": 1,
        "maxItems": MAX_KEYWORDS,
    }
)


def _targets(examples: Sequence[Row], config: PromptConfig, encoder: TextEncoder, room: int) -> list[Target | PromptError]:
    """The names of the purchases."""
    titles = [[entry["title"] for entry in example["history"]] for example in examples]
    quoted = Quoted([title for several in titles for title in several], encoder)
    response = encoder.structure(RESPONSE_MARKER)
    targets: list[Target | PromptError] = []
    for names in titles:
        shown, kept = purchases(names, quoted, encoder, room - len(response))
        targets.append(Target([*shown, *response], history_kept=kept, history_given=len(names)))
    return targets


PROFILE = Task(
    INSTRUCTION,
    INSTRUCTION,
    columns=(),
    targets=_targets,
    response_joined=False,
    answer_schema=lambda example: _SCHEMA,
)
