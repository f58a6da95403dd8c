"""What a user buys next, by the names of what the user bought: PALR's two tasks (arXiv 2305.07622, section 2.2).

    ### Instruction:
    <instruction>
    ### Input:
    The user purchased, oldest first: "Corvo desk lamp", "Alder notebook".
    The user's interests: "office".
    The candidates are: "Birch gel pens", "Corvo stapler".
    Recommend 1 of the candidates.
    ### Response:
    ["Birch gel pens"]

The row decides (its `attributes`, written by `reviewllm.recommend.rows`): with candidates it is the paper's Recommend_Retrieval,
without them Recommend, which ends in "Recommend 10 other items.". Names are unique in the catalogue and without quotation marks
(`reviewllm.recommend.names`). Every candidate is shown or none: where there is no room the oldest purchases go first, and then
the row is refused.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reviewllm.attributes.values import read_attributes
from reviewllm.errors import AttributesError, ProductError, PromptError
from reviewllm.prompts.tasks.task import RESPONSE_MARKER, Row, Target, Task
from reviewllm.prompts.tokenizer import Ids, TextEncoder

if TYPE_CHECKING:
    from reviewllm.prompts.config import PromptConfig

INSTRUCTION = (
    "The input lists the items that a user purchased. Recommend the items that this user will purchase next. Answer with one "
    "JSON list of the names of items, the likeliest first."
)
PURCHASES_MARKER = "\n### Input:\nThe user purchased, oldest first:"
PROFILE_MARKER = "\nThe user's interests:"
CANDIDATES_MARKER = "\nThe candidates are:"
NOTHING = " nothing"
HISTORY_ITEMS = 20  # the paper's limit
_NAME_CHARS = 1000  # names are shorter: cut here they would no longer be unique

CANDIDATES, PROFILE, COUNT = "candidates", "profile", "count"


@dataclass(frozen=True)
class Asked:
    """What a row asks for: `count` names, of the candidates where there are any; `profile` are keywords of the user."""

    candidates: list[str]
    profile: list[str]
    count: int


def read_asked(attributes: str | None) -> Asked:
    """Read a row's `attributes`.

    Raises:
        AttributesError: they are not what `reviewllm.recommend.rows` writes.
    """
    found = read_attributes(attributes)
    count, candidates, profile = found.get(COUNT), found.get(CANDIDATES, []), found.get(PROFILE, [])
    texts = all(isinstance(one, list) and all(isinstance(text, str) for text in one) for one in (candidates, profile))
    if not isinstance(count, int) or isinstance(count, bool) or count < 1 or not texts:
        raise AttributesError(
            f"the example does not say what is to be recommended ('{COUNT}', and lists '{CANDIDATES}' and '{PROFILE}'); "
            "jobs/recommend.py writes examples that do"
        )
    return Asked([str(name) for name in candidates], [str(word) for word in profile], count)  # type: ignore[union-attr]


class Quoted:
    """Names in quotation marks as ids, each encoded once for a batch of rows."""

    def __init__(self, names: Sequence[str], encoder: TextEncoder) -> None:
        distinct = list(dict.fromkeys(names))
        texts = [f' "{encoder.clean(name, max_chars=_NAME_CHARS)}"' for name in distinct]
        self._ids = dict(zip(distinct, encoder.as_they_stand(texts), strict=True))
        self._comma = encoder.structure(",")

    def tokens(self, name: str) -> int:
        """Tokens of a name and the comma before it."""
        return len(self._ids[name]) + len(self._comma)

    def listed(self, names: Sequence[str]) -> Ids:
        """The names in order, with commas between them."""
        ids: Ids = []
        for place, name in enumerate(names):
            ids += self._ids[name] if place == 0 else self._comma + self._ids[name]
        return ids


def purchases(names: Sequence[str], quoted: Quoted, encoder: TextEncoder, room: int) -> tuple[Ids, int]:
    """The section of the purchases with as many of the newest as there is room for, and how many these are.

    Where there is no room for one the newest stands there all the same: the renderer refuses what is too long.
    """
    marker, end = encoder.structure(PURCHASES_MARKER), encoder.structure(".")
    left, kept = room - len(marker) - len(end), 0
    for name in reversed(names[-HISTORY_ITEMS:]):
        left -= quoted.tokens(name)
        if left < 0 and kept:
            break
        kept += 1
    listed = quoted.listed(names[len(names) - kept :]) if kept else encoder.structure(NOTHING)
    return [*marker, *listed, *end], kept


def _targets(examples: Sequence[Row], config: PromptConfig, encoder: TextEncoder, room: int) -> list[Target | PromptError]:
    """Purchases, interests, candidates, and how many items are asked for."""
    asked: list[Asked | PromptError] = []
    names: list[str] = []
    for example in examples:
        try:
            one = read_asked(example["attributes"])
        except AttributesError as error:
            asked.append(ProductError(str(error)))
            continue
        asked.append(one)
        names += [*one.candidates, *one.profile, *(entry["title"] for entry in example["history"])]
    quoted = Quoted(names, encoder)
    return [
        one if isinstance(one, PromptError) else _target(example, one, quoted, encoder, room)
        for example, one in zip(examples, asked, strict=True)
    ]


def _target(example: Row, asked: Asked, quoted: Quoted, encoder: TextEncoder, room: int) -> Target:
    rest: Ids = []
    for marker, names in ((PROFILE_MARKER, asked.profile), (CANDIDATES_MARKER, asked.candidates)):
        if names:
            rest += [*encoder.structure(marker), *quoted.listed(names), *encoder.structure(".")]
    what = "of the candidates" if asked.candidates else "other items"
    rest += encoder.structure(f"\nRecommend {asked.count} {what}.{RESPONSE_MARKER}")
    titles = [entry["title"] for entry in example["history"]]
    shown, kept = purchases(titles, quoted, encoder, room - len(rest))
    return Target([*shown, *rest], history_kept=kept, history_given=len(titles))


def answer_text(names: Sequence[str]) -> str:
    """An answer as a model is to write it.

    >>> answer_text(["Corvo stapler", "Birch gel pens"])
    '["Corvo stapler","Birch gel pens"]'
    """
    return json.dumps(list(names), ensure_ascii=False, separators=(",", ":"))


def _answer_schema(example: Row) -> str | None:
    """A list of as many candidates as are asked for; JSON Schema cannot keep an engine from writing one twice."""
    asked = read_asked(example["attributes"])
    if not asked.candidates:
        return None
    count = min(asked.count, len(asked.candidates))
    items = {"enum": asked.candidates}
    return json.dumps({"type": "array", "items": items, "minItems": count, "maxItems": count}, ensure_ascii=False)


OPENING = '["'  # of every answer


def _choices(example: Row) -> list[str]:
    """How an answer begins that has a candidate first. What ends the name stands there too, or "Lamp" would always be likelier
    than "Lamp XL"; it is what follows in an answer of several names, or of one.
    """
    asked = read_asked(example["attributes"])
    end = '","' if min(asked.count, len(asked.candidates)) > 1 else '"]'
    return [f"{answer_text([name])[:-2]}{end}" for name in asked.candidates]


RECOMMEND = Task(
    INSTRUCTION,
    INSTRUCTION,
    columns=("attributes",),
    targets=_targets,
    response_joined=False,
    answer_schema=_answer_schema,
    choices=_choices,
)
