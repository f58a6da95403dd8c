"""One request to an endpoint: what is sent, what comes back, and what its errors mean. The boundary to the `openai` client.

The client's own retries are off. They know nothing of a limit per minute, give up after 15 s or where Retry-After is over two
minutes, and ask again where the account has no money left; `Endpoint` does it.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import math
import re
import time
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from pydantic import SecretStr

from reviewllm.errors import ConfigError, EngineError, ReviewLLMError
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.endpoint_config import EndpointConfig
from reviewllm.generation.engine import Draft, RefusedError, RowError

_PATHS = {"chat": "/chat/completions", "completions": "/completions"}
_NO_MONEY = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_SAMPLING = ("temperature", "top_p", "seed")
_MESSAGE_CHARS = 300

_MOST_TOKENS = 100_000_000  # of one request; no model takes so many


class Answer(NamedTuple):
    """What an endpoint wrote; tokens as it bills them, None where it does not tell, and the seconds of the request.

    `more` are further drafts, each a text and its finish_reason, where several were asked for.
    """

    text: str
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None
    seconds: float
    more: Sequence[Sequence[str]] = ()

    @property
    def drafts(self) -> list[Draft]:
        """All of its texts."""
        return [Draft(self.text, self.finish_reason), *(Draft(*one) for one in self.more)]


class BusyError(RowError):
    """The endpoint could not take the request now; `retry_after_s` is when it wants it again, None where it does not say."""

    retry_after_s: float | None = None


class StatusError(Exception):
    """The endpoint answered with an error: its status, what it calls the kind of it, and the parameter that it complains of."""

    def __init__(
        self, status: int, message: str, kinds: set[str], param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(f"{status}: {message}")
        self.status, self.kinds, self.param, self.retry_after_s = status, kinds, param, retry_after_s


def request_body(config: EndpointConfig, generation: GenerationConfig, text: str, seed: int) -> dict[str, Any]:
    """The request that asks for the completion of a prompt: all that decides the text, but for the endpoint's URL."""
    sampling = {"temperature": generation.temperature, "top_p": generation.top_p, "seed": seed}
    prompt = {"messages": [{"role": "user", "content": text}]} if config.api == "chat" else {"prompt": text}
    return {
        "model": config.model,
        **prompt,
        "max_tokens": generation.max_new_tokens,
        **({"n": generation.drafts} if generation.drafts > 1 else {}),
        **{name: value for name, value in sampling.items() if name not in config.unsupported},
        **config.extra_body,
    }


