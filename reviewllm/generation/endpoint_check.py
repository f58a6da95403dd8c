"""Whether an endpoint is there, takes the key and has the model: seen before anything is spent."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing

from pydantic import SecretStr

from reviewllm.errors import ConfigError, EngineError
from reviewllm.generation.endpoint_client import BusyError, EndpointClient, StatusError, key_advice
from reviewllm.generation.endpoint_config import EndpointConfig

_TIMEOUT_S = 10.0
_SHOWN = 10  # names of models in a message


def check_endpoint(name: str, config: EndpointConfig, key: SecretStr | None) -> None:
    """Ask an endpoint for the list of its models, which costs nothing; one without such a list is taken as it is.

    Args:
        name: of the endpoint, for messages.
        key: of `keys_apart`.

    Raises:
        EngineError: it does not answer, or not as an endpoint does.
        ConfigError: it refuses the key, or has no such model.
    """
    models = asyncio.run(_models(name, config, key))
    if models is None or config.model in models:
        return
    more = f" and {len(models) - _SHOWN} more" if len(models) > _SHOWN else ""
    raise ConfigError(
        f"endpoint {name}: {config.url} has no model {config.model!r}; it has {', '.join(models[:_SHOWN]) or 'none'}{more}"
    )


async def _models(name: str, config: EndpointConfig, key: SecretStr | None) -> list[str] | None:
    """The names of an endpoint's models; None where it has no list of them."""
    async with aclosing(EndpointClient(config, key, timeout_s=min(_TIMEOUT_S, config.timeout_s))) as client:
        try:
            listed = await client.send("get", "/models")
            return [str(model["id"]) for model in json.loads(listed)["data"]]
        except BusyError as error:
            raise EngineError(
                f"endpoint {name}: {config.url} cannot be reached: {error}; check the URL, the network, and that the server runs"
            ) from error
        except StatusError as error:
            if error.status in (404, 405):
                return None
            if error.status in (401, 403):
                raise ConfigError(
                    f"endpoint {name}: {config.url} refuses the key ({error.status}); {key_advice(config)}"
                ) from None  # the server's own words may repeat the key
            raise EngineError(f"endpoint {name}: {config.url} answers {error}; try again when it works") from error
        except (ValueError, LookupError, TypeError) as error:
            raise EngineError(
                f"endpoint {name}: {config.url} answers, but not as an OpenAI-compatible endpoint does: its /models is no list "
                f"of models but {client.shown(listed)!r}; check the URL, which mostly ends in /v1"
            ) from error
