"""Nothing that was answered is asked again: not after a kill, not where the last line is torn."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from generation.endpoint_server import KEY, EndpointServer, text
from pydantic import SecretStr

from reviewllm.errors import ConfigError, StorageError
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.endpoint import Endpoint, EndpointPrompt
from reviewllm.generation.endpoint_client import Answer, request_body
from reviewllm.generation.endpoint_config import EndpointConfig
from reviewllm.generation.endpoint_journal import AnswerJournal, request_key

ANSWER = Answer("Schön \u2028 \U0001f600\nnew line", "stop", 10, 3, 0.5)


def journal_of(path: Path, *keys: str) -> None:
    journal = AnswerJournal(path)
    for key in keys:
        journal.add(key, ANSWER)
    journal.close()


def known(path: Path) -> dict[str, Answer]:
    journal = AnswerJournal(path)
    journal.close()
    return journal.known


def test_journal_keeps_answers_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "new" / "gpt.jsonl"
    journal_of(path, "a")
    journal_of(path, "b")
    assert known(path) == {"a": ANSWER, "b": ANSWER}
    assert [set(json.loads(line)) for line in path.read_bytes().splitlines()] == [{"key", *Answer._fields}] * 2


def test_journal_keeps_drafts_and_reads_answers_without(tmp_path: Path) -> None:
    drafted = ANSWER._replace(more=(("Another.", "stop"), ("A third", "length")))
    path = tmp_path / "gpt.jsonl"
    journal = AnswerJournal(path)
    journal.add("a", drafted)
    journal.close()
    path.write_text(path.read_text() + json.dumps({"key": "b", **ANSWER._asdict()} | {"more": []}) + "\n")
    assert known(path) == {"a": drafted, "b": ANSWER}


@pytest.mark.parametrize("lost", [1, 2, 40])
def test_journal_a_torn_last_line_is_ignored_and_overwritten(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "gpt.jsonl"
    journal_of(path, "a", "b")
    path.write_bytes(path.read_bytes()[:-lost])
    assert set(known(path)) == {"a"}
    journal_of(path, "c")
    assert set(known(path)) == {"a", "c"}


def test_journal_a_line_that_is_no_answer_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gpt.jsonl"
    journal_of(path, "a")
    for line in (b"{\n", b"[]\n", b"\n", b'{"key": "b"}\n', b"\xff\n"):
        path.write_bytes(path.read_bytes().splitlines(keepends=True)[0] + line)
        with pytest.raises(StorageError, match=r"gpt\.jsonl, line 2: is no answer of an endpoint; remove the line"):
            AnswerJournal(path)


def test_journal_is_for_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "gpt.jsonl"
    journal = AnswerJournal(path)
    with pytest.raises(ConfigError, match="another run asks this endpoint"):
        AnswerJournal(path)
    journal.close()
    journal_of(path, "a")


def test_journal_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be opened"):
        AnswerJournal(tmp_path / "file" / "gpt.jsonl")
    journal = AnswerJournal(tmp_path / "gpt.jsonl")
    journal.close()
    journal._file = open("/dev/full", "r+b", buffering=0)  # noqa: SIM115
    with pytest.raises(StorageError, match=r"gpt\.jsonl: cannot be written: .*No space left"):
        journal.add("a", ANSWER)
    journal.close()


def test_request_key_changes_with_all_that_decides_the_text() -> None:
    config, generation = EndpointConfig(url="http://h/v1", model="m"), GenerationConfig()

    def key(prompt: str = "p", seed: int = 0, *, sampling: dict[str, Any] | None = None, **options: Any) -> str:
        changed = config.model_copy(update=options)
        body = request_body(changed, generation.model_copy(update=sampling or {}), prompt, seed)
        return request_key(changed.url, body, seed)

    keys = [
        key(),
        key("q"),
        key(seed=1),
        key(url="http://other/v1"),
        key(model="n"),
        key(api="completions"),
        key(extra_body={"top_k": 5}),
        key(unsupported=["seed"]),
        key(seed=1, unsupported=["seed"]),
        *(key(sampling=one) for one in ({"temperature": 0.5}, {"top_p": 0.5}, {"max_new_tokens": 9})),
    ]
    assert len(set(keys)) == len(keys)
    assert key(max_concurrency=1, api_key_variable=None, timeout_s=1, price_per_million_prompt_tokens=1) == key()


PROMPTS = [EndpointPrompt(f"prompt {number}", 7, number) for number in range(40)]
RUN = """
import asyncio, os, sys
from pathlib import Path
from generation.test_endpoint_journal import ask
asyncio.run(ask(sys.argv[1], Path(sys.argv[2]), os.environ["TEST_KEY"]))
"""


async def ask(url: str, journal: Path, key: str) -> list[Any]:
    config = EndpointConfig(url=url, model="gpt-test", max_concurrency=3)
    async with aclosing(Endpoint(config, GenerationConfig(), key=SecretStr(key), journal=journal)) as endpoint:
        return list(await endpoint.write(PROMPTS))


def test_run_that_is_killed_goes_on_where_it_was(server: EndpointServer, tmp_path: Path) -> None:
    server.rule = lambda call: text(f"Answer to {call.prompt}", delay_s=0.05)
    path = tmp_path / "gpt.jsonl"
    root = Path(__file__).parents[2]
    environment = {**os.environ, "TEST_KEY": KEY, "PYTHONPATH": f"{root}:{root / 'tests'}"}
    process = subprocess.Popen([sys.executable, "-c", RUN, server.url, str(path)], env=environment)
    try:
        deadline = time.monotonic() + 60
        while len(server.calls) < 15 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    kept = {line["text"].removeprefix("Answer to ") for line in map(json.loads, path.read_text().splitlines())}
    assert 5 <= len(kept) < 40
    path.write_bytes(path.read_bytes() + b'{"key": "torn')
    server.calls.clear()
    server.rule = lambda call: text(f"Answer to {call.prompt}")
    results = asyncio.run(ask(server.url, path, KEY))
    assert [result.text for result in results] == [f"Answer to {prompt.text}" for prompt in PROMPTS]
    assert {call.prompt for call in server.calls} == {prompt.text for prompt in PROMPTS} - kept
    assert len(server.calls) == 40 - len(kept)
    assert len(path.read_text().splitlines()) == 40
    assert KEY not in path.read_text()
