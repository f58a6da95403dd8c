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
a special token, and so that the history of a user's earlier purchase is, id for id, a prefix of that of a later one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from reviewllm.config import StageConfig
from reviewllm.errors import ConfigError, PromptError
from reviewllm.prompts.budget import fit_history
from reviewllm.prompts.text import control_token_pattern, neutralise

PROMPT_VERSION = "3"  # part of every run's fingerprint: raise it with any change of what is rendered

INSTRUCTION = (
    "The input lists items that a user purchased, with the user's review and rating of each. Write the review that this "
    "user would write of the new item, in the user's own style. A low rating means that the user is not satisfied, and "
    "the review says so."
)
INSTRUCTION_WITHOUT_RATING = (
    "The input lists items that a user purchased, with the user's review of each. Write the review that this user would "
    "write of the new item, in the user's own style."
)

# The structure of a prompt: what is ours, between the pieces that users and items bring.
INSTRUCTION_MARKER = "### Instruction:\n"
HISTORY_MARKER = "\n### Input:\nItems that the user purchased before:"
NEW_ITEM_MARKER = "\n### The user purchased a new item:\n"
RESPONSE_MARKER = "\n### Response:\n"
REVIEW_FIELD = ". %Review:"
RATING_FIELD = " %Rating: {:.1f}."

# No text has longer tokens on average, so a cut by characters never reaches what would fit by tokens.
_CHARS_PER_TOKEN = 16

Ids = list[int]
Row = dict[str, Any]  # one row of the examples table


class PromptConfig(StageConfig):
    """What decides a prompt, apart from the example and the tokenizer."""

    rating: bool = Field(True, description="show ratings; --no-rating leaves every rating out (the paper's ablation)")
    instruction_file: Path | None = Field(None, description="text file that replaces the instruction")
    max_prompt_tokens: int = Field(1536, ge=64, description="token budget of a prompt")
    min_history: int = Field(4, ge=1, description="newest history entries that are shortened before one is dropped")
    history_block: int = Field(
        4, ge=1, description="oldest history entries that are dropped together: prompts of one user then begin alike"
    )
    max_title_chars: int = Field(300, ge=20, description="longer titles are cut here, in history and target alike")

    def instruction(self) -> str:
        """The instruction's text.

        Raises:
            ConfigError: the file cannot be read or is blank.
        """
        if self.instruction_file is None:
            return INSTRUCTION if self.rating else INSTRUCTION_WITHOUT_RATING
        try:
            text = self.instruction_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--instruction-file {self.instruction_file}: cannot be read: {error}") from error
        if not text:
            raise ConfigError(f"--instruction-file {self.instruction_file}: is blank; expected the instruction's text")
        return text


class Prompt(NamedTuple):
    """A rendered prompt: its token ids, and how many history entries of how many it shows."""

    token_ids: Ids
    history_kept: int
    history_given: int
    reviews_shortened: bool


