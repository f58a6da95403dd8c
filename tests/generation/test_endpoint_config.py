"""A key is named, never written down: not in a configuration, not in a message."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
from typing import Any

import pytest
from generation.endpoint_server import KEY
from pydantic import ConfigDict, ValidationError

from reviewllm.config import JobConfig, describe, parse
from reviewllm.errors import ConfigError
from reviewllm.generation.endpoint_config import EndpointConfig, keys_apart

URL = "http://host:8000/v1"


class Job(JobConfig):
    """A job that takes endpoints; what pydantic itself says of a wrong option is the outermost configuration's affair."""

    model_config = ConfigDict(hide_input_in_errors=True)
    endpoints: dict[str, EndpointConfig] = {}


def refused(**options: Any) -> str:
    """What a job says to such an endpoint; the key is nowhere in it."""
    with pytest.raises(ValidationError) as error:
        Job(endpoints={"gpt": {"url": URL, "model": "m", **options}})
    for shown in (describe(error.value), str(error.value), repr(error.value)):
        assert not [secret for secret in (KEY, "hunter2", "gsk_0123") if secret in shown], shown
    return describe(error.value)


@pytest.mark.parametrize("key", [KEY, "sk-proj-a", "gsk_0123456789abcdefghij", "two words", "1ST"])
def test_config_a_key_in_the_place_of_its_variable_is_refused(key: str) -> None:
    assert "is no name of an environment variable, and looks like a key" in refused(api_key_variable=key)


@pytest.mark.parametrize("option", ["api_key", "key", "headers"])
def test_config_unknown_option_is_refused_without_its_value(option: str) -> None:
    assert f"there is no option {option}; there are url, model" in refused(**{option: KEY})


def test_config_url() -> None:
    assert "holds credentials" in refused(url="https://user:hunter2@host/v1")
    assert "holds credentials or a query" in refused(url="https://host/v1?key=hunter2")
    for url in ("host:8000/v1", "ftp://host/v1", "https://", "http://a b/v1", "http://host:99999/v1"):
        assert refused(url=url)
    assert EndpointConfig(url=f"{URL}/", model="m").url == URL


def test_config_what_the_job_sets_is_not_for_extra_body() -> None:
    assert "must not hold stream, temperature" in refused(extra_body={"temperature": 1, "stream": True, "top_k": 5})


def test_config_what_yaml_reads_as_a_date_cannot_be_sent() -> None:
    assert "put quotes around the value" in refused(extra_body={"version": dt.date(2026, 1, 1)})


def test_config_from_the_command_line() -> None:
    endpoint = f'{{"gpt": {{"url": "{URL}", "model": "m", "api_key_variable": null, "unsupported": ["seed"]}}}}'
    made = parse(Job, ["--endpoints", endpoint]).endpoints["gpt"]
    assert (made.api_key_variable, made.unsupported) == (None, ["seed"])
    assert EndpointConfig(url=URL, model="m", api_key_variable="").api_key_variable is None


def test_config_deciding_is_what_changes_the_text() -> None:
    config = EndpointConfig(url=URL, model="m")
    same = config.model_copy(update={"max_concurrency": 1, "api_key_variable": None, "timeout_s": 1})
    assert config.deciding() == same.deciding()
    assert config.deciding() != config.model_copy(update={"extra_body": {"top_k": 5}}).deciding()


def test_keys_apart_are_out_of_the_environment_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", f" {KEY}\n")
    config = EndpointConfig(url=URL, model="m", api_key_variable="TEST_KEY")
    keyless = config.model_copy(update={"api_key_variable": None})
    with keys_apart({"a": config, "b": config, "c": keyless}) as keys:
        assert "TEST_KEY" not in os.environ
        assert KEY.encode() not in subprocess.run(["env", "-0"], capture_output=True, check=True).stdout  # as Ray's would be
        assert keys["a"] is not None
        assert keys["a"].get_secret_value() == KEY
        assert keys["c"] is None
        assert KEY not in repr(keys)
    assert os.environ["TEST_KEY"] == f" {KEY}\n"


def test_keys_apart_refuses_what_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    config = EndpointConfig(url=URL, model="m", api_key_variable="TEST_KEY")

    def said(endpoint: EndpointConfig = config) -> str:
        with pytest.raises(ConfigError) as error, keys_apart({"gpt": endpoint}):
            pass
        return str(error.value)

    monkeypatch.delenv("TEST_KEY", raising=False)
    assert "endpoint gpt: the environment variable TEST_KEY" in said()
    assert "export it, or set api_key_variable: null" in said()
    monkeypatch.setenv("TEST_KEY", "hunter2 hunter2")
    assert "hunter2" not in said()
    monkeypatch.setenv("TEST_KEY", KEY)
    assert KEY not in said(config.model_copy(update={"extra_body": {"auth": KEY}}))
