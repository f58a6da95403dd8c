"""The base's own chat template, around our prompt and after our response.

The template is rendered once, around a stand-in, and split there: the prompt itself goes in as ids, so text of users and
items is never read as part of a template, and what a template trims or escapes of a message changes nothing.
"""

from __future__ import annotations

import datetime
from typing import Any, NamedTuple

from reviewllm.errors import ConfigError

_PROMPT, _RESPONSE = "PROMPT0STANDS0HERE", "RESPONSE0STANDS0HERE"

# Some templates write today's date: a prompt must not depend on the day on which it is rendered. This day is the one that
# Llama-3.1's template falls back on.
_DAY = datetime.datetime(2024, 7, 26, tzinfo=datetime.UTC)
_OPTIONS: dict[str, Any] = {
    "date_string": _DAY.strftime("%d %b %Y"),
    "strftime_now": _DAY.strftime,
    "enable_thinking": False,  # where a template can ask for thoughts first: the response is the review
}


class ChatFrame(NamedTuple):
    """What the template puts before the prompt and between prompt and response, and the id that ends a response."""

    before: str
    after: str
    end: int
    end_text: str

    @property
    def text(self) -> str:
        """The whole as one text, with {prompt} and {response} in their places: what an adapter records."""
        return f"{self.before}{{prompt}}{self.after}{{response}}{self.end_text}"


def chat_frame(tokenizer: Any) -> ChatFrame:
    """Read the chat template of a Hugging Face tokenizer, with the prompt as the one turn of the user.

    A response ends with the first of the tokenizer's special and added tokens that the template puts after an assistant's
    words, such as `<|eot_id|>`, and with the end-of-sequence token where it puts none.

    Raises:
        ConfigError: the tokenizer has no chat template, or one that shows a turn of the user changed, never or twice.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ConfigError(
            "--chat-template: the tokenizer of the base has no chat template, so it is no instruction-tuned base; leave the "
            "option out, or put the template beside it (chat_template.jinja)"
        )
    asked = [{"role": "user", "content": _PROMPT}]
    before, after = _split(_applied(tokenizer, asked, add_generation_prompt=True), _PROMPT)
    answered = [*asked, {"role": "assistant", "content": _RESPONSE}]
    _, ending = _split(_applied(tokenizer, answered, add_generation_prompt=False), _RESPONSE)
    end_text, end = _first_token(ending, tokenizer)
    return ChatFrame(before, after, end, end_text)


def end_token(tokenizer: Any, *, chat_template: bool) -> int:
    """The id that ends a response.

    Raises:
        ConfigError: as `chat_frame`.
    """
    return chat_frame(tokenizer).end if chat_template else int(tokenizer.eos_token_id)


def _applied(tokenizer: Any, messages: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
    from jinja2 import TemplateError

    try:
        return str(
            tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=add_generation_prompt, **_OPTIONS)
        )
    except (TemplateError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ConfigError(f"--chat-template: the template of the base cannot be used: {error}") from error


def _split(text: str, stand_in: str) -> tuple[str, str]:
    if text.count(stand_in) != 1:
        raise ConfigError(
            f"--chat-template: the template of the base shows a message {text.count(stand_in)} times as it stands; expected once"
        )
    before, _, after = text.partition(stand_in)
    return before, after


def _first_token(text: str, tokenizer: Any) -> tuple[str, int]:
    """The added token that comes first in a text, the longest of those that begin there; the end of sequence without any."""
    found = [
        (place, -len(token.content), token.content, number)
        for number, token in tokenizer.added_tokens_decoder.items()
        if token.content.strip() and (place := text.find(token.content)) >= 0
    ]
    if not found:
        return str(tokenizer.eos_token), int(tokenizer.eos_token_id)
    _, _, content, number = min(found)
    return content, int(number)
