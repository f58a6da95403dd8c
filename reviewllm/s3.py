"""The client of S3-compatible stores: what a URI may say, how long it tries, and what to do about its errors.

Measured against a server on loopback (tests/test_s3.py has the short forms):

    what the store does                      an ordinary request gives up after    a hasty one after
    answers 503 SlowDown, or 500, always     51 s, 12 requests                     3.2 s, 8 requests
    refuses connections                      51 s                                  3.2 s
    takes connections and never answers      5 min, an upload 6 min                27 s, an upload 83 s
    cuts a connection once                   asks again at once                    the same

The pauses double from 50 ms on. The SDK's "standard" strategy, pyarrow's default, is not used: it has tokens for 100
repetitions that pyarrow never refills, after which a long run ends at the first throttled request.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from pyarrow import fs

RETRIES, TIMEOUT_S = 11, 20.0
HASTY_RETRIES, HASTY_TIMEOUT_S = 7, 3.0
CONNECT_TIMEOUT_S = 5.0
PATIENCE_HASTY_S = (
    85.0  # within which a hasty request has come to an end; a silent upload takes curl 7 s more than its time-out
)
_ONE_REQUEST_BYTES = 8 << 20  # pyarrow sends 10 MB and more in parts
_TOO_LONG_FOR_ITS_BUFFER = "Failed to flush response stream"
_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID")
_SWITCHES = ("allow_bucket_creation", "allow_bucket_deletion", "force_virtual_addressing", "anonymous")
_TEXTS = ("region", "scheme", "endpoint_override", "tls_ca_file_path", "role_arn", "session_name")
_ADVICE = {  # what pyarrow's messages have of an error: what to do about it
    ("ACCESS_DENIED", "SIGNATURE_DOES_NOT_MATCH", "INVALID_ACCESS_KEY_ID", "InvalidAccessKeyId", "HTTP status 403"): (
        "the store refuses these credentials here: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws or the machine's "
        "role, and that they may list, read, write and delete below that place"
    ),
    ("NO_SUCH_BUCKET", "Bucket '", "bucket does not exist"): "there is no such bucket: make it, or name another",
    ("SLOW_DOWN", "HTTP status 503", "HTTP status 500", "SERVICE_UNAVAILABLE", _TOO_LONG_FOR_ITS_BUFFER): (
        "the store was too busy for longer than this job waits: run again later, or let fewer jobs run at once"
    ),
    (
        "NETWORK_CONNECTION",
    ): "no answer from the store: check endpoint_override, scheme and region of the URI, and the network",
}


Result = TypeVar("Result")


class S3(fs.S3FileSystem):  # type: ignore[misc]
    """An S3 file system made from a URI, with the settings above; it is pickled with them.

    (pyarrow pickles its own without the retry strategy.)
    """

    def __init__(self, uri: str, *, hasty: bool = False, one_request: bool = False) -> None:
        """Make the client; sends a request only where the URI names neither a region nor an endpoint.

        Args:
            uri: s3://bucket/prefix?option=value; credentials come from the environment, ~/.aws or the machine's role.
            hasty: give up within `PATIENCE_HASTY_S`.
            one_request: send an object in one request, which only small ones may be; see `for_size`.

        Raises:
            ValueError: an option is unknown or has no sense.
        """
        self._made_of = (uri, hasty)
        settings = _settings(uri)
        if not settings.keys() & {"region", "endpoint_override"}:
            settings["region"] = fs.resolve_s3_region(urlsplit(uri).netloc)
        super().__init__(
            **settings,
            connect_timeout=CONNECT_TIMEOUT_S,
            request_timeout=HASTY_TIMEOUT_S if hasty else TIMEOUT_S,
            retry_strategy=fs.AwsDefaultS3RetryStrategy(max_attempts=HASTY_RETRIES if hasty else RETRIES),
            allow_delayed_open=one_request,
            check_directory_existence_before_creation=True,
        )

    def for_size(self, size: int) -> S3:
        """The client to write an object of so many bytes with.

        A small one is one request and not three. A larger one must not be opened so late: where the store refuses to begin its
        upload in parts, pyarrow puts what it has, none of it or some, in the object's place.
        """
        if size > _ONE_REQUEST_BYTES:
            return self
        return self._one_request

    @functools.cached_property
    def _one_request(self) -> S3:
        uri, hasty = self._made_of
        return S3(uri, hasty=hasty, one_request=True)

    def __reduce__(self) -> Any:
        uri, hasty = self._made_of
        return _again, (uri, hasty)


def _again(uri: str, hasty: bool) -> S3:
    return S3(uri, hasty=hasty)


def root_of(uri: str) -> str:
    """Bucket and prefix of a URI.

    >>> root_of("s3://bucket/a%20b/?region=eu-west-1")
    'bucket/a b'
    """
    parts = urlsplit(uri)
    if not parts.netloc:
        raise ValueError("it names no bucket; expected s3://bucket/prefix")
    return unquote(f"{parts.netloc}{parts.path}").rstrip("/")


def _settings(uri: str) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for name, value in parse_qsl(urlsplit(uri).query, keep_blank_values=True):
        if name in _TEXTS:
            settings[name] = value
        elif name in _SWITCHES:
            if value.lower() not in ("true", "false", "1", "0"):
                raise ValueError(f"option {name}: expected true or false, not {value!r}")
            settings[name] = value.lower() in ("true", "1")
        else:
            raise ValueError(f"unknown option {name!r}; known are {', '.join(sorted((*_TEXTS, *_SWITCHES)))}")
    return settings


def explain(error: Exception) -> str:
    """An error's text in one line, with what to do about it, and without the credentials of this process."""
    text = " ".join(str(error).split())
    for name in _SECRETS:
        secret = os.environ.get(name, "")
        if len(secret) >= 8:  # shorter ones are no real ones, and would blank out parts of words
            text = text.replace(secret, f"<{name}>")
    for marks, advice in _ADVICE.items():
        if any(mark in text for mark in marks):
            return f"{text}; {advice}"
    return text


def patiently(read: Callable[[], Result]) -> Result:
    """Read, and read again where the store's answer was an error that pyarrow takes for a broken stream.

    It reads a range into a buffer of the range's size. The text of a 503 does not fit into that of a small range, and the
    error that comes of it is none that the client tries again.

    Raises:
        OSError: any other error, or this one again and again.
    """
    for retry in range(RETRIES):
        try:
            return read()
        except OSError as error:
            if _TOO_LONG_FOR_ITS_BUFFER not in str(error):
                raise
            time.sleep(0.05 * 2**retry)
    return read()


def is_refusal(error: Exception) -> bool:
    """Whether the store could not be reached or did not give a file, other than a file that is not there or is damaged."""
    return not isinstance(error, FileNotFoundError) and "AWS Error" in str(error)
