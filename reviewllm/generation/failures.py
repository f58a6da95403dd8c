"""Why a row has no review: the classes, which of them another try may mend, and what counts as no review at all."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

import numpy as np

from reviewllm.generation.engine import Completion
from reviewllm.texts import is_blank

PROMPT_TOO_LONG = "PromptTooLong"  # instruction and target alone are over the budget
BAD_ATTRIBUTES = "BadAttributes"  # the attributes of the item cannot be read
EMPTY_OUTPUT = "EmptyOutput"  # nothing that a person could read
LOOPING_OUTPUT = "LoopingOutput"  # the same few tokens again and again
GARBAGE_OUTPUT = "GarbageOutput"  # mostly characters that are no text
REFUSED = "Refused"  # the engine does not take the request
ENGINE_FAILED = "EngineFailed"  # the engine took it and failed on it, as often as it was asked
KILLED_ENGINE = "KilledEngine"  # an engine that had nothing else to do died on it, twice
HUNG_ENGINE = "HungEngine"  # an engine that had nothing else to do gave no token for it, twice
UNSUPPORTED_CLAIMS = "UnsupportedClaims"  # says too much that the product's data do not (`--max-hallucination`)
COPIED = "Copied"  # repeats too many words of another user's review (`--max-copied-words`)
NO_DRAFT_PASSED = "NoDraftPassed"  # none of the row's drafts passes every check (`--if-no-draft-passes dead-letter`)
NO_SOURCE = "NoSource"  # a baseline of an evaluation found no text to copy

TRANSIENT = frozenset({ENGINE_FAILED, HUNG_ENGINE})  # worth another try in another run; the others end alike

_LONGEST_PERIOD = 16
_LOOP_TOKENS = 48
_LOOP_PERIODS = 4


class Failure(NamedTuple):
    """A row without a review: where it failed (render, generate or score), its class, why, and after how many tries.

    `reference_log_likelihood` and `new_user_log_likelihood` as in `Completion`: a model that wrote nothing usable may find the
    real review likely all the same.
    """

    stage: str
    error_class: str
    message: str
    attempts: int
    reference_log_likelihood: float | None = None
    new_user_log_likelihood: float | None = None


def unusable(completion: Completion, *, for_publication: bool) -> tuple[str, str] | None:
    """The class and message of a text that is no review; None for one that is.

    Args:
        for_publication: look for garbage and loops too; an evaluation scores what a model writes as it is.
    """
    if is_blank(completion.text):
        return EMPTY_OUTPUT, "the model wrote nothing"
    if not for_publication:
        return None
    unreadable = sum(unicodedata.category(character) in ("Cc", "Cn", "Co", "Cs") for character in completion.text.strip())
    unreadable += completion.text.count("\ufffd") - sum(completion.text.count(space) for space in "\n\t\r")
    if 2 * unreadable > len(completion.text):
        return GARBAGE_OUTPUT, f"{unreadable} of {len(completion.text)} characters are no text"
    period = looping_period(completion.token_ids) if completion.finish_reason == "length" else None
    if period:
        return LOOPING_OUTPUT, f"the text ends in the same {period} token(s) again and again"
    return None


def looping_period(token_ids: list[int]) -> int | None:
    """The period (1 to 16 tokens) with which the end of a text repeats itself; None where it does not.

    Only a repetition of at least 48 tokens and 4 periods counts: a person may write "great great great".

    >>> looping_period([7, 8, 9] + [1, 2] * 30)
    2
    >>> looping_period(list(range(100)))
    """
    tail = np.asarray(token_ids[-_LONGEST_PERIOD * _LOOP_PERIODS - _LOOP_TOKENS :])
    for period in range(1, _LONGEST_PERIOD + 1):
        length = max(_LOOP_TOKENS, _LOOP_PERIODS * period)
        if len(tail) >= length and (tail[-length + period :] == tail[-length:-period]).all():
            return period
    return None
