"""What decides a prompt, apart from the example and the tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from reviewllm.attributes.serialise import Serialisation
from reviewllm.config import StageConfig
from reviewllm.errors import ConfigError
from reviewllm.prompts.selection import Selection
from reviewllm.prompts.tasks import TASKS, TaskName
from reviewllm.tables import EvidenceKind
from reviewllm.texts import is_blank

PROMPT_VERSION = "5"  # part of every run's fingerprint: raise it with any change of what is rendered

PromptForm = Literal["paper", "dialogue"]

EvidencePlace = Literal["after-history", "first"]

_OTHERS = (
    " Where other customers' reviews are listed, they tell what items are like; the review is in the user's own words, not in "
    "theirs."
)
_OF_EVIDENCE = ("evidence", "max_evidence_tokens", "evidence_place")
_OF_ATTRIBUTES = ("serialisation", "max_attribute_tokens", "max_value_chars")


class PromptConfig(StageConfig):
    """What decides a prompt, apart from the example and the tokenizer."""

    task: TaskName = Field(
        "review",
        description="what of the new item a prompt shows: its title, or its attributes, which the review must fit; "
        "extract (jobs/attributes.py) asks what attributes its title and description state; recommend, profile and reason "
        "(jobs/recommend.py) what a user buys next, what the user likes, and why an item is recommended",
    )
    prompt_form: PromptForm = Field(
        "paper",
        description="paper: the history is one list; dialogue: one purchase after the other, each with its review behind it, so "
        "that training learns all of a user's reviews in one pass and later prompts begin as earlier ones; where reviews are shown",
    )
    rating: bool = Field(True, description="show ratings; --no-rating leaves every rating out (the paper's ablation)")
    instruction_file: Path | None = Field(None, description="text file that replaces the instruction")
    chat_template: bool = Field(
        False,
        description="wrap prompts in the base's own chat template, as one turn of the user (in a dialogue one for each purchase): "
        "for instruction-tuned bases",
    )
    max_prompt_tokens: int = Field(1536, ge=64, description="token budget of a prompt")
    min_history: int = Field(4, ge=1, description="newest history entries that are kept, shortened, before one is dropped")
    history_block: int = Field(
        4,
        ge=1,
        description="oldest history entries that are dropped together, but for dialogues: prompts of one user then begin alike",
    )
    evidence: EvidenceKind = Field(
        "none",
        description="show earlier reviews by others, which the examples carry (prepare --evidence): of the item, of its category "
        "by users who bought alike, or both; for --task review and attributes",
    )
    max_evidence_tokens: int = Field(
        384,
        ge=32,
        description="with --evidence: tokens of a prompt that are kept for reviews by others; history and item have the rest",
    )
    evidence_place: EvidencePlace = Field(
        "after-history",
        description="reviews by others behind the history, where a user's prompts begin alike, or first, where those of an item do",
    )
    history_selection: Selection = Field(
        "latest",
        description="which reviews of a history that is too long are shown, in order of time: the latest, those of items and stars "
        "similar to the new one, or a spread over items and ratings; the last two share less with the user's other prompts",
    )
    user_facts: bool = Field(
        False,
        description="say before the new item how long the user's reviews are, which stars the user gives and which words come "
        "again, as counted in the history of the example",
    )
    max_title_chars: int = Field(300, ge=20, description="longer titles are cut here, in history and target alike")
    serialisation: Serialisation = Field("json", description="form in which --task attributes shows the item")
    max_attribute_tokens: int = Field(
        512, ge=16, description="tokens of the shown item; attributes beyond it are left out, the least telling first"
    )
    max_value_chars: int = Field(400, ge=20, description="longer values of an attribute are cut here")

    @model_validator(mode="after")
    def _check_evidence(self) -> PromptConfig:
        if self.evidence == "none":
            return self
        if self.task not in ("review", "attributes"):
            raise ValueError(
                f"--evidence {self.evidence}: --task {self.task} shows no reviews by others; leave the option out"
            )
        if self.tokens_beside_evidence < 64:
            raise ValueError(
                f"--max-evidence-tokens {self.max_evidence_tokens}: leaves {self.tokens_beside_evidence} of --max-prompt-tokens "
                f"{self.max_prompt_tokens} to history and item; expected at least 64"
            )
        return self

    @model_validator(mode="after")
    def _dialogues_go_on(self) -> PromptConfig:
        if self.is_dialogue and self.history_selection != "latest":
            raise ValueError(
                f"--history-selection {self.history_selection} with --prompt-form dialogue: a dialogue shows the purchases as they "
                "came, and every review is trained behind the history that its prompt shows; leave one of the two out"
            )
        return self

    @property
    def tokens_beside_evidence(self) -> int:
        """Token budget of all of a prompt but the reviews by others.

        The same whether an example has such reviews or not, so that what is shown of a history does not depend on them.
        """
        return self.max_prompt_tokens - (0 if self.evidence == "none" else self.max_evidence_tokens)

    @property
    def selection(self) -> Selection:
        """The selection that prompts have: a task that shows no reviews selects none."""
        return self.history_selection if TASKS[self.task].dialogue else "latest"

    @property
    def has_user_facts(self) -> bool:
        """Whether prompts say what sets the user apart: where a task shows the user's reviews."""
        return self.user_facts and TASKS[self.task].dialogue is not None

    @property
    def goes_on(self) -> bool:
        """Whether a prompt with its review is how the user's next one begins, so that one pass trains all of a user's reviews.

        What stands before the new item alone, or changes with it, is not in the next prompt.
        """
        return self.is_dialogue and not self.has_user_facts and self.evidence == "none"

    @property
    def is_dialogue(self) -> bool:
        """Whether prompts are dialogues."""
        return self.form == "dialogue"

    @property
    def form(self) -> PromptForm:
        """The form that prompts have: a task that shows no reviews has one alone."""
        return self.prompt_form if TASKS[self.task].dialogue else "paper"

    def instruction(self) -> str:
        """The instruction's text.

        Raises:
            ConfigError: the file cannot be read or is blank.
        """
        if self.instruction_file is None:
            task = TASKS[self.task]
            asked = (task.dialogue if self.is_dialogue else None) or task
            text = asked.instruction if self.rating else asked.instruction_without_rating
            return text if self.evidence == "none" else text + _OTHERS
        try:
            text = self.instruction_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--instruction-file {self.instruction_file}: cannot be read: {error}") from error
        if is_blank(text):
            raise ConfigError(f"--instruction-file {self.instruction_file}: is blank; expected the instruction's text")
        return text

    def deciding(self) -> dict[str, Any]:
        """The options that decide the prompts of the task, by name, for fingerprints; the instruction's text is apart.

        The task and what belongs to it are in it only where it is another than `review`, and the template, the form, the
        selection, the user's facts and reviews by others only where they are on: what was generated and trained before there were
        others keeps its fingerprint.
        """
        left_out = {"instruction_file"}
        if self.task == "review":
            left_out |= {"task"}
        if self.task != "attributes":
            left_out |= {*_OF_ATTRIBUTES}
        if self.evidence == "none":
            left_out |= {*_OF_EVIDENCE}
        if not self.chat_template:
            left_out |= {"chat_template"}
        left_out |= {"history_block"} if self.is_dialogue else {"prompt_form"}
        if not self.has_user_facts:
            left_out |= {"user_facts"}
        left_out |= {"history_selection"} if self.selection == "latest" else {"history_block"}
        return self.model_dump(exclude=left_out)


def check_serialisations(serialisations: Sequence[Serialisation], *, task: TaskName) -> None:
    """Refuse a list of forms for a task that shows no attributes, and a form that stands in it twice.

    Raises:
        ValueError: for a job's validator, which makes a ConfigError of it.
    """
    if serialisations and task != "attributes":
        raise ValueError(
            f"--serialisations {','.join(serialisations)}: --task {task} shows no attributes; set --task attributes"
        )
    twice = sorted({form for form in serialisations if serialisations.count(form) > 1})
    if twice:
        raise ValueError(f"--serialisations: {', '.join(twice)} is named more than once")
