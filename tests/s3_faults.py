"""A proxy in front of an S3 server that misbehaves as real ones do: it throttles and cuts connections."""

from __future__ import annotations

import http.client
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

SLOW_DOWN = (
    b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate."
    b"</Message><RequestId>1</RequestId></Error>"
)
_PIECE = 1 << 16


class Faults:
    """What the proxy does wrong; may be changed at any time. `log` has each request as `METHOD /path?query`."""

    def __init__(self) -> None:
        self.throttle = 0  # so many requests from now on are answered with 503 SlowDown
        self.throttle_fraction = 0.0  # and of the others so large a share
        self.cut_after: int | None = None  # once: bytes of the body of an upload after which the connection is cut
        self.cut_answer_after: int | None = None  # once: bytes of an answer's body after which the connection is cut
        self.on_upload: Callable[[], None] | None = None  # once: called when an upload begins
        self.refuse: Callable[[str], bool] = lambda request: False  # requests that are always throttled
        self.hold_back: Callable[[str], bool] = lambda request: False  # cut, and done by the server when `held` is called
        self.held: list[Callable[[], object]] = []
        self.mangle = False  # store what clients that send checksums wrap around an upload, as servers do that know none
        self.log: list[str] = []
        self.throttled = self.cuts = 0
        self._draw, self._lock = random.Random(0), threading.Lock()

    def wants_throttle(self, request: str) -> bool:
        """Whether this request is to be answered with 503, counted."""
        with self._lock:
            self.log.append(request)
            wanted = self.throttle > 0 or self.refuse(request) or self._draw.random() < self.throttle_fraction
            self.throttle = max(0, self.throttle - 1)
            self.throttled += wanted
            return wanted

    def take(self, name: str) -> Any:
        """The value of a fault that happens once, and unset it."""
        with self._lock:
            value = getattr(self, name)
            setattr(self, name, None)
            return value


class _CutError(Exception):
    """The connection is to be cut."""


@contextmanager
def faulty(where: str) -> Iterator[tuple[str, Faults]]:
    """The same place as seen through a proxy, and the faults of that proxy."""
    server = parse_qs(urlsplit(where).query)["endpoint_override"][0]
    faults = Faults()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except (_CutError, OSError):
                self.close_connection = True
                self.connection.close()

        def _serve(self) -> None:
            throttled = faults.wants_throttle(f"{self.command} {self.path}")
            if self.command in ("PUT", "POST") and (act := faults.take("on_upload")):
                act()
            body = self._body()
            if throttled:
                self._answer(503, {"Content-Type": "application/xml"}, SLOW_DOWN)
                return
            if faults.hold_back(f"{self.command} {self.path}"):
                faults.held.append(lambda: self._forward(body))
                raise _CutError
            answer, content = self._forward(body)
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP_BY_HOP}
            self._answer(answer.status, headers, content, length=answer.getheader("Content-Length"))

        def _forward(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
            upstream = http.client.HTTPConnection(server, timeout=60)
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "expect", "transfer-encoding", "content-length"):
                    upstream.putheader(name, value)
            upstream.putheader("Content-Length", str(len(body)))
            upstream.endheaders(body)
            answer = upstream.getresponse()
            content = answer.read()
            upstream.close()
            return answer, content

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve

        def _body(self) -> bytes:
            length = int(self.headers.get("X-Amz-Decoded-Content-Length") or self.headers.get("Content-Length") or 0)
            upload = self.command == "PUT"
            cut = faults.take("cut_after") if upload and length > (faults.cut_after or length) else None
            read = bytearray()
            for piece in self._pieces():
                read += piece
                if cut is not None and len(read) >= cut:
                    faults.cuts += 1
                    raise _CutError
            return b"9\r\n" + read if faults.mangle and upload else bytes(read)

        def _pieces(self) -> Iterator[bytes]:
            if self.headers.get("Transfer-Encoding") != "chunked":
                left = int(self.headers.get("Content-Length", 0))
                while left:
                    piece = self.rfile.read(min(_PIECE, left))
                    if not piece:
                        raise _CutError
                    left -= len(piece)
                    yield piece
                return
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()

        def _answer(self, status: int, headers: dict[str, str], content: bytes, length: str | None = None) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(content)))
            self.end_headers()
            if self.command == "HEAD":
                return
            if len(content) > (faults.cut_answer_after or len(content)):
                self.wfile.write(content[: faults.take("cut_answer_after")])
                faults.cuts += 1
                raise _CutError
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing on the screen."""

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    proxy.daemon_threads = True
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield where.replace(server, f"127.0.0.1:{proxy.server_port}"), faults
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()


_HOP_BY_HOP = ("connection", "content-length", "transfer-encoding", "date", "server")


@contextmanager
def silent_port() -> Iterator[int]:
    """A port that takes connections into its queue and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        yield int(listening.getsockname()[1])
