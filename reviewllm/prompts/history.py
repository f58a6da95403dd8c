"""How a prompt shows a history: as the paper's list, or as a dialogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from reviewllm.prompts.budget import fit_dialogue, fit_history
from reviewllm.prompts.config import PromptConfig
from reviewllm.prompts.tasks.task import REVIEW_FIELD, Dialogue, Row, Target, rating_field
from reviewllm.prompts.tokenizer import CHARS_PER_TOKEN, Ids, Text, TextEncoder

EntryKey = tuple[Any, ...]


class Frame(NamedTuple):
    """What is ours of a prompt, as ids.

    head: before the first item. tail: between an item and its response. following: in a dialogue, between a response with its
    end and the next item. responses_joined: whether a response begins like a word in mid-sentence. instruction_tokens: of the
    head, what stands before reviews by others where these come first.
    """

    head: Ids
    tail: Ids
    following: Ids
    end: int
    responses_joined: bool
    instruction_tokens: int


class Entry(NamedTuple):
    """One history entry as ids: what stands before its review, the review, and what stands after it."""

    before: Ids
    review: Ids
    after: Ids


class Shown(NamedTuple):
    """A history as a prompt shows it: its ids, of how many entries, and whether some of their reviews are shorter."""

    token_ids: Ids
    kept: int
    shortened: bool


def entry_key(entry: Row) -> EntryKey:
    """All that decides how an entry is shown."""
    return entry["title"], entry["review"], entry["rating"], entry.get("category"), entry.get("attributes")


class ListedHistory:
    """The paper's: one numbered list, the rating behind the review."""

    def __init__(self, config: PromptConfig, encoder: TextEncoder) -> None:
        self._config, self._encoder = config, encoder
        self._max_chars = CHARS_PER_TOKEN * config.max_prompt_tokens

    def entries(self, rows: Sequence[Row]) -> list[Entry]:
        """Each entry but for its number."""
        titles = self._config.max_title_chars
        texts: dict[Text, None] = {}
        for row in rows:
            texts[row["title"], titles] = None
            texts[row["review"], self._max_chars] = None
        encoded = self._encoder.texts(texts)
        field = self._encoder.structure(REVIEW_FIELD)
        return [
            Entry(
                before=encoded[row["title"], titles] + field,
                review=encoded[row["review"], self._max_chars],
                after=self._encoder.structure(rating_field(row["rating"], self._config)),
            )
            for row in rows
        ]

    def show(self, entries: Sequence[Entry], *, item: int, room: int, order: Sequence[int] | None = None) -> Shown:
        """The entries that fit beside an item of so many tokens, perhaps with shorter reviews: the newest of them.

        Or of `order`, the places of all entries, the last ones (`selection.wanted`).
        """
        places = range(len(entries)) if order is None else order
        # An entry's number depends on how many are kept; the widest possible one is reserved for each.
        number = max((len(self._number(place)) for place in range(1, len(entries) + 1)), default=0)
        fit = fit_history(
            [number + len(entries[place].before) + len(entries[place].after) for place in places],
            [len(entries[place].review) for place in places],
            budget=room - item,
            min_entries=self._config.min_history,
            block=self._config.history_block if order is None else 1,  # what is selected begins alike by chance alone
        )
        ids: Ids = []
        for position, place in enumerate(sorted(places[len(entries) - fit.kept :]), start=1):
            entry = entries[place]
            ids += self._number(position) + entry.before + entry.review[: fit.review_tokens] + entry.after
        return Shown(ids, fit.kept, fit.review_tokens is not None)

    def _number(self, place: int) -> Ids:
        return self._encoder.structure(f" ({place})")


class DialogueHistory:
    """One purchase after the other, each item as it was when it was the new one, then its review as a response."""

    def __init__(self, config: PromptConfig, encoder: TextEncoder, frame: Frame, dialogue: Dialogue) -> None:
        self._config, self._encoder, self._frame, self._dialogue = config, encoder, frame, dialogue

    def entries(self, rows: Sequence[Row]) -> list[Entry]:
        """Each purchase with its review and what comes before the next.

        Raises:
            InputError: as the task's `Dialogue.purchases`.
        """
        frame, budget = self._frame, self._config.max_prompt_tokens
        room = self._config.tokens_beside_evidence - len(frame.head) - len(frame.tail)
        items = self._dialogue.purchases(rows, self._config, self._encoder, room)
        texts = [(row["review"], CHARS_PER_TOKEN * budget) for row in rows]
        encoded = self._encoder.texts(dict.fromkeys(texts), joined=frame.responses_joined)
        after = [frame.end, *frame.following]
        made = []
        for item, text in zip(items, texts, strict=True):
            assert isinstance(item, Target)  # what cannot be read of a purchase is left out
            made.append(Entry(item.token_ids + frame.tail, encoded[text], after))
        return made

    def show(self, entries: Sequence[Entry], *, item: int, room: int, order: Sequence[int] | None = None) -> Shown:
        """The purchases of the block that an item of so many tokens belongs to."""
        assert order is None, "PromptConfig refuses other selections than the latest"
        fit = fit_dialogue(
            [len(entry.before) + len(entry.after) for entry in entries],
            [len(entry.review) for entry in entries],
            [*(len(entry.before) for entry in entries), item],
            room=room,
            min_entries=self._config.min_history,
        )
        ids: Ids = []
        for place, entry in enumerate(entries[fit.start :], start=fit.start):
            longest = fit.review_tokens if place < fit.cut_before else None
            ids += entry.before + entry.review[:longest] + entry.after
        return Shown(ids, len(entries) - fit.start, fit.review_tokens is not None)
