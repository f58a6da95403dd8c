"""The review of an item that is known by its attributes: it fits them, and states nothing that they do not support.

After the paper's "JSON in, review out", with the user's own history before it where there is one:

    ### The user purchased a new item:
    {"title": "Corvo steel desk lamp", "category": "Desk_Supplies", "power": {"value": 5, "unit": "W"}}
    %Rating: 2.0.
    ### Response:

In the dialogue form every purchase of the history is shown so, with its rating.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from reviewllm.attributes.salience import by_salience
from reviewllm.attributes.serialise import serialise, value_text
from reviewllm.attributes.values import Attributes, Value, read_attributes
from reviewllm.errors import AttributesError, InputError, ProductError, PromptError
from reviewllm.prompts.tasks.task import Dialogue, Row, Target, Task, around_item, rating_field
from reviewllm.prompts.tokenizer import CHARS_PER_TOKEN, Ids, TextEncoder

if TYPE_CHECKING:
    from reviewllm.prompts.config import PromptConfig

_FACTS = "The review fits the new item's attributes, and states nothing about the item that they do not support."
INSTRUCTION = (
    "The input lists items that a user purchased, with the user's review and rating of each, and the attributes of a new "
    "item. Write the review that this user would write of the new item, in the user's own style, or, where no item is "
    f"listed, as any customer would. {_FACTS} A low rating means that the user is not satisfied, and the review says so."
)
INSTRUCTION_WITHOUT_RATING = (
    "The input lists items that a user purchased, with the user's review of each, and the attributes of a new item. Write "
    "the review that this user would write of the new item, in the user's own style, or, where no item is listed, as any "
    f"customer would. {_FACTS}"
)
_DIALOGUE_FACTS = "It fits the item's attributes, and states nothing about the item that they do not support."
DIALOGUE_WITHOUT_RATING = (
    "A user purchased these items, one after the other; their attributes are shown. Write the review that this user writes of "
    f"each, in the user's own style, or, of the first, as any customer would. {_DIALOGUE_FACTS}"
)
DIALOGUE = f"{DIALOGUE_WITHOUT_RATING} A low rating means that the user is not satisfied, and the review says so."

_IDENTITY = ("title", "category")  # of the example; an attribute of such a name would only say them again
_NAME_CHARS = 60

_Key = tuple[str, str, str | None]  # what decides how an item is shown


class _Product(NamedTuple):
    """An item with clean values: its title and category, then its attributes, the most telling first."""

    identity: Attributes
    attributes: Attributes
    given: int

    def first(self, count: int) -> Attributes:
        """Title, category and the first attributes."""
        return {**self.identity, **{name: self.attributes[name] for name in list(self.attributes)[:count]}}


class _Shown(NamedTuple):
    """An item as ids, with as many attributes as there was room for."""

    token_ids: Ids
    kept: int
    given: int


def _targets(examples: Sequence[Row], config: PromptConfig, encoder: TextEncoder, room: int) -> list[Target | PromptError]:
    """The item's attributes as one serialised text, and the rating; the rows of one item share the work."""
    rest = max((len(encoder.structure(_end(rating, config))) for rating in {row["rating"] for row in examples}), default=0)
    marker = encoder.structure(around_item(config)[0])
    budget = min(config.max_attribute_tokens, room - len(marker) - rest)
    shown = _show({_key(example): None for example in examples}, config, encoder, budget)
    targets: list[Target | PromptError] = []
    for example in examples:
        item = shown[_key(example)]
        if isinstance(item, PromptError):
            targets.append(item)
            continue
        ids = [*marker, *item.token_ids, *encoder.structure(_end(example["rating"], config))]
        targets.append(Target(ids, item.kept, item.given))
    return targets


def _purchases(entries: Sequence[Row], config: PromptConfig, encoder: TextEncoder, room: int) -> list[Target | PromptError]:
    """Purchases of a history as they were when they were the new item; attributes that nothing can read are left out.

    Raises:
        InputError: the entries hold no attributes at all.
    """
    if any(entry.get("category") is None for entry in entries):
        raise InputError(
            "--task attributes with --prompt-form dialogue: the histories of the examples hold no attributes; prepare the "
            "examples with --history-attributes, or use --prompt-form paper"
        )
    shown = _targets(entries, config, encoder, room)
    bad = [place for place, target in enumerate(shown) if isinstance(target, PromptError)]
    plain = _targets([{**entries[place], "attributes": None} for place in bad], config, encoder, room)
    for place, target in zip(bad, plain, strict=True):
        shown[place] = target
    return shown


