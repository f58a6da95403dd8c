"""Many prompts through one endpoint: how many at once and how fast, what is asked again, and what is kept."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import SecretStr

from reviewllm.errors import EngineError
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.endpoint_client import Answer, BusyError, EndpointClient, request_body
from reviewllm.generation.endpoint_config import EndpointConfig
from reviewllm.generation.endpoint_journal import AnswerJournal, Costs, costs, request_key
from reviewllm.generation.engine import Completion, Draft, RefusedError
from reviewllm.generation.failures import EMPTY_OUTPUT, ENGINE_FAILED, REFUSED, Failure, unusable
from reviewllm.generation.rate_limit import RateLimiter

_BACKOFF_S = 1.0  # doubled with every attempt: 31 s in all for six attempts, 61 s for seven
_LONGEST_BACKOFF_S = 60.0
_LONGEST_PAUSE_S = 600.0  # an endpoint that wants to rest longer has a limit per day
_MAX_ROWS_LOST = 20


class EndpointPrompt(NamedTuple):
    """A prompt as text, about how many tokens it has, and the seed of its row."""

    text: str
    tokens: int
    seed: int


class Endpoint:
    """A model behind an endpoint, with the journal of what it has answered; to be used in one event loop."""

    def __init__(
        self,
        config: EndpointConfig,
        generation: GenerationConfig,
        *,
        key: SecretStr | None,
        journal: Path,
        backoff_s: float = _BACKOFF_S,
    ) -> None:
        """Open the journal; nothing is sent yet.

        Args:
            generation: sampling and length of the texts.
            key: of `keys_apart`.
            journal: file of the answers, made where there is none.
            backoff_s: seconds before the second attempt.

        Raises:
            ConfigError: another process is at work on the journal.
            StorageError: the journal cannot be read.
        """
        self.rows = self.failed = self.tokens = 0  # so far, for those who watch
        self._config, self._generation, self._backoff_s = config, generation, backoff_s
        self._journal = AnswerJournal(journal)
        self._client = EndpointClient(config, key, timeout_s=config.timeout_s)
        self._limiter = RateLimiter(
            requests_per_minute=config.requests_per_minute, tokens_per_minute=config.tokens_per_minute
        )
        self._used: set[str] = set()
        self._paid: set[str] = set()
        self._lost = 0  # rows without an answer since the last answer

    async def write(self, prompts: Sequence[EndpointPrompt]) -> list[Answer | Failure]:
        """What the endpoint writes for each prompt, in order; what the journal knows is not asked again.

        Raises:
            ConfigError: the endpoint takes no prompt: the key, the model's name or a parameter is wrong.
            EngineError: it takes none any more. What it has answered is in the journal all the same.
        """
        results: dict[int, Answer | Failure] = {}
        left = iter(enumerate(prompts))

        async def work() -> None:
            for number, prompt in left:
                result = results[number] = await self._row(prompt)
                self.rows += 1
                self.failed += isinstance(result, Failure)

        workers = [asyncio.ensure_future(work()) for _ in range(min(self._config.max_concurrency, len(prompts)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return [results[number] for number in range(len(prompts))]

    def costs(self) -> dict[str, Costs]:
        """Of the answers that this run asked for ("paid"), of all that it used ("used") and of all in the journal ("all")."""
        known = self._journal.known
        groups = {"paid": self._paid, "used": self._used, "all": known}
        return {name: costs((known[key] for key in keys), self._config) for name, keys in groups.items()}

    async def aclose(self) -> None:
        """Close the connections and the journal."""
        self._journal.close()
        await self._client.aclose()

    async def _row(self, prompt: EndpointPrompt) -> Answer | Failure:
        body = request_body(self._config, self._generation, prompt.text, prompt.seed)
        key = request_key(self._config.url, body, prompt.seed)
        answer = self._journal.known.get(key) or await self._ask(body, key, prompt.tokens)
        if isinstance(answer, Failure):
            return answer
        self._used.add(key)
        return failure_of(answer) or answer

    async def _ask(self, body: dict[str, Any], key: str, prompt_tokens: int) -> Answer | Failure:
        """Send a request, again and again where the endpoint could not take it."""
        for attempt in range(1, self._config.max_attempts + 1):
            await self._limiter.wait(prompt_tokens + self._generation.max_new_tokens * self._generation.drafts)
            try:
                answer = await self._client.complete(body)
            except RefusedError as error:
                return self._lose(Failure("generate", REFUSED, f"the endpoint refused the request: {error}", attempt))
            except BusyError as error:
                failure = Failure("generate", ENGINE_FAILED, f"the endpoint failed on the request: {error}", attempt)
                await self._back_off(error, attempt)
                continue
            self._journal.add(key, answer)
            self._paid.add(key)
            self._lost = 0
            self.tokens += (answer.prompt_tokens or prompt_tokens) + (answer.completion_tokens or 0)
            return answer
        return self._lose(failure)

    async def _back_off(self, error: BusyError, attempt: int) -> None:
        """Wait: all requests as long as the endpoint asks for, else this one, longer each time and never as long as others."""
        longest = min(_LONGEST_BACKOFF_S, self._backoff_s * 2 ** (attempt - 1))
        if error.retry_after_s is not None:
            if error.retry_after_s > _LONGEST_PAUSE_S:
                raise EngineError(
                    f"{self._config.url} wants no request for {error.retry_after_s:.0f} s ({error}); run the same again then: "
                    "what it has answered is kept"
                )
            self._limiter.pause(error.retry_after_s)
            longest = self._backoff_s
        if attempt < self._config.max_attempts:
            await asyncio.sleep(longest * random.uniform(0.5, 1))

    def _lose(self, failure: Failure) -> Failure:
        """Count a row that got no answer; too many of them, and there is nobody there.

        Raises:
            EngineError: that is so.
        """
        self._lost += 1
        if self._lost < _MAX_ROWS_LOST:
            return failure
        raise EngineError(
            f"{self._config.url} answered none of {self._lost} rows one after another, each asked up to "
            f"{self._config.max_attempts} times ({failure.message}); run the same again when it does: what it has answered is kept"
        )


def failure_of(answer: Answer) -> Failure | None:
    """Why an answer is no review, of several drafts why the first is none; None where it, or any of them, is one."""
    problems = [_problem(draft) for draft in answer.drafts]
    return None if None in problems else problems[0]


def usable_drafts(answer: Answer) -> list[Draft]:
    """The texts of an answer that are reviews."""
    return [draft for draft in answer.drafts if _problem(draft) is None]


def _problem(draft: Draft) -> Failure | None:
    if draft.finish_reason == "content_filter":
        return Failure("generate", REFUSED, f"the endpoint's content filter refused: {draft.text[:300]}".rstrip(": "), 1)
    problem = unusable(Completion(draft.text, [], draft.finish_reason), for_publication=False)
    if problem and draft.finish_reason == "length":
        return Failure(
            "generate",
            EMPTY_OUTPUT,
            "the model wrote nothing within --max-new-tokens: one that reasons before it writes needs more of them",
            1,
        )
    return Failure("generate", *problem, 1) if problem else None
