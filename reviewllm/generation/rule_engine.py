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
        name = request.example["example_id"]
        fault = self._config.rule_faults.get(name) or self._config.rule_faults.get(EVERY_ROW)
        if self._config.rule_delay_s:
            async with self._places:
                await asyncio.sleep(self._config.rule_delay_s * (10 if fault == "slow" else 1))
        words = _answer(request).split(" ")
        if fault:
            words = await self._faulty(name, fault, words)
        self._tokens += len(words) + 1
        self._prompt_tokens += len(request.prompt_ids)
        looping = fault == "loop"
        return Completion(
            " ".join(words), [0] * len(words) if looping else [*range(len(words))], "length" if looping else "stop"
        )

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


def _answer(request: Request) -> str:
    rule = RULE_ANSWERS.get(request.task)
    if rule:
        return rule(request.example)
    return f"{_VERDICTS[round(request.example['rating'])]}: {request.example['title']}."
