"""How a model behind an OpenAI-compatible endpoint is reached, and where its key is."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator

from reviewllm.config import StageConfig
from reviewllm.errors import ConfigError

_OURS = ("model", "messages", "prompt", "stream", "n", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed")
_LIKE_A_KEY = r"(?=.*[a-z])(?=.*[0-9]).{20,}"  # gsk_..., hf_...: letters and digits like a name's, but who names one so
_KEY_CHARS = 16  # shorter ones are made up ("EMPTY"), and may stand anywhere


class EndpointConfig(StageConfig):
    """One model behind an endpoint. It names the variable that holds the key; the key itself is in no configuration."""

    model_config = ConfigDict(hide_input_in_errors=True)  # somebody may write a key where its variable belongs

    url: str = Field(description="base URL, as https://api.openai.com/v1 or http://host:8000/v1")
    model: str = Field(min_length=1, description="name of the model at the endpoint")
    api: Literal["chat", "completions"] = Field(
        "chat", description="chat sends the prompt as one user message; completions is for models without a chat template"
    )
    api_key_variable: str | None = Field(
        "OPENAI_API_KEY", description="environment variable that holds the key; null for a server that wants none"
    )
    max_concurrency: int = Field(8, ge=1, description="requests under way at once")
    requests_per_minute: float | None = Field(None, gt=0, description="requests that are begun in a minute at most")
    tokens_per_minute: float | None = Field(
        None,
        gt=0,
        description="tokens of a minute's requests at most: those of the prompts plus max_new_tokens for each text",
    )
    timeout_s: float = Field(60, gt=0, description="seconds until a request without an answer is given up")
    max_attempts: int = Field(6, ge=1, description="how often a request is sent that the endpoint could not take")
    price_per_million_prompt_tokens: float = Field(0.0, ge=0, description="for the table of costs, in any currency")
    price_per_million_completion_tokens: float = Field(0.0, ge=0, description="likewise")
    unsupported: list[Literal["temperature", "top_p", "seed"]] = Field(
        [], description="sampling parameters that this model refuses; they are not sent, and it writes with its own"
    )
    extra_body: dict[str, Any] = Field({}, description="passed on in every request, for a server's own options")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, given: Any) -> Any:
        """In place of pydantic's own check, which would show what stands there: it may be a key."""
        unknown = sorted(set(given) - set(cls.model_fields)) if isinstance(given, dict) else []
        if unknown:
            raise ValueError(
                f"there is no option {', '.join(map(str, unknown))}; there are {', '.join(cls.model_fields)} (a key is never "
                "written down: export it, and name the variable in api_key_variable)"
            )
        return given

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError(
                "holds credentials or a query, which would end in logs and files; give the key by the environment variable "
                "that api_key_variable names"
            )
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0 or re.search(r"\s", url):
            raise ValueError("is no http or https URL; expected one such as https://api.openai.com/v1")
        return url.rstrip("/")

    @field_validator("api_key_variable")
    @classmethod
    def _check_variable(cls, name: str | None) -> str | None:
        if name and (not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or re.fullmatch(_LIKE_A_KEY, name)):
            raise ValueError(
                "is no name of an environment variable, and looks like a key, which must not be written down (if it is one, "
                "it has been seen: revoke it); export the key, and name the variable here, as OPENAI_API_KEY"
            )
        return name or None

    @field_validator("extra_body")
    @classmethod
    def _check_body(cls, body: dict[str, Any]) -> dict[str, Any]:
        ours = sorted(set(body) & set(_OURS))
        if ours:
            raise ValueError(f"must not hold {', '.join(ours)}: reviewllm sets them from the options of the job")
        try:
            json.dumps(body)
        except TypeError as error:  # as a date of YAML
            raise ValueError(f"cannot be sent as JSON: {error}; put quotes around the value") from error
        return body

    def deciding(self) -> dict[str, Any]:
        """What of this decides the text, for the fingerprint."""
        return self.model_dump(include={"url", "model", "api", "unsupported", "extra_body"})


@contextmanager
def keys_apart(endpoints: Mapping[str, EndpointConfig]) -> Iterator[dict[str, SecretStr | None]]:
    """Each endpoint's key, by the endpoint's name; meanwhile the variables are out of this process's environment.

    To be entered before Ray is started: its processes take over the environment of the one that starts them.

    Raises:
        ConfigError: a variable is not set or holds no key, or the configuration holds the key itself.
    """
    keys = {name: _read_key(name, endpoint) for name, endpoint in endpoints.items()}
    variables = {endpoint.api_key_variable for endpoint in endpoints.values() if endpoint.api_key_variable}
    taken = {variable: os.environ.pop(variable) for variable in variables}
    try:
        yield keys
    finally:
        os.environ.update(taken)


def _read_key(name: str, endpoint: EndpointConfig) -> SecretStr | None:
    variable = endpoint.api_key_variable
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ConfigError(
            f"endpoint {name}: the environment variable {variable}, which is to hold the key of {endpoint.url}, is not set; "
            "export it, or set api_key_variable: null for a server that wants no key"
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ConfigError(f"endpoint {name}: the environment variable {variable} holds spaces or signs that no key has")
    if len(key) >= _KEY_CHARS and key in endpoint.model_dump_json():
        raise ConfigError(
            f"endpoint {name}: its options hold the key itself, which would end in files; leave it out, the environment "
            f"variable {variable} is enough"
        )
    return SecretStr(key)
