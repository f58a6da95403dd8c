"""What looks like a secret, where everybody could read it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from reviewllm.errors import ConfigError

_NAME = re.compile(
    r"(?:^|[_-])(?:token|secret|password|passwd|credentials?|signature|sig|(?:api|access|private|secret|account)[_-]?key(?:[_-]?id)?)$",
    re.IGNORECASE,
)
_VALUE = re.compile(
    r"://[^\s\"']*@"  # a user in a URL
    r"|\b(?:hf_\w{30}|sk-[\w-]{20}|AKIA[A-Z0-9]{16}|gh[pousr]_\w{20}|glpat-[\w-]{15}|xox[abp]-[\w-]{10}|eyJ[\w-]{10,}\.[\w-]{10,}\.)"
)
_OPTION = re.compile(r"[?&]([\w.-]+)=")


def refuse_secrets(found: object, where: str) -> None:
    """Refuse values, and names with a value, that look like a secret.

    Args:
        found: words of a command, JSON among them, or nested mappings and sequences.
        where: what it is, for the message.

    Raises:
        ConfigError: there is one; the message names its place, never its value.
    """
    place = _place_of_secret(found)
    if place is not None:
        raise ConfigError(
            f"{where}: {place or 'a value'}: looks like a secret, and everybody who can list jobs would see it; set it in the "
            "environment of the cluster's nodes"
        )


def _place_of_secret(found: object, name: str = "") -> str | None:
    """Where the first one is; '' where that has no name, None where there is none."""
    if isinstance(found, Mapping):
        for key, value in found.items():
            inner = f"{name}.{key}" if name else str(key)
            place = inner if _NAME.search(str(key)) and value else _place_of_secret(value, inner)
            if place is not None:
                return place
        return None
    if isinstance(found, Sequence) and not isinstance(found, str):
        before = ""
        for value in found:
            if isinstance(value, str) and _NAME.search(before) and not value.startswith("-"):
                return before
            if (place := _place_of_secret(value, before or name)) is not None:
                return place
            before = value if isinstance(value, str) and value.startswith("--") else ""
        return None
    return _of_text(str(found), name)


def _of_text(text: str, name: str) -> str | None:
    flag, sign, _ = text.partition("=")
    if text.startswith("--") and sign:
        name = flag
        if _NAME.search(flag):
            return flag
    if text[:1] in ("{", "["):
        try:
            return _place_of_secret(json.loads(text), name)
        except ValueError:
            pass
    if _VALUE.search(text) or any(map(_NAME.search, _OPTION.findall(text))):
        return name
    return None
