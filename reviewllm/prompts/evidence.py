"""How a prompt shows reviews by others: a section for those of the item, and one for those of its category by neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from reviewllm.errors import InputError
from reviewllm.prompts.budget import fit_evidence
from reviewllm.prompts.config import PromptConfig
from reviewllm.prompts.history import Entry
from reviewllm.prompts.tasks.task import (
    EVIDENCE_MARKERS,
    ITEM_ITSELF_MARKER,
    ITEM_MARKER,
    OTHERS_REVIEW_FIELD,
    REVIEW_FIELD,
    Row,
    rating_field,
)
from reviewllm.prompts.tokenizer import CHARS_PER_TOKEN, Ids, TextEncoder
from reviewllm.tables import EVIDENCE_COLUMNS


class _Other(NamedTuple):
    """A review by another as ids, with its stars."""

    entry: Entry
    rating: float


class EvidenceSections:
    """Renders what others wrote, as `PromptConfig.evidence` asks for it; nothing where an example has none.

    With ratings those nearest to the user's own rating come first, and of equals those that the example has first; without, all
    as the example has them, so that nothing tells of the rating. There is room for as many as `fit_evidence` finds.
    """

    def __init__(self, config: PromptConfig, encoder: TextEncoder, *, item_marked: bool) -> None:
        """Take the configuration; `item_marked` says whether what follows the sections brings a marker of its own."""
        self._config, self._encoder = config, encoder
        self._columns = EVIDENCE_COLUMNS[config.evidence]
        self._inside = inside = config.is_dialogue and not item_marked  # in a turn that has begun, at the start of a line
        first = config.evidence_place == "first"
        self._after = encoder.structure((ITEM_MARKER if first else ITEM_ITSELF_MARKER) if inside else "")

    def render(self, examples: Sequence[Row]) -> list[Ids]:
        """The sections of each example.

        Reads rating and the columns that are asked for.

        Raises:
            InputError: the examples were prepared without them.
        """
        if not self._columns:
            return [[] for _ in examples]
        self._check(examples)
        chars = CHARS_PER_TOKEN * self._config.max_evidence_tokens
        shown = [one for example in examples for name in self._columns for one in example[name]]
        texts = dict.fromkeys((one["review"], chars) for one in shown)
        titles = dict.fromkeys((one["title"], self._config.max_title_chars) for one in shown)
        encoded = self._encoder.texts(texts | titles)
        return [self._of_example(example, encoded) for example in examples]

    def _check(self, examples: Sequence[Row]) -> None:
        for name in self._columns:
            if any(example.get(name) is None for example in examples):
                asked = self._config.evidence
                raise InputError(
                    f"--evidence {asked}: the examples hold no such reviews by others ({name} is null); prepare the examples with "
                    f"--evidence {asked}, or leave the option out"
                )

    def _of_example(self, example: Row, encoded: dict[Any, Ids]) -> Ids:
        """The item's section has what the neighbours' leaves, and that at most half of the room."""
        others = {name: self._others(name, example, encoded) for name in self._columns if example[name]}
        room = self._config.max_evidence_tokens - len(self._after)
        sections: dict[str, Ids] = {}
        for name in reversed(list(others)):
            share = room // 2 if len(others) > len(sections) + 1 else room
            marker = EVIDENCE_MARKERS[name]
            begins_turn = self._inside and name == next(iter(others))
            sections[name] = self._section(marker.lstrip("\n") if begins_turn else marker, others[name], share)
            room -= len(sections[name])
        ids: Ids = []
        for name in others:
            ids += sections[name]
        return ids + self._after if ids else []

    def _others(self, name: str, example: Row, encoded: dict[Any, Ids]) -> list[_Other]:
        config, structure = self._config, self._encoder.structure
        chars = CHARS_PER_TOKEN * config.max_evidence_tokens
        others = [
            _Other(
                Entry(
                    before=structure(OTHERS_REVIEW_FIELD)
                    if name == "item_evidence"
                    else encoded[one["title"], config.max_title_chars] + structure(REVIEW_FIELD),
                    review=encoded[one["review"], chars],
                    after=structure(rating_field(one["rating"], config)),
                ),
                one["rating"],
            )
            for one in example[name]
        ]
        return sorted(others, key=lambda other: abs(other.rating - example["rating"])) if config.rating else others

    def _section(self, marker: str, others: Sequence[_Other], room: int) -> Ids:
        """The first of the reviews that have room, numbered, behind their marker."""
        head = self._encoder.structure(marker)
        numbers = [self._encoder.structure(f" ({place})") for place in range(1, len(others) + 1)]
        frames = [
            len(number) + len(one.entry.before) + len(one.entry.after) for number, one in zip(numbers, others, strict=True)
        ]
        fit = fit_evidence(frames, [len(one.entry.review) for one in others], budget=room - len(head))
        ids: Ids = []
        for number, (entry, _) in zip(numbers, others[: fit.kept], strict=False):
            ids += number + entry.before + entry.review[: fit.review_tokens] + entry.after
        return head + ids if ids else []
