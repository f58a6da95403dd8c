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

Reviews by others (`--evidence`) stand between the history and the new item, in either form:

    ### The new item in other customers' reviews: (1) %Review: <review> %Rating: 4.0. (2) ...

Structure and user text are tokenised apart and joined as ids, so that user text can never merge into a marker or become
a special token, and so that the history of a user's earlier purchase is, id for id, a prefix of that of a later one. What
stands there of the new item, and the instruction, are the task's (`reviewllm.prompts.tasks`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from reviewllm.errors import PromptError
from reviewllm.prompts.chat import ChatFrame, prompt_frame
from reviewllm.prompts.config import PromptConfig
from reviewllm.prompts.evidence import EvidenceSections
from reviewllm.prompts.history import DialogueHistory, Entry, Frame, ListedHistory, entry_key
from reviewllm.prompts.selection import wanted
from reviewllm.prompts.tasks import TASKS
from reviewllm.prompts.tasks.task import HISTORY_MARKER, INSTRUCTION_MARKER, ITEM_MARKER, RESPONSE_MARKER, Row, Target
from reviewllm.prompts.tokenizer import CHARS_PER_TOKEN, Ids, TextEncoder
from reviewllm.prompts.user_facts import facts_ids, user_facts


class Prompt(NamedTuple):
    """A rendered prompt: its token ids, and how many entries and attributes of how many it shows.

    The attributes are None for a task that shows none. `evidence_tokens` are those of reviews by others.
    """

    token_ids: Ids
    history_kept: int
    history_given: int
    reviews_shortened: bool
    attributes_kept: int | None = None
    attributes_given: int | None = None
    evidence_tokens: int = 0


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
        self._is_first = config.evidence != "none" and config.evidence_place == "first"
        template = prompt_frame(tokenizer, config)
        self._frame = self._of_template(template) if template else self._of_markers()
        self._history = (
            DialogueHistory(config, self._encoder, self._frame, self._dialogue)
            if self._dialogue
            else ListedHistory(config, self._encoder)
        )
        item_marked = self._frame.instruction_tokens < len(self._frame.head)
        self._evidence = EvidenceSections(config, self._encoder, item_marked=item_marked)
        self._head, self.end = self._frame.head, self._frame.end

    def _of_markers(self) -> Frame:
        structure, marker = self._encoder.structure, ITEM_MARKER if self._dialogue else ""
        head, instruction_tokens = self._head_of(self._encoder.bos, "", marker)
        return Frame(
            head=head,
            tail=structure(RESPONSE_MARKER if self._dialogue else ""),
            following=structure(marker),
            end=self._encoder.eos,
            responses_joined=self._task.response_joined,
            instruction_tokens=instruction_tokens,
        )

    def _of_template(self, template: ChatFrame) -> Frame:
        """The template around the prompt; it brings its own BOS, where the base wants one there."""
        opening = template.before.rstrip(" ")  # a space there belongs to the word that follows, for tokenizers
        parts = [template.after, (template.following or "").rstrip(" ")]
        tail, following = self._encoder.as_they_stand(parts, special=True)
        head, instruction_tokens = self._head_of(self._encoder.opening(opening), template.before[len(opening) :], "")
        return Frame(
            head=head,
            tail=tail,
            following=following,
            end=template.end,
            responses_joined=self._task.response_joined and not template.after[-1:].isspace(),
            instruction_tokens=instruction_tokens,
        )

    def _head_of(self, start: Ids, before: str, item_marker: str) -> tuple[Ids, int]:
        """What stands before the history, the instruction first, and how much of that is not after reviews that come first."""
        config, structure = self.config, self._encoder.structure
        if self._dialogue and config.chat_template:
            text, marker = f"{before}{config.instruction()}\n\n", ""
        else:
            has_list = self._task.dialogue is not None and self._dialogue is None
            text, marker = before + INSTRUCTION_MARKER + config.instruction(), HISTORY_MARKER if has_list else item_marker
        if not self._is_first:
            whole = start + structure(text + marker)
            return whole, len(whole)
        instruction = start + structure(text)
        return instruction + structure(marker), len(instruction)

    def render(self, examples: Sequence[Row]) -> list[Prompt | PromptError]:
        """Render rows of the examples table, in order.

        Reads the task's columns, history where the task shows it, and evidence where it is asked for. A row that cannot be rendered
        gives its PromptError in its place.

        Raises:
            InputError: a dialogue is to show the attributes of past purchases, or a prompt reviews by others, and the examples
                hold none.
        """
        histories = [example["history"] if self._task.dialogue else [] for example in examples]
        # The rows of one user share most of their entries, so each is made once.
        rows = {entry_key(entry): entry for history in histories for entry in history}
        entries = dict(zip(rows, self._history.entries(list(rows.values())), strict=True))
        room = self.config.tokens_beside_evidence - len(self._frame.head) - len(self._frame.tail)
        targets = self._task.targets(examples, self.config, self._encoder, room)
        others = self._evidence.render(examples)
        if self.config.has_user_facts:
            targets = self._with_facts(targets, examples, room)
        return [
            target
            if isinstance(target, PromptError)
            else self._render_one([entries[entry_key(e)] for e in history], target, self._order(history, example), evidence)
            for example, history, target, evidence in zip(examples, histories, targets, others, strict=True)
        ]

    def _with_facts(
        self, targets: Sequence[Target | PromptError], examples: Sequence[Row], room: int
    ) -> list[Target | PromptError]:
        """The targets behind what sets their users apart; without, where there is nothing to say or no room for it."""
        found = [user_facts(one["history"], one["title"], ratings=self.config.rating) for one in examples]
        facts = facts_ids(found, self._encoder, is_dialogue=self.config.is_dialogue)
        return [
            target
            if isinstance(target, PromptError) or len(ids) + len(target.token_ids) > room
            else target._replace(token_ids=ids + target.token_ids)
            for target, ids in zip(targets, facts, strict=True)
        ]

    def _order(self, history: Sequence[Row], example: Row) -> list[int] | None:
        """Which entries are to be left out first; None for the oldest."""
        selection = self.config.selection
        return None if selection == "latest" else wanted(selection, history, example, ratings=self.config.rating)

    def render_responses(self, reviews: Sequence[str], *, max_tokens: int) -> list[Ids]:
        """Token ids that the model is to write for each review: its text as prompts show reviews, then the end token.

        A longer one is cut to `max_tokens` and has no end token: the model must not learn to stop in mid-sentence.
        """
        max_chars = CHARS_PER_TOKEN * max_tokens
        distinct = dict.fromkeys((review, max_chars) for review in reviews)
        encoded = self._encoder.texts(distinct, joined=self._frame.responses_joined)
        return [[*encoded[review, max_chars], self.end][:max_tokens] for review in reviews]

    def response_bytes(self, review: str, *, max_tokens: int) -> int:
        """UTF-8 bytes of the text that `render_responses` gives the ids of; those of the end token are none."""
        text = (review, CHARS_PER_TOKEN * max_tokens)
        return self._encoder.utf8_bytes(text, tokens=max_tokens, joined=self._frame.responses_joined)

    def render_choices(self, examples: Sequence[Row]) -> list[list[Ids]]:
        """Token ids of the beginnings of answers that each row offers, as training shows them; none where it offers none.

        Reads the task's columns.
        """
        texts = [self._task.choices(example) if self._task.choices else [] for example in examples]
        max_chars = CHARS_PER_TOKEN * self.config.max_prompt_tokens
        distinct = dict.fromkeys((text, max_chars) for several in texts for text in several)
        encoded = self._encoder.texts(distinct, joined=self._frame.responses_joined)
        return [[encoded[text, max_chars] for text in several] for several in texts]

    def _render_one(
        self, history: Sequence[Entry], target: Target, order: Sequence[int] | None, evidence: Ids
    ) -> Prompt | PromptError:
        frame, budget = self._frame, self.config.tokens_beside_evidence
        item, room = len(target.token_ids) + len(frame.tail), budget - len(frame.head)
        if item > room:
            beside = (
                "" if self.config.evidence == "none" else f" less --max-evidence-tokens {self.config.max_evidence_tokens}"
            )
            return PromptError(
                f"instruction and target take {len(frame.head) + item} tokens, more than --max-prompt-tokens "
                f"{self.config.max_prompt_tokens}{beside}"
            )
        shown = self._history.show(history, item=item, room=room, order=order)
        parts = [frame.head, shown.token_ids, evidence]
        if self._is_first:
            at = frame.instruction_tokens
            parts = [frame.head[:at], evidence, frame.head[at:], shown.token_ids]
        return Prompt(
            [*itertools.chain(*parts), *target.token_ids, *frame.tail],
            shown.kept + target.history_kept,
            len(history) + target.history_given,
            shown.shortened,
            target.attributes_kept,
            target.attributes_given,
            len(evidence),
        )
