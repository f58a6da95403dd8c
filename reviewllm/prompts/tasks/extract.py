"""The attributes of a product, found in its title and description: no user, no history, and the answer is one JSON object.

    ### Instruction:
    <instruction>
    ### Product:
    Category: Shoes
    Attributes: brand, gender, size
    Title: Diesel Men's Exposure High-Top Sneaker
    Description: ...
    ### Response:
    {"brand":"Diesel","gender":"Men's"}

What is asked for stands in the example's own attributes (`reviewllm.extraction.examples`), so that the row decides the prompt.
Prompts of one category begin alike, and an engine computes that beginning once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reviewllm.attributes.serialise import value_text
from reviewllm.attributes.values import read_attributes
from reviewllm.errors import AttributesError, ProductError, PromptError
from reviewllm.prompts.tasks.task import RESPONSE_MARKER, Row, Target, Task
from reviewllm.prompts.tokenizer import CHARS_PER_TOKEN, TextEncoder

if TYPE_CHECKING:
    from reviewllm.prompts.config import PromptConfig

INSTRUCTION = (
    "Find the values of the product's attributes in its title and description. Answer with one JSON object of attribute to "
    "value, in the order of the list, and leave out every attribute whose value is not stated."
)
PRODUCT_MARKER = "\n### Product:\n"
WANTED = "wanted"
_DESCRIPTION = "description"
_NAME_CHARS = 60


def _targets(examples: Sequence[Row], config: PromptConfig, encoder: TextEncoder, room: int) -> list[Target | PromptError]:
    """Category, wanted attributes, title, and as much of the description as there is room for."""
    targets: list[Target | PromptError] = []
    for example in examples:
        try:
            targets.append(_target(example, config, encoder, room))
        except AttributesError as error:
            targets.append(ProductError(str(error)))
    return targets


def _target(example: Row, config: PromptConfig, encoder: TextEncoder, room: int) -> Target:
    shown = read_attributes(example["attributes"])
    wanted = shown.get(WANTED)
    if not isinstance(wanted, list) or not wanted:
        raise AttributesError(
            f"the example does not say which attributes are to be found ('{WANTED}'); jobs/attributes.py writes examples that do"
        )
    names = [encoder.clean(str(name), max_chars=_NAME_CHARS) for name in wanted]
    category = encoder.clean(example["category"], max_chars=config.max_title_chars)
    head = encoder.structure(f"{PRODUCT_MARKER}Category: {category}\nAttributes: {', '.join(names)}\nTitle:")
    response = encoder.structure(RESPONSE_MARKER)
    field = encoder.structure("\nDescription:")
    chars = CHARS_PER_TOKEN * max(room, 0)
    texts = (example["title"], config.max_title_chars), (value_text(shown.get(_DESCRIPTION, "")), chars)
    encoded = encoder.texts(dict.fromkeys(texts))
    title, description = (encoded[text] for text in texts)
    left = room - len(head) - len(title) - len(field) - len(response)
    described = [*field, *description[:left]] if description and left > 0 else []
    return Target([*head, *title, *described, *response])


EXTRACT = Task(
    INSTRUCTION,
    INSTRUCTION,
    columns=("title", "category", "attributes"),
    targets=_targets,
    response_joined=False,
)