class EndpointClient:
    """Sends requests; to be used in one event loop."""

    def __init__(self, config: EndpointConfig, key: SecretStr | None, *, timeout_s: float) -> None:
        """Take the endpoint and its key; nothing is sent yet."""
        import openai

        self._config = config
        self._key = key.get_secret_value() if key else None
        self._timeout_s = timeout_s
        # Without a key of ours the client would send the one in OPENAI_API_KEY, to whatever server this is.
        self._options: Any = {} if self._key else {"headers": {"Authorization": openai.Omit()}}
        self._client = openai.AsyncOpenAI(api_key=self._key or "none", base_url=config.url, timeout=timeout_s, max_retries=0)
        self._limit_name = "max_tokens"

    async def complete(self, body: dict[str, Any]) -> Answer:
        """Send what `request_body` made.

        A model that takes only the limit's newer name, max_completion_tokens, gets it by that from then on; the older one
        comes first, because servers that do not know the newer one ignore it, and would write without any limit.

        Raises:
            BusyError: another try may succeed.
            RefusedError: the endpoint does not take this prompt.
            ConfigError: it takes none: the key, the model's name or a parameter is wrong.
            EngineError: it takes none any more: there is no money left.
        """
        name = self._limit_name
        try:
            return await self._complete(body, name)
        except RefusedError as error:
            if name != "max_tokens" or not re.search(r"\buse\W+max_completion_tokens", str(error), re.IGNORECASE):
                raise
        self._limit_name = "max_completion_tokens"
        return await self._complete(body, self._limit_name)

    async def _complete(self, body: dict[str, Any], limit_name: str) -> Answer:
        sent = {limit_name if name == "max_tokens" else name: value for name, value in body.items()}
        started = time.monotonic()
        try:
            answer = await self.send("post", _PATHS[self._config.api], sent)
        except StatusError as error:
            raise self._meaning(error) from None  # which says all that is in it, but for what a 401 repeats of the key
        wanted = body.get("n", 1)
        told = self._read(answer, time.monotonic() - started, wanted)
        if len(told.drafts) < wanted:
            raise ConfigError(
                f"{self._config.url}: the model {self._config.model!r} gives {len(told.drafts)} text(s) to a request for {wanted} "
                "(n); leave out --drafts, or name an endpoint that writes several"
            )
        return told

    def _read(self, answer: str, seconds: float, wanted: int) -> Answer:
        try:
            content = json.loads(answer)
            usage = content.get("usage") or {}
            (text, reason), *more = [self._draft(choice) for choice in content["choices"][:wanted]]
            prompt_tokens, completion_tokens = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise BusyError(f"its answer is no completion: {self.shown(answer)!r}") from error
        return Answer(text, reason, prompt_tokens, completion_tokens, seconds, tuple(more))

    def _draft(self, choice: Any) -> Draft:
        message = choice["message"] if self._config.api == "chat" else choice
        text = message["content" if self._config.api == "chat" else "text"] or ""
        reason = choice["finish_reason"] or "stop"
        if not text and message.get("refusal"):
            text, reason = message["refusal"], "content_filter"
        return Draft(text.strip().encode(errors="replace").decode(), str(reason))  # half of a surrogate pair is no text

    async def send(self, method: Literal["get", "post"], path: str, body: dict[str, Any] | None = None) -> str:
        """The text of the answer to one request.

        Raises:
            StatusError: the endpoint answers with an error.
            BusyError: it does not answer.
        """
        import httpx2
        import openai

        try:
            async with asyncio.timeout(self._timeout_s):  # the client's own starts anew with every byte
                if method == "get":
                    answer = await self._client.get(path, cast_to=httpx2.Response, options=self._options)
                else:
                    answer = await self._client.post(path, cast_to=httpx2.Response, body=body, options=self._options)
                return answer.text
        except (TimeoutError, openai.APITimeoutError) as error:
            raise BusyError(f"no answer within {self._timeout_s:g} s") from error
        except openai.APIStatusError as error:
            # Not from it: its own text may repeat the key, in whole or in part.
            raise self._status_error(error.status_code, error.body, error.response) from None
        except openai.APIConnectionError as error:
            raise BusyError(self.shown(f"no connection: {_root(error)}")) from error

    def _status_error(self, status: int, body: Any, response: Any) -> StatusError:
        told = body if isinstance(body, dict) else {}
        kinds = {str(told[name]) for name in ("code", "type") if told.get(name)}
        message = self.shown(told.get("message") or response.text)
        return StatusError(status, message, kinds, told.get("param"), _retry_after_s(response.headers))

    def _meaning(self, error: StatusError) -> ReviewLLMError | RowError:
        """What an error means for the row, or for the run."""
        config = self._config
        if error.status == 401:
            return ConfigError(f"{config.url} refuses the key (401); {key_advice(config)}")
        if error.status == 402 or error.kinds & _NO_MONEY:
            return EngineError(
                f"{config.url} answers no more, for want of money: {error}; top the account up and run the same again: what it "
                "has answered is kept"
            )
        if error.status == 404:
            return ConfigError(f"{config.url} does not know the model {config.model!r}, or not by this URL: {error}")
        if error.status in (408, 409, 429) or error.status >= 500:
            busy = BusyError(str(error))
            busy.retry_after_s = error.retry_after_s
            return busy
        if error.param == "n":
            return ConfigError(
                f"{config.url}: the model {config.model!r} does not take n, several texts in one request: {error}; leave out "
                "--drafts"
            )
        if error.param in _SAMPLING and error.param not in config.unsupported:
            return ConfigError(
                f"{config.url}: the model {config.model!r} does not take {error.param} as it is set: {error}; set it "
                f"otherwise, or leave it to the model with unsupported: [{error.param}] among the endpoint's options"
            )
        return RefusedError(str(error))

    def shown(self, text: Any) -> str:
        """A text of the endpoint for messages: short, on one line, and without the key, should it be repeated there."""
        plain = " ".join(str(text).split())
        return (plain.replace(self._key, "[key]") if self._key else plain)[:_MESSAGE_CHARS]

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()


def key_advice(config: EndpointConfig) -> str:
    """What to do about a key that is refused."""
    if config.api_key_variable is None:
        return "it was sent none: name the environment variable that holds one in api_key_variable"
    return f"put the right one into the environment variable {config.api_key_variable} (api_key_variable)"


def _root(error: BaseException) -> BaseException:
    """What an error came of: those above it say that there was one."""
    below = error.__cause__ or error.__context__
    root = _root(below) if below else error
    return root if str(root) else error


def _count(told: Any) -> int | None:
    """A number of tokens that a request can have taken; None for anything else."""
    return told if isinstance(told, int) and not isinstance(told, bool) and 0 <= told <= _MOST_TOKENS else None


def _retry_after_s(headers: Any) -> float | None:
    """Retry-After, in seconds or as a date; None where there is none that can be read."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