def _key(example: Row) -> _Key:
    return example["title"], example["category"], example["attributes"]


def _end(rating: float | None, config: PromptConfig) -> str:
    """Between the product and the response."""
    field = rating_field(rating, config).strip()
    return (f"\n{field}" if field else "") + around_item(config)[1]


def _show(
    keys: dict[_Key, None], config: PromptConfig, encoder: TextEncoder, budget: int
) -> dict[_Key, _Shown | PromptError]:
    """Every distinct item as ids; the whole ones are encoded together, and only those beyond the budget again."""
    shown: dict[_Key, _Shown | PromptError] = {}
    products: dict[_Key, _Product] = {}
    for key in keys:
        try:
            products[key] = _product(key, config, encoder, budget)
        except AttributesError as error:
            shown[key] = ProductError(str(error))
    texts = [serialise(product.first(len(product.attributes)), config.serialisation) for product in products.values()]
    for (key, product), ids in zip(products.items(), encoder.as_they_stand(texts), strict=True):
        whole = _Shown(ids, len(product.attributes), product.given)
        shown[key] = whole if len(ids) <= budget else _shortened(product, config, encoder, budget)
    return shown


def _shortened(product: _Product, config: PromptConfig, encoder: TextEncoder, budget: int) -> _Shown:
    """The item with as many of its first attributes as fit; title and category stay, whatever they take."""

    def ids(count: int) -> Ids:
        return encoder.as_they_stand([serialise(product.first(count), config.serialisation)])[0]

    counts = range(1, len(product.attributes) + 1)
    kept = bisect.bisect_right(counts, budget, key=lambda count: len(ids(count)))
    return _Shown(ids(kept), kept, product.given)


def _product(key: _Key, config: PromptConfig, encoder: TextEncoder, budget: int) -> _Product:
    """An item made harmless: every text in it is one clean line of bounded length.

    Attributes of which nothing is left, and those that could not fit however they are encoded, are left out here.

    Raises:
        AttributesError: the attributes cannot be read.
    """
    *known, text = key
    clean = [encoder.clean(one or "", max_chars=config.max_title_chars) for one in known]
    identity: Attributes = {name: one for name, one in zip(_IDENTITY, clean, strict=True) if one}
    given = {name: value for name, value in read_attributes(text).items() if name not in _IDENTITY}
    attributes: Attributes = {}
    chars = CHARS_PER_TOKEN * max(budget, 0)
    for name in by_salience(given):
        value = _clean(given[name], encoder, config.max_value_chars)
        clean_name = re.sub(r"\W+", "_", encoder.clean(name, max_chars=_NAME_CHARS)).strip("_")
        if value is None or not clean_name or clean_name in _IDENTITY:
            continue
        chars -= len(value_text(value))
        if chars < 0:
            break
        attributes[clean_name] = value
    return _Product(identity, attributes, len(given))


def _clean(value: Value, encoder: TextEncoder, max_chars: int) -> Value | None:
    """A value whose texts are harmless and, together, at most `max_chars` long; None where nothing is left of it."""
    if isinstance(value, str):
        return encoder.clean(value, max_chars=max_chars) or None
    if isinstance(value, list):
        kept: list[str | int | float | bool | dict[str, float | str]] = []
        for one in value:
            clean = _clean(one, encoder, max_chars) if max_chars > 0 else None
            if clean is not None and not isinstance(clean, list):
                kept.append(clean)
                max_chars -= len(value_text(clean))
        return kept or None
    if isinstance(value, dict):
        unit = encoder.clean(str(value["unit"]), max_chars=max_chars)
        value = {**value, "unit": unit}
    return value if len(value_text(value)) <= max_chars else None


ATTRIBUTES = Task(
    INSTRUCTION,
    INSTRUCTION_WITHOUT_RATING,
    columns=("title", "category", "attributes", "rating"),
    targets=_targets,
    dialogue=Dialogue(DIALOGUE, DIALOGUE_WITHOUT_RATING, purchases=_purchases),
)
