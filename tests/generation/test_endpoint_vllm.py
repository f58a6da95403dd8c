"""The endpoint of vLLM's own server: a model of one's own, in an evaluation, by the API that everybody's clients use."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from conftest import WORDS, free_port
from generation.endpoint_server import KEY
from pydantic import SecretStr

from reviewllm.errors import ConfigError
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.endpoint import Endpoint, EndpointPrompt
from reviewllm.generation.endpoint_check import check_endpoint
from reviewllm.generation.endpoint_client import Answer
from reviewllm.generation.endpoint_config import EndpointConfig
from reviewllm.generation.failures import Failure
from reviewllm.tiny_base import TinyBaseConfig, make_tiny_base

pytestmark = [pytest.mark.vllm_server, pytest.mark.ray]

TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
_START_SECONDS = 240
PROMPTS = ["### Input:\nA fine rake.\n### Response:\n", "I love the grip. " * 5, "too long " * 2000]


@pytest.fixture(scope="module")
def vllm_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server on loopback, with a key, of a base with random weights."""
    folder = tmp_path_factory.mktemp("vllm")
    size = TinyBaseConfig(base_vocabulary=300, base_hidden=64, base_layers=1, base_steps=0)  # vLLM needs heads of 32
    base = make_tiny_base([WORDS], folder / "base", size, context=512)
    template = folder / "template.jinja"
    template.write_text(TEMPLATE)
    port = free_port()
    options = {"--model": base, "--served-model-name": "tiny", "--max-model-len": 512, "--block-size": 32}
    options |= {"--host": "127.0.0.1", "--port": port, "--chat-template": template, "--api-key": KEY, "--max-num-seqs": 8}
    flags = [str(part) for option in options.items() for part in option]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *flags]
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_until_ready(server, f"http://127.0.0.1:{port}/health", folder / "log")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _wait_until_ready(server: subprocess.Popen[bytes], health: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(health, timeout=2).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    pytest.fail(f"vLLM's server did not start:\n{log.read_text()[-3000:]}")


def write(url: str, journal: Path, **options: Any) -> tuple[list[Answer | Failure], int]:
    """What the server writes for the prompts, and how many requests that took."""
    config = EndpointConfig(url=url, model="tiny", **options)
    generation = GenerationConfig(max_new_tokens=16, temperature=0.8)

    async def run() -> tuple[list[Answer | Failure], int]:
        async with aclosing(Endpoint(config, generation, key=SecretStr(KEY), journal=journal)) as endpoint:
            asked = [EndpointPrompt(prompt, 20, seed) for seed, prompt in enumerate(PROMPTS)]
            return await endpoint.write(asked), endpoint.costs()["paid"].requests

    return asyncio.run(run())


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_vllm_server_writes_the_same_again_bills_tokens_and_refuses_what_is_too_long(
    vllm_url: str, tmp_path: Path, api: str
) -> None:
    more = {"api": api, "extra_body": {"ignore_eos": True}}
    (first, second, long), paid = write(vllm_url, tmp_path / "a.jsonl", **more)
    for answer in (first, second):
        assert isinstance(answer, Answer)
        assert answer.text
        assert (answer.completion_tokens, answer.finish_reason) == (16, "length")
        assert answer.prompt_tokens is not None
        assert 10 < answer.prompt_tokens < 200
    assert isinstance(long, Failure)
    assert (long.error_class, long.attempts) == ("Refused", 1)
    assert "context length" in long.message
    assert paid == 2
    again, _ = write(vllm_url, tmp_path / "b.jsonl", **more)
    assert [one.text for one in again[:2] if isinstance(one, Answer)] == [first.text, second.text]  # by their seeds
    kept, paid = write(vllm_url, tmp_path / "a.jsonl", **more)
    assert kept[:2] == [first, second]
    assert paid == 0


def test_vllm_server_is_checked(vllm_url: str) -> None:
    config = EndpointConfig(url=vllm_url, model="tiny")
    check_endpoint("tiny", config, SecretStr(KEY))
    with pytest.raises(ConfigError, match=r"has no model 'large'; it has tiny$"):
        check_endpoint("tiny", config.model_copy(update={"model": "large"}), SecretStr(KEY))
    with pytest.raises(ConfigError, match=r"refuses the key \(401\); put the right one into .* OPENAI_API_KEY"):
        check_endpoint("tiny", config, SecretStr("sk-wrong"))
