"""Text to token ids: what users and items wrote, always literal, and the structure that is ours."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from reviewllm.errors import ConfigError
from reviewllm.prompts.text import control_token_pattern, neutralise

# No text has longer tokens on average, so a cut by characters never reaches what would fit by tokens.
CHARS_PER_TOKEN = 16

Ids = list[int]
Text = tuple[str, int]  # a piece of user text, and the characters that it may have


class TextEncoder:
    """Encodes for one tokenizer; special tokens in any text are plain characters."""

    def __init__(self, tokenizer: Any) -> None:
        """Take a Hugging Face tokenizer (`transformers`, with a fast backend).

        Raises:
            ConfigError: the tokenizer has no fast backend or no end-of-sequence token.
        """
        check_tokenizer(tokenizer)
        backend = tokenizer.backend_tokenizer
        self.bos: Ids = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        self.eos: int = tokenizer.eos_token_id
        self._backend = _private(backend, literal=True)
        self._given = backend
        self._normaliser = backend.normalizer
        control = [token.content for token in tokenizer.added_tokens_decoder.values()]
        self._control = control_token_pattern([*control, *map(self._normalised, control)])
        self._space = _joining_space(self._backend)
        self._structure_ids: dict[str, Ids] = {}

    def texts(self, texts: Iterable[Text], *, joined: bool = True) -> dict[Text, Ids]:
        """Ids of pieces of user text, each made harmless, with a space before it.

        Args:
            texts: every distinct piece once.
            joined: False leaves the space out, for what begins a line; a tokenizer that puts one by itself puts it all the same.
        """
        keys = list(texts)
        space = self._space if joined else ""
        clean = [self.clean(text, max_chars=chars) for text, chars in keys]
        codes = self._backend.encode_batch_fast([space + text if text else "" for text in clean], add_special_tokens=False)
        return {key: code.ids for key, code in zip(keys, codes, strict=True)}

    def utf8_bytes(self, text: Text, *, tokens: int, joined: bool = True) -> int:
        """UTF-8 bytes of that part of a piece of user text, made harmless, for which its first ids stand.

        Args:
            tokens: how many ids; with more than the text has it is the whole text.
            joined: as `texts`, whose ids they are; the space before a text is not counted.
        """
        space, clean = self._space if joined else "", self.clean(text[0], max_chars=text[1])
        if not clean:
            return 0
        offsets = self._backend.encode(space + clean, add_special_tokens=False).offsets
        shown = clean if tokens >= len(offsets) else clean[: max(0, offsets[tokens - 1][1] - len(space))]
        return len(shown.encode())

    def clean(self, text: str, *, max_chars: int) -> str:
        """User text as one harmless line (`neutralise`), also once the tokenizer has normalised it in its own way."""
        clean = neutralise(text, max_chars=max_chars, control_tokens=self._control)
        read = self._normalised(clean)
        if read == clean:
            return clean
        harmless = neutralise(read, max_chars=len(read), control_tokens=self._control)
        return clean if harmless == read else harmless

    def _normalised(self, text: str) -> str:
        """A text as the tokenizer's own normaliser, if it has one, makes it before it looks for tokens; spaces are spaces."""
        if self._normaliser is None:
            return text
        return " ".join(self._normaliser.normalize_str(text).replace("\u2581", " ").split())

    def structure(self, text: str) -> Ids:
        """Ids of our own text; the same few strings come again and again, so they are kept."""
        if text not in self._structure_ids:
            (self._structure_ids[text],) = self.as_they_stand([text])
        return self._structure_ids[text]

    def as_they_stand(self, texts: Sequence[str], *, special: bool = False) -> list[Ids]:
        """Ids of texts without the space that SentencePiece puts before every text: it goes before a new line, cut off.

        Args:
            texts: our own, or made of `clean` ones.
            special: read special tokens in them as such.
        """
        backend = self._with_special if special else self._backend
        plain: list[Ids] = [code.ids for code in backend.encode_batch_fast(list(texts), add_special_tokens=False)]
        if self._space:
            return plain  # this tokenizer puts none
        anchor: Ids = backend.encode("\n", add_special_tokens=False).ids
        codes = backend.encode_batch_fast(["\n" + text for text in texts], add_special_tokens=False)
        return [
            code.ids[len(anchor) :] if code.ids[: len(anchor)] == anchor else ids
            for code, ids in zip(codes, plain, strict=True)
        ]

    def opening(self, text: str) -> Ids:
        """Ids of our own text at the very start, with its special tokens, exactly as the tokenizer reads it."""
        ids: Ids = self._with_special.encode(text, add_special_tokens=False).ids
        return ids

    @cached_property
    def _with_special(self) -> Any:
        return _private(self._given, literal=False)


def _joining_space(backend: Any) -> str:
    """A space before user text, unless the tokenizer puts one there itself (SentencePiece's and GPT-2's dummy prefix)."""
    first = backend.encode("a", add_special_tokens=False).tokens[0]
    return "" if first.startswith(("\u2581", "\u0120")) else " "


def _private(backend: Any, *, literal: bool) -> Any:
    """A copy of the backend that never cuts or pads; `literal`: it reads special tokens in text as plain characters."""
    from tokenizers import Tokenizer

    copy = Tokenizer.from_str(backend.to_str())
    copy.encode_special_tokens = literal
    copy.no_truncation()
    copy.no_padding()
    return copy


def check_tokenizer(tokenizer: Any) -> None:
    """Refuse a tokenizer that prompts cannot be made with.

    Raises:
        ConfigError: it has no fast backend or no end-of-sequence token.
    """
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise ConfigError(f"the tokenizer {type(tokenizer).__name__} has no fast backend (tokenizer.json); convert it")
    if tokenizer.eos_token_id is None:
        raise ConfigError("the tokenizer has no end-of-sequence token; without one a model cannot learn to stop")


def load_tokenizer(base_model: str, *, flag: str = "--base-model") -> Any:
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
        raise ConfigError(f"{flag} {base_model}: no tokenizer can be read there: {error}") from error


def _is_generic(folder: Path) -> bool:
    """Whether a folder's tokenizer is all in tokenizer.json, as Llama-3's is: AutoTokenizer would load torch for the same."""
    try:
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    names = ("PreTrainedTokenizerFast", "TokenizersBackend")
    return (folder / "tokenizer.json").is_file() and isinstance(config, dict) and config.get("tokenizer_class") in names