class PromptRenderer:
    """Renders examples for one tokenizer and one configuration.

    Holds no state between calls; equal examples give equal ids.
    """

    def __init__(self, tokenizer: Any, config: PromptConfig) -> None:
        """Take a Hugging Face tokenizer (`transformers`, with a fast backend).

        Raises:
            ConfigError: the tokenizer has no fast backend or no end-of-sequence token.
        """
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ConfigError(f"the tokenizer {type(tokenizer).__name__} has no fast backend (tokenizer.json); convert it")
        if tokenizer.eos_token_id is None:
            raise ConfigError("the tokenizer has no end-of-sequence token; without one a model cannot learn to stop")
        self.config = config
        self.bos: Ids = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        self.eos: int = tokenizer.eos_token_id
        self._backend = _literal(backend)
        self._control = control_token_pattern(token.content for token in tokenizer.added_tokens_decoder.values())
        self._space = _joining_space(self._backend)
        self._structure_ids: dict[str, Ids] = {}
        self._max_chars = _CHARS_PER_TOKEN * config.max_prompt_tokens
        self._head = self.bos + self._structure(INSTRUCTION_MARKER + config.instruction() + HISTORY_MARKER)

    def render(self, examples: Sequence[Row]) -> list[Prompt | PromptError]:
        """Render rows of the examples table, in order.

        Reads title, rating and history. A row that cannot be rendered gives its PromptError in its place.
        """
        encoded = self._encode_texts(self._texts(examples))
        known: dict[tuple[str, str, float], _Entry] = {}  # rows of one user share most of their history

        def entry(row: Row) -> _Entry:
            key = row["title"], row["review"], row["rating"]
            if key not in known:
                known[key] = self._entry(row, encoded.__getitem__)
            return known[key]

        return [self._render_one(example, entry, encoded.__getitem__) for example in examples]

    def render_responses(self, reviews: Sequence[str], *, max_tokens: int) -> list[Ids]:
        """Token ids that the model is to write for each review: its text as prompts show reviews, then the end token.

        A longer one is cut to `max_tokens` and has no end token: the model must not learn to stop in mid-sentence.
        """
        max_chars = _CHARS_PER_TOKEN * max_tokens
        encoded = self._encode_texts(dict.fromkeys((review, max_chars) for review in reviews))
        return [[*encoded[review, max_chars], self.eos][:max_tokens] for review in reviews]

    def _texts(self, examples: Sequence[Row]) -> Iterable[tuple[str, int]]:
        """Every distinct piece of user text in the examples, with the characters that it may have."""
        titles = self.config.max_title_chars
        texts: dict[tuple[str, int], None] = {}
        for example in examples:
            texts[example["title"], titles] = None
            for entry in example["history"]:
                texts[entry["title"], titles] = None
                texts[entry["review"], self._max_chars] = None
        return texts

    def _encode_texts(self, texts: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Ids]:
        keys = list(texts)
        clean = [neutralise(text, max_chars=chars, control_tokens=self._control) for text, chars in keys]
        spaced = [self._space + text if text else "" for text in clean]
        codes = self._backend.encode_batch_fast(spaced, add_special_tokens=False)
        return {key: code.ids for key, code in zip(keys, codes, strict=True)}

    def _render_one(
        self, example: Row, entry_of: Callable[[Row], _Entry], encoded: Callable[[tuple[str, int]], Ids]
    ) -> Prompt | PromptError:
        target = [
            *self._structure(NEW_ITEM_MARKER),
            *encoded((example["title"], self.config.max_title_chars)),
            *self._structure(f".{self._rating(example['rating'])}{RESPONSE_MARKER}"),
        ]
        budget = self.config.max_prompt_tokens - len(self._head) - len(target)
        if budget < 0:
            return PromptError(
                f"instruction and target take {len(self._head) + len(target)} tokens, more than --max-prompt-tokens "
                f"{self.config.max_prompt_tokens}"
            )
        entries = [entry_of(entry) for entry in example["history"]]
        # An entry's number depends on how many are kept; the widest possible one is reserved for each.
        number = max((len(self._structure(f" ({place})")) for place in range(1, len(entries) + 1)), default=0)
        fit = fit_history(
            [number + len(entry.before) + len(entry.after) for entry in entries],
            [len(entry.review) for entry in entries],
            budget=budget,
            min_entries=self.config.min_history,
            block=self.config.history_block,
        )
        ids = list(self._head)
        for place, entry in enumerate(entries[len(entries) - fit.kept :], start=1):
            ids += self._structure(f" ({place})")
            ids += entry.before + entry.review[: fit.review_tokens] + entry.after
        return Prompt(ids + target, fit.kept, len(entries), fit.review_tokens is not None)

    def _entry(self, entry: Row, encoded: Callable[[tuple[str, int]], Ids]) -> _Entry:
        return _Entry(
            before=encoded((entry["title"], self.config.max_title_chars)) + self._structure(REVIEW_FIELD),
            review=encoded((entry["review"], self._max_chars)),
            after=self._structure(self._rating(entry["rating"])),
        )

    def _rating(self, rating: float) -> str:
        return RATING_FIELD.format(rating) if self.config.rating else ""

    def _structure(self, text: str) -> Ids:
        """Ids of our own text; the same few strings come again and again."""
        if text not in self._structure_ids:
            self._structure_ids[text] = self._encode_as_it_stands(text)
        return self._structure_ids[text]

    def _encode_as_it_stands(self, text: str) -> Ids:
        """Ids of a text without the space that SentencePiece puts before every text: it goes before a new line, cut off."""
        ids: Ids = self._backend.encode(text, add_special_tokens=False).ids
        if self._space:
            return ids  # this tokenizer puts none
        anchor = self._backend.encode("\n", add_special_tokens=False).ids
        anchored: Ids = self._backend.encode("\n" + text, add_special_tokens=False).ids
        return anchored[len(anchor) :] if anchored[: len(anchor)] == anchor else ids


class _Entry(NamedTuple):
    """One history entry as ids: what stands before its review, the review, and what stands after it."""

    before: Ids
    review: Ids
    after: Ids


def _joining_space(backend: Any) -> str:
    """A space before user text, unless the tokenizer puts one there itself (SentencePiece's and GPT-2's dummy prefix)."""
    first = backend.encode("a", add_special_tokens=False).tokens[0]
    return "" if first.startswith(("\u2581", "\u0120")) else " "


def _literal(backend: Any) -> Any:
    """A private copy of the backend that reads special tokens in text as plain characters and never cuts or pads."""
    from tokenizers import Tokenizer

    copy = Tokenizer.from_str(backend.to_str())
    copy.encode_special_tokens = True
    copy.no_truncation()
    copy.no_padding()
    return copy


def load_tokenizer(base_model: str) -> Any:
    """Load the tokenizer of a Hugging Face folder or hub name; never runs code that comes with it.

    Raises:
        ConfigError: there is none that can be read.
    """
    try:
        if _is_generic(Path(base_model)):
            from transformers import PreTrainedTokenizerFast

            return PreTrainedTokenizerFast.from_pretrained(base_model)
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(base_model, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"--base-model {base_model}: no tokenizer can be read there: {error}") from error


def _is_generic(folder: Path) -> bool:
    """Whether a folder's tokenizer is all in tokenizer.json, as Llama-3's is: AutoTokenizer would load torch for the same."""
    try:
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    names = ("PreTrainedTokenizerFast", "TokenizersBackend")
    return (folder / "tokenizer.json").is_file() and isinstance(config, dict) and config.get("tokenizer_class") in names
