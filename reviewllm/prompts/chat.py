"""The base's own chat template, around our prompts and after our responses.

The template is rendered around stand-ins, and split there: the prompt itself goes in as ids, so text of users and
items is never read as part of a template, and what a template trims or escapes of a message changes nothing.
"""

from __future__ import annotations

import datetime
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from reviewllm.errors import ConfigError

if TYPE_CHECKING:
    from reviewllm.prompts.config import PromptConfig

_PROMPT, _RESPONSE = "PROMPT0STANDS0HERE", "RESPONSE0STANDS0HERE"
_PURCHASES = 100  # of the conversation by which a template is judged: as many as a history has (`--max-history`)

# Some templates write today's date: a prompt must not depend on the day on which it is rendered. This day is the one that
# Llama-3.1's template falls back on.
_DAY = datetime.datetime(2024, 7, 26, tzinfo=datetime.UTC)
_OPTIONS: dict[str, Any] = {
    "date_string": _DAY.strftime("%d %b %Y"),
    "strftime_now": _DAY.strftime,
    "enable_thinking": False,  # where a template can ask for thoughts first: the response is the review
}


class ChatFrame(NamedTuple):
    """What the template puts before the prompt and between prompt and response, and the id that ends a response.

    following: in a dialogue, what stands between that end and the next turn of the user; None where a prompt is one turn.
    """

    before: str
    after: str
    end: int
    end_text: str
    following: str | None = None

    @property
    def text(self) -> str:
        """The whole as one text, with {prompt} and {response} in their places: what an adapter records."""
        more = "" if self.following is None else f"{self.following}{{prompt}}..."
        return f"{self.before}{{prompt}}{self.after}{{response}}{self.end_text}{more}"


def prompt_frame(tokenizer: Any, prompt: PromptConfig) -> ChatFrame | None:
    """The template around prompts of a configuration; None where they have none.

    Raises:
        ConfigError: as `chat_frame` and, for dialogues, `dialogue_frame`.
    """
    if not prompt.chat_template:
        return None
    return dialogue_frame(tokenizer) if prompt.is_dialogue else chat_frame(tokenizer)


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


def dialogue_frame(tokenizer: Any) -> ChatFrame:
    """Read the chat template of a Hugging Face tokenizer, with a purchase as a turn of the user and its review as the answer.

    Training learns the answer to every turn where it stands, and a prompt is an earlier one and what came since. Both hold only
    for a template that shows every turn alike, however many follow.

    Raises:
        ConfigError: as `chat_frame`; or the template drops or changes earlier turns, and how.
    """
    frame = chat_frame(tokenizer)
    turns = [
        {"role": role, "content": f"{stand_in}{number}X " + "word " * 40 + "."}
        for number in range(_PURCHASES)
        for role, stand_in in (("user", _PROMPT), ("assistant", _RESPONSE))
    ][:-1]
    whole = _applied(tokenizer, turns, add_generation_prompt=True)
    for turn in turns:
        if whole.count(turn["content"]) != 1:
            raise _refused(f"of a conversation with {_PURCHASES} turns of the user it shows some {_times(whole, turn)}")
    before, *gaps = re.split("|".join(re.escape(turn["content"]) for turn in turns), whole)
    after, between = set(gaps[0::2]), set(gaps[1::2])
    if before != frame.before:
        raise _refused(f"it begins with {before!r} where turns follow, and with {frame.before!r} where none does")
    odd = {gap for gap in after if gap.rstrip(" ") != frame.after.rstrip(" ")}  # a space there belongs to the answer
    if odd:
        raise _refused(
            f"before an earlier answer it puts {min(odd)!r}, before the one that is to be written {frame.after!r}"
        )
    if len(between) != 1:
        raise _refused(f"between two turns it puts now {min(between)!r} and now {max(between)!r}")
    for size in (3, 5, 15):
        if not whole.startswith(_applied(tokenizer, turns[:size], add_generation_prompt=True)):
            raise _refused(f"a conversation of {size} turns is not how a longer one begins")
    (gap,) = between
    end_text, end = _first_token(gap, tokenizer)
    if end != frame.end:
        raise _refused(f"it ends an earlier answer with {end_text!r}, and the last one with {frame.end_text!r}")
    return frame._replace(following=gap.partition(end_text)[2] if end_text in gap else gap)


def _times(whole: str, turn: dict[str, str]) -> str:
    who = "user" if turn["role"] == "user" else "assistant"
    return f"of the {who} {whole.count(turn['content'])} times as they stand; expected once"


def _refused(reason: str) -> ConfigError:
    return ConfigError(
        f"--chat-template with --prompt-form dialogue: the template of the base does not show every turn as it stood: {reason}; "
        "leave one of the two out"
    )


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
