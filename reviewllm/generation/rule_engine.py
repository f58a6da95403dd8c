"""Answers by a rule: for dry runs, and for tests of everything but the model."""

from __future__ import annotations

import asyncio

from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.engine import Completion, Request, RowError

_VERDICTS = {1: "Very disappointing", 2: "Not good", 3: "It is okay", 4: "Good", 5: "Excellent"}


class RuleEngine:
    """Writes a sentence from the rating and the title, after a set delay."""

    def __init__(self, config: GenerationConfig) -> None:
        """Take `rule_delay_s` and `rule_fail_ids`."""
        self._delay_s = config.rule_delay_s
        self._fail_ids = frozenset(config.rule_fail_ids)

    async def generate(self, request: Request) -> Completion:
        """Write by the rule; a token is a word.

        Raises:
            RowError: the row is one of `rule_fail_ids`.
        """
        await asyncio.sleep(self._delay_s)
        if request.example["example_id"] in self._fail_ids:
            raise RowError("the rule engine was told to fail on this row")
        text = f"{_VERDICTS[round(request.example['rating'])]}: {request.example['title']}."
        return Completion(text, list(range(len(text.split()))), "stop")

    def close(self) -> None:
        """Nothing to free."""
