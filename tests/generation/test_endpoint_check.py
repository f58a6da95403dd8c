"""What is wrong with an endpoint is said before anything is spent, and in words that help."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from conftest import free_port
from generation.endpoint_server import KEY, EndpointServer, Reply, error
from pydantic import SecretStr

from reviewllm.errors import ConfigError, EngineError, ReviewLLMError
from reviewllm.generation.endpoint_check import check_endpoint
from reviewllm.generation.endpoint_config import EndpointConfig


def said(kind: type[ReviewLLMError], url: str, **options: object) -> str:
    config = EndpointConfig(**{"url": url, "model": "gpt-test", "api_key_variable": "TEST_KEY", **options})
    with pytest.raises(kind) as raised:
        check_endpoint("gpt", config, SecretStr(KEY))
    assert KEY not in str(raised.value)
    assert str(raised.value).startswith(f"endpoint gpt: {url} ")
    return str(raised.value)


def test_check_an_endpoint_that_works_is_asked_once_and_for_no_text(server: EndpointServer) -> None:
    check_endpoint("gpt", EndpointConfig(url=server.url, model="gpt-test"), SecretStr(KEY))
    assert [(call.path, call.headers["authorization"]) for call in server.calls] == [("/v1/models", f"Bearer {KEY}")]


def test_check_a_model_that_is_not_there_is_refused_with_those_that_are(server: EndpointServer) -> None:
    assert said(ConfigError, server.url, model="gpt-tset").endswith("has no model 'gpt-tset'; it has gpt-test, other")
    server.models = Reply(200, {"data": [{"id": f"m{number}"} for number in range(12)]})
    assert said(ConfigError, server.url).endswith("it has m0, m1, m2, m3, m4, m5, m6, m7, m8, m9 and 2 more")


@pytest.mark.parametrize("status", [401, 403])
def test_check_a_wrong_key_is_named_by_its_variable(server: EndpointServer, status: int) -> None:
    server.models = error(status, f"Incorrect API key provided: {KEY[:8]}***{KEY[-4:]}")
    message = said(ConfigError, server.url)
    assert f"refuses the key ({status}); put the right one into the environment variable TEST_KEY" in message
    assert KEY[:8] not in message
    assert "was sent none: name the environment variable" in said(ConfigError, server.url, api_key_variable=None)


@pytest.mark.parametrize("status", [404, 405])
def test_check_a_server_without_a_list_of_models_is_taken_as_it_is(server: EndpointServer, status: int) -> None:
    server.models = error(status)
    check_endpoint("gpt", EndpointConfig(url=server.url, model="any"), None)


def test_check_what_is_no_endpoint_is_told_by_its_answer(server: EndpointServer) -> None:
    server.models = Reply(200, b"<html>Welcome</html>", {"content-type": "text/html"})
    assert "its /models is no list of models but '<html>Welcome</html>'; check the URL" in said(EngineError, server.url)
    server.models = error(503, "starting")
    assert "answers 503: starting; try again when it works" in said(EngineError, server.url)


@pytest.fixture
def silent() -> Iterator[str]:
    """A port that takes connections and says nothing."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"


def test_check_nobody_there_is_said_at_once(silent: str) -> None:
    started = time.monotonic()
    assert "Connect call failed" in said(EngineError, f"http://127.0.0.1:{free_port()}/v1")
    assert "no connection: " in said(EngineError, "http://no-such-host.invalid/v1")
    assert "no answer within 0.5 s" in said(EngineError, silent, timeout_s=0.5)
    assert time.monotonic() - started < 9


def test_check_a_server_without_tls_is_told_from_one_that_is_not_there(server: EndpointServer) -> None:
    assert "SSL" in said(EngineError, server.url.replace("http:", "https:"))
