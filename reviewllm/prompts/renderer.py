"""Example -> token ids, in one of two forms. The paper's has the four parts of Review-LLM (section 2.2 and figure 1):

    ### Instruction:
    <instruction>
    ### Input:
    Items that the user purchased before: (1) <title>. %Review: <review> %Rating: 4.0. (2) ...
    ### The user purchased a new item:
    <title>. %Rating: 2.0.
    ### Response:
    <review><end of text>

A dialogue shows every purchase as the new one is shown, its review behind it as it is learned:

    ### Instruction:
    <instruction>
    ### Item:
    <title>. %Rating: 4.0.
    ### Response:
    <review><end of text>
    ### Item:
    <title>. %Rating: 2.0.
    ### Response:
    <review><end of text>

Structure and user text are tokenised apart and joined as ids, so that user text can never merge into a marker or become
a special token, and so that the history of a user's earlier purchase is, id for id, a prefix of that of a later one. What
stands there of the new item, and the instruction, are the task's (`reviewllm.prompts.tasks`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from reviewllm.errors import PromptError
from reviewllm.prompts.budget import fit_dialogue, fit_history
from reviewllm.prompts.chat import ChatFrame, prompt_frame
from reviewllm.prompts.config import PromptConfig
from reviewllm.prompts.tasks import TASKS
from reviewllm.prompts.tasks.task import (
    HISTORY_MARKER,
    INSTRUCTION_MARKER,
    ITEM_MARKER,
    RESPONSE_MARKER,
    REVIEW_FIELD,
    Dialogue,
    Row,
    Target,
    rating_field,
)
from reviewllm.prompts.tokenizer import CHARS_PER_TOKEN, Ids, Text, TextEncoder


class Prompt(NamedTuple):
    """A rendered prompt: its token ids, and how many entries and attributes of how many it shows.

    The attributes are None for a task that shows none.
    """

    token_ids: Ids
    history_kept: int
    history_given: int
    reviews_shortened: bool
    attributes_kept: int | None = None
    attributes_given: int | None = None


class PromptRenderer:
    """Renders examples for one tokenizer and one configuration.

    Holds no state between calls; equal examples give equal ids. `end` is the id that ends a response.
    """

    def __init__(self, tokenizer: Any, config: PromptConfig) -> None:
        """Take a Hugging Face tokenizer (`transformers`, with a fast backend).

        Raises:
            ConfigError: the tokenizer has no fast backend, no end-of-sequence token, or no chat template that serves where one
                is to be used.
        """
        self.config = config
        self._encoder = TextEncoder(tokenizer)
        self._task = TASKS[config.task]
        self._dialogue = self._task.dialogue if config.is_dialogue else None
        self._max_chars = CHARS_PER_TOKEN * config.max_prompt_tokens
        self.end, self._responses_joined = self._encoder.eos, self._task.response_joined
        # What stands before the first item, between an item and its response, and in a dialogue before each further item.
        self._head, self._tail, self._following = Ids(), Ids(), Ids()
        frame = prompt_frame(tokenizer, config)
        if frame is None:
            self._use_markers()
        else:
            self._use_template(frame)

    def _use_markers(self) -> None:
        self._head = self._encoder.bos + self._encoder.structure(self._opening() + (ITEM_MARKER if self._dialogue else ""))
        if self._dialogue:
            self._tail = self._encoder.structure(RESPONSE_MARKER)
            self._following = self._encoder.structure(ITEM_MARKER)

    def _use_template(self, frame: ChatFrame) -> None:
        """Put the template around the prompt; it brings its own BOS, where the base wants one there."""
        opening = frame.before.rstrip(" ")  # a space there belongs to the word that follows, for tokenizers
        head = f"{self.config.instruction()}\n\n" if self._dialogue else self._opening()
        self._head = self._encoder.opening(opening) + self._encoder.structure(frame.before[len(opening) :] + head)
        following = (frame.following or "").rstrip(" ")
        self._tail, self._following = self._encoder.as_they_stand([frame.after, following], special=True)
        self.end = frame.end
        self._responses_joined &= not frame.after[-1:].isspace()

    def _opening(self) -> str:
        """The instruction, and in the paper's form the marker of the history where the task shows one."""
        has_history = self._task.dialogue is not None and self._dialogue is None
        return INSTRUCTION_MARKER + self.config.instruction() + (HISTORY_MARKER if has_history else "")

    def render(self, examples: Sequence[Row]) -> list[Prompt | PromptError]:
        """Render rows of the examples table, in order.

        Reads the task's columns, and history where the task shows it. A row that cannot be rendered gives its PromptError in
        its place.

        Raises:
            InputError: a dialogue is to show the attributes of past purchases, and the histories hold none.
        """
        entry_of = self._entries(examples)
        room = self.config.max_prompt_tokens - len(self._head) - len(self._tail)
        targets = self._task.targets(examples, self.config, self._encoder, room)
        return [
            target if isinstance(target, PromptError) else self._render_one(self._history(example), target, entry_of)
            for example, target in zip(examples, targets, strict=True)
        ]

    def render_responses(self, reviews: Sequence[str], *, max_tokens: int) -> list[Ids]:
        """Token ids that the model is to write for each review: its text as prompts show reviews, then the end token.

        A longer one is cut to `max_tokens` and has no end token: the model must not learn to stop in mid-sentence.
        """
        max_chars = CHARS_PER_TOKEN * max_tokens
        distinct = dict.fromkeys((review, max_chars) for review in reviews)
        encoded = self._encoder.texts(distinct, joined=self._responses_joined)
        return [[*encoded[review, max_chars], self.end][:max_tokens] for review in reviews]

    def response_bytes(self, review: str, *, max_tokens: int) -> int:
        """UTF-8 bytes of the text that `render_responses` gives the ids of; those of the end token are none."""
        text = (review, CHARS_PER_TOKEN * max_tokens)
        return self._encoder.utf8_bytes(text, tokens=max_tokens, joined=self._responses_joined)

    def render_choices(self, examples: Sequence[Row]) -> list[list[Ids]]:
        """Token ids of the beginnings of answers that each row offers, as training shows them; none where it offers none.

        Reads the task's columns.
        """
        texts = [self._task.choices(example) if self._task.choices else [] for example in examples]
        distinct = dict.fromkeys((text, self._max_chars) for several in texts for text in several)
        encoded = self._encoder.texts(distinct, joined=self._responses_joined)
        return [[encoded[text, self._max_chars] for text in several] for several in texts]

    def _history(self, example: Row) -> Sequence[Row]:
        return example["history"] if self._task.dialogue else ()

    def _entries(self, examples: Sequence[Row]) -> Callable[[Row], _Entry]:
        """What each entry of the histories is in a prompt; rows of one user share most of theirs, so each is made once."""
        rows = {_key(entry): entry for example in examples for entry in self._history(example)}
        made = self._purchases(rows, self._dialogue) if self._dialogue else self._listed(rows)
        return lambda entry: made[_key(entry)]

    def _listed(self, rows: Mapping[_Key, Row]) -> dict[_Key, _Entry]:
        """Entries of the paper's list, of which the number is left to be put before each."""
        titles = self.config.max_title_chars
        texts: dict[Text, None] = {}
        for row in rows.values():
            texts[row["title"], titles] = None
            texts[row["review"], self._max_chars] = None
        encoded = self._encoder.texts(texts)
        field = self._encoder.structure(REVIEW_FIELD)
        return {
            key: _Entry(
                before=encoded[row["title"], titles] + field,
                review=encoded[row["review"], self._max_chars],
                after=self._encoder.structure(rating_field(row["rating"], self.config)),
            )
            for key, row in rows.items()
        }

    def _purchases(self, rows: Mapping[_Key, Row], dialogue: Dialogue) -> dict[_Key, _Entry]:
        """Entries of a dialogue: the item as it was when it was the new one, then its review as a response."""
        room = self.config.max_prompt_tokens - len(self._head) - len(self._tail)
        items = dialogue.purchases(list(rows.values()), self.config, self._encoder, room)
        reviews = dict.fromkeys((row["review"], self._max_chars) for row in rows.values())
        encoded = self._encoder.texts(reviews, joined=self._responses_joined)
        made = {}
        for (key, row), item in zip(rows.items(), items, strict=True):
            assert isinstance(item, Target)  # what cannot be read of a purchase is left out
            made[key] = _Entry(
                before=item.token_ids + self._tail,
                review=encoded[row["review"], self._max_chars],
                after=[self.end, *self._following],
            )
        return made

    def _render_one(self, history: Sequence[Row], target: Target, entry_of: Callable[[Row], _Entry]) -> Prompt | PromptError:
        fixed = len(self._head) + len(target.token_ids) + len(self._tail)
        budget = self.config.max_prompt_tokens - fixed
        if budget < 0:
            return PromptError(
                f"instruction and target take {fixed} tokens, more than --max-prompt-tokens {self.config.max_prompt_tokens}"
            )
        entries = [entry_of(entry) for entry in history]
        if self._dialogue:
            entries, shortened = self._shown(entries, target)
            shown = [token for entry in entries for token in entry.before + entry.review + entry.after]
        else:
            entries, shortened = self._fitted(entries, budget)
            shown = [
                token
                for place, entry in enumerate(entries, start=1)
                for token in self._encoder.structure(f" ({place})") + entry.before + entry.review + entry.after
            ]
        return Prompt(
            self._head + shown + target.token_ids + self._tail,
            len(entries) + target.history_kept,
            len(history) + target.history_given,
            shortened,
            target.attributes_kept,
            target.attributes_given,
        )

    def _fitted(self, entries: Sequence[_Entry], budget: int) -> tuple[list[_Entry], bool]:
        """The newest entries of a list that fit, perhaps with shorter reviews, and whether these are."""
        # An entry's number depends on how many are kept; the widest possible one is reserved for each.
        number = max((len(self._encoder.structure(f" ({place})")) for place in range(1, len(entries) + 1)), default=0)
        fit = fit_history(
            [number + len(entry.before) + len(entry.after) for entry in entries],
            [len(entry.review) for entry in entries],
            budget=budget,
            min_entries=self.config.min_history,
            block=self.config.history_block,
        )
        kept = entries[len(entries) - fit.kept :]
        return [entry._replace(review=entry.review[: fit.review_tokens]) for entry in kept], fit.review_tokens is not None

    def _shown(self, entries: Sequence[_Entry], target: Target) -> tuple[list[_Entry], bool]:
        """The purchases that a dialogue shows before the new item, and whether some of their reviews are shorter."""
        fit = fit_dialogue(
            [len(entry.before) + len(entry.after) for entry in entries],
            [len(entry.review) for entry in entries],
            [*(len(entry.before) for entry in entries), len(target.token_ids) + len(self._tail)],
            room=self.config.max_prompt_tokens - len(self._head),
            min_entries=self.config.min_history,
        )
        cut = [entry._replace(review=entry.review[: fit.review_tokens]) for entry in entries[fit.start : fit.cut_before]]
        return [*cut, *entries[max(fit.start, fit.cut_before) :]], fit.review_tokens is not None


_Key = tuple[Any, ...]


def _key(entry: Row) -> _Key:
    """All that decides how an entry is shown."""
    return entry["title"], entry["review"], entry["rating"], entry.get("category"), entry.get("attributes")


class _Entry(NamedTuple):
    """One history entry as ids: what stands before its review, the review, and what stands after it."""

    before: Ids
    review: Ids
    after: Ids
