"""What an endpoint has answered, kept from run to run: nothing that was paid for is asked again.

One JSON line for each answer, in the order in which they came. What is no answer (a refusal, an error) costs nothing and is
not kept.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from reviewllm.errors import ConfigError, StorageError
from reviewllm.generation.endpoint_client import Answer
from reviewllm.generation.endpoint_config import EndpointConfig


class Costs(NamedTuple):
    """What answers took, in tokens as the endpoint bills them; `without_usage` answers, which tell none, count as 0."""

    requests: int
    without_usage: int
    prompt_tokens: int
    completion_tokens: int
    cost: float


def costs(answers: Iterable[Answer], config: EndpointConfig) -> Costs:
    """Sums over answers, at the prices of the configuration; a request that was given up may be billed, and is not here.

    >>> config = EndpointConfig(url="http://h/v1", model="m", price_per_million_prompt_tokens=2.5)
    >>> costs([Answer("Fine.", "stop", 400_000, 2, 1.0), Answer("Bad.", "stop", None, None, 1.0)], config)
    Costs(requests=2, without_usage=1, prompt_tokens=400000, completion_tokens=2, cost=1.0)
    """
    kept = list(answers)
    prompt_tokens = sum(answer.prompt_tokens or 0 for answer in kept)
    completion_tokens = sum(answer.completion_tokens or 0 for answer in kept)
    cost = (
        prompt_tokens * config.price_per_million_prompt_tokens
        + completion_tokens * config.price_per_million_completion_tokens
    ) / 1e6
    without = sum(answer.prompt_tokens is None for answer in kept)
    return Costs(len(kept), without, prompt_tokens, completion_tokens, cost)


def request_key(url: str, body: dict[str, Any], seed: int) -> str:
    """sha256 over all that decides an answer: the URL, the request's body, where the endpoint's key is not, and the seed.

    The seed also where a model takes none: each repetition of an evaluation gets an answer of its own.
    """
    return hashlib.sha256(json.dumps([url, body, seed], sort_keys=True).encode()).hexdigest()


class AnswerJournal:
    """The file of an endpoint's answers; one process at a time.

    A crash of this process loses no answer that was added; one of the machine may lose the last few.
    """

    def __init__(self, path: Path) -> None:
        """Read what is there, and cut off a last line that a crash left half written.

        Raises:
            ConfigError: another process is at work on it.
            StorageError: it cannot be read or written, or a line is no answer.
        """
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "a+b", buffering=0)  # noqa: SIM115  (closed by `close`)
        except OSError as error:
            raise StorageError(f"{path}: cannot be opened: {error}") from error
        with ExitStack() as unless_read:
            unless_read.callback(self._file.close)
            self._lock()
            self.known = self._read()
            unless_read.pop_all()

    def add(self, key: str, answer: Answer) -> None:
        """Keep an answer.

        Raises:
            StorageError: it cannot be written, as on a full disk.
        """
        line = (json.dumps({"key": key, **answer._asdict()}, ensure_ascii=False) + "\n").encode()
        try:
            if self._file.write(line) != len(line):
                raise OSError("the disk is full")
        except OSError as error:
            raise StorageError(f"{self._path}: cannot be written: {error}") from error
        self.known[key] = answer

    def close(self) -> None:
        """Let another process have it."""
        self._file.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"{self._path}: another run asks this endpoint for the same; wait until it ends") from error

    def _read(self) -> dict[str, Answer]:
        self._file.seek(0)
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        self._file.truncate(whole)
        return dict(self._parse(number, line) for number, line in enumerate(content[:whole].split(b"\n")[:-1], start=1))

    def _parse(self, number: int, line: bytes) -> tuple[str, Answer]:
        try:
            fields = json.loads(line)
            more = tuple(tuple(draft) for draft in fields.pop("more", ()))
            return fields.pop("key"), Answer(**fields, more=more)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise StorageError(
                f"{self._path}, line {number}: is no answer of an endpoint; remove the line, and it is asked for again"
            ) from error
