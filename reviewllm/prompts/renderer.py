"""Example -> token ids, in the four parts of Review-LLM (section 2.2 and figure 1).

    ### Instruction:
    <instruction>
    ### Input:
    Items that the user purchased before: (1) <title>. %Review: <review> %Rating: 4.0. (2) ...
    ### The user purchased a new item:
    <title>. %Rating: 2.0.
    ### Response:
    <review><end of text>

Structure and user text are tokenised apart and joined as ids, so that user text can never merge into a marker or become
a special token, and so that the history of a user's earlier purchase is, id for id, a prefix of that of a later one. What
stands there of the new item, and the instruction, are the task's (`reviewllm.prompts.tasks`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from reviewllm.errors import PromptError
from reviewllm.prompts.budget import fit_history
from reviewllm.prompts.chat import chat_frame
from reviewllm.prompts.config import PromptConfig
from reviewllm.prompts.tasks import TASKS
from reviewllm.prompts.tasks.task import HISTORY_MARKER, INSTRUCTION_MARKER, RATING_FIELD, REVIEW_FIELD, Row, Target
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
            ConfigError: the tokenizer has no fast backend, no end-of-sequence token, or no chat template where one is to be
                used.
        """
        self.config = config
        self._encoder = TextEncoder(tokenizer)
        self._task = TASKS[config.task]
        self._max_chars = CHARS_PER_TOKEN * config.max_prompt_tokens
        head = INSTRUCTION_MARKER + config.instruction() + (HISTORY_MARKER if self._task.history else "")
        self._head, self._tail = self._encoder.bos + self._encoder.structure(head), Ids()
        self.end, self._responses_joined = self._encoder.eos, self._task.response_joined
        if config.chat_template:
            self._use_template(tokenizer, head)

    def _use_template(self, tokenizer: Any, head: str) -> None:
        """Put the template around the prompt; it brings its own BOS, where the base wants one there."""
        frame = chat_frame(tokenizer)
        opening = frame.before.rstrip(" ")  # a space there belongs to the word that follows, for tokenizers
        self._head = self._encoder.opening(opening) + self._encoder.structure(frame.before[len(opening) :] + head)
        (self._tail,) = self._encoder.as_they_stand([frame.after], special=True)
        self.end = frame.end
        self._responses_joined &= not frame.after[-1:].isspace()

    def render(self, examples: Sequence[Row]) -> list[Prompt | PromptError]:
        """Render rows of the examples table, in order.

        Reads the task's columns, and history where the task shows it. A row that cannot be rendered gives its PromptError in
        its place.
        """
        encoded = self._encoder.texts(self._history_texts(examples)).__getitem__
        known: dict[tuple[str, str, float], _Entry] = {}  # rows of one user share most of their history

        def entry(row: Row) -> _Entry:
            key = row["title"], row["review"], row["rating"]
            if key not in known:
                known[key] = self._entry(row, encoded)
            return known[key]

        room = self.config.max_prompt_tokens - len(self._head) - len(self._tail)
        targets = self._task.targets(examples, self.config, self._encoder, room)
        return [
            target if isinstance(target, PromptError) else self._render_one(self._history(example), target, entry)
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
        return example["history"] if self._task.history else ()

    def _history_texts(self, examples: Sequence[Row]) -> Iterable[Text]:
        """Every distinct piece of user text in the histories, with the characters that it may have."""
        titles = self.config.max_title_chars
        texts: dict[Text, None] = {}
        for example in examples:
            for entry in self._history(example):
                texts[entry["title"], titles] = None
                texts[entry["review"], self._max_chars] = None
        return texts

    def _render_one(self, history: Sequence[Row], target: Target, entry_of: Callable[[Row], _Entry]) -> Prompt | PromptError:
        fixed = len(self._head) + len(target.token_ids) + len(self._tail)
        budget = self.config.max_prompt_tokens - fixed
        if budget < 0:
            return PromptError(
                f"instruction and target take {fixed} tokens, more than --max-prompt-tokens {self.config.max_prompt_tokens}"
            )
        entries = [entry_of(entry) for entry in history]
        # An entry's number depends on how many are kept; the widest possible one is reserved for each.
        number = max((len(self._encoder.structure(f" ({place})")) for place in range(1, len(entries) + 1)), default=0)
        fit = fit_history(
            [number + len(entry.before) + len(entry.after) for entry in entries],
            [len(entry.review) for entry in entries],
            budget=budget,
            min_entries=self.config.min_history,
            block=self.config.history_block,
        )
        ids = list(self._head)
        for place, entry in enumerate(entries[len(entries) - fit.kept :], start=1):
            ids += self._encoder.structure(f" ({place})")
            ids += entry.before + entry.review[: fit.review_tokens] + entry.after
        ids += target.token_ids + self._tail
        return Prompt(
            ids,
            fit.kept + target.history_kept,
            len(entries) + target.history_given,
            fit.review_tokens is not None,
            target.attributes_kept,
            target.attributes_given,
        )

    def _entry(self, entry: Row, encoded: Callable[[Text], Ids]) -> _Entry:
        return _Entry(
            before=encoded((entry["title"], self.config.max_title_chars)) + self._encoder.structure(REVIEW_FIELD),
            review=encoded((entry["review"], self._max_chars)),
            after=self._encoder.structure(RATING_FIELD.format(entry["rating"]) if self.config.rating else ""),
        )


class _Entry(NamedTuple):
    """One history entry as ids: what stands before its review, the review, and what stands after it."""

    before: Ids
    review: Ids
    after: Ids
