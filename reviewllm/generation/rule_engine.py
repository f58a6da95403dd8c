"""Answers by a rule: for dry runs, and for tests of everything but the model."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.engine import Completion, Progress, RefusedError, Request, RowError
from reviewllm.generation.rule_answers import RULE_ANSWERS, rule_likelihoods

_VERDICTS = {1: "Very disappointing", 2: "Not good", 3: "It is okay", 4: "Good", 5: "Excellent"}
_SATISFIED = ("I would buy it again.", "It does all that I need.", "My friends like it too.")
_DISAPPOINTED = ("I sent it back.", "It broke within a week.", "I am sorry for the money.")
EVERY_ROW = "*"


class RuleEngine:
    """Writes a sentence from the rating and the title, or what the rule of the task says, after a set delay."""

    def __init__(self, config: GenerationConfig) -> None:
        """Take `rule_delay_s`, `rule_concurrency` and `rule_faults`."""
        self._config = config
        self._places = asyncio.Semaphore(config.rule_concurrency)
        self._tokens = 0
        self._prompt_tokens = 0
        self._failed_once: set[str] = set()

    async def generate(self, request: Request) -> Completion:
        """Write by the rule; a token is a word.

        Raises:
            RowError: the row's fault is `error`, `flaky` (on the first try) or `refuse`.
        """
        (written,) = await self.write_drafts(request, 1)
        return written

    async def write_drafts(self, request: Request, count: int) -> list[Completion]:
        """Write by the rule; eight drafts differ by the sentences that they go on with, and the ninth is the first again.

        Raises:
            RowError: as `generate`.
        """
        name = request.example["example_id"]
        fault = self._config.rule_faults.get(name) or self._config.rule_faults.get(EVERY_ROW)
        if self._config.rule_delay_s:
            async with self._places:
                await asyncio.sleep(self._config.rule_delay_s * (10 if fault == "slow" else 1))
        drafts = [_draft(request, place).split(" ") for place in range(count)]
        if fault:
            drafts = [await self._faulty(name, fault, words) for words in drafts]
        self._tokens += sum(len(words) + 1 for words in drafts)
        self._prompt_tokens += len(request.prompt_ids)
        looping = fault == "loop"
        return [
            Completion(
                " ".join(words), [0] * len(words) if looping else [*range(len(words))], "length" if looping else "stop"
            )
            for words in drafts
        ]

    async def load_adapters(self) -> None:
        """A rule has no use for any."""

    async def log_likelihoods(self, request: Request) -> list[float]:
        """Minus the place of each choice in the order of the rule's own answer.

        Raises:
            RowError: as `generate`.
        """
        await self.generate(request)
        return rule_likelihoods(request.example)

    async def reference_log_likelihood(self, _: Request) -> None:
        """None: to a rule no text is likelier than another."""

    async def _faulty(self, name: str, fault: str, words: list[str]) -> list[str]:
        if fault == "error":
            raise RowError("the rule engine was told to fail on this row")
        if fault == "flaky" and name not in self._failed_once:
            self._failed_once.add(name)
            raise RowError("the rule engine was told to fail on this row once")
        if fault == "refuse":
            raise RefusedError("the rule engine was told to refuse this row")
        if fault == "death":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "hang":
            await asyncio.sleep(3600)
        if fault == "stall":  # nothing else in this process goes on either
            time.sleep(3600)
        if fault == "invent":  # what no product's data say
            return [*words, *["It", "weighs", "977", "lbs", "and", "is", "decaffeinated."]]
        return {"empty": [], "garbage": ["\ufffd\x00\ue000"], "loop": ["so"] * 64}.get(fault, words)

    def progress(self) -> Progress:
        """A row's tokens count when it is done; nothing is ever cached."""
        return Progress(self._tokens + self._prompt_tokens, self._prompt_tokens, 0)

    def close(self) -> None:
        """Nothing to free."""


def _draft(request: Request, place: int) -> str:
    """The rule's answer, and behind it a sentence for each bit of the draft's place."""
    if not place:
        return _answer(request)
    sentences = _SATISFIED if request.example["rating"] > 3 else _DISAPPOINTED
    more = [sentence for bit, sentence in enumerate(sentences) if place >> bit & 1]
    return " ".join([_answer(request), *more])


def _answer(request: Request) -> str:
    rule = RULE_ANSWERS.get(request.task)
    if rule:
        return rule(request.example)
    return f"{_VERDICTS[round(request.example['rating'])]}: {request.example['title']}."
