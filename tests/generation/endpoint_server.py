"""A real HTTP server on loopback that answers as an OpenAI-compatible endpoint does, or as a test tells it to."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

KEY = "sk-test-0123456789abcdefghij"


class Call(NamedTuple):
    """A request: its path, headers (names in lower case), body, prompt, how often that prompt has come, and when."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    prompt: str
    number: int
    at: float


class Reply(NamedTuple):
    """What the server does: a status with a body, after a while; or it closes the connection hard."""

    status: int
    body: Any
    headers: dict[str, str] = {}
    delay_s: float = 0.0
    reset: bool = False


def text(content: str | None, *, reason: str = "stop", delay_s: float = 0.0, **usage: int) -> Reply:
    """An answer of both APIs at once, billed as 10 prompt tokens and 3 of the completion unless `usage` says otherwise."""
    billed = {"prompt_tokens": 10, "completion_tokens": 3, **usage}
    choice = {"message": {"role": "assistant", "content": content}, "text": content, "finish_reason": reason, "index": 0}
    return Reply(200, {"choices": [choice], "usage": billed}, delay_s=delay_s)


def texts(*contents: str) -> Reply:
    """An answer of several texts."""
    replies = [text(content).body for content in contents]
    return Reply(200, {**replies[0], "choices": [reply["choices"][0] for reply in replies]})


def error(status: int, message: str = "no", *, headers: dict[str, str] | None = None, **more: Any) -> Reply:
    """An error as OpenAI words it; `more` are code, type and param."""
    return Reply(status, {"error": {"message": message, **more}}, headers or {})


class EndpointServer:
    """The server; `rule` answers completions, `models` is what its list holds (None: there is no list)."""

    def __init__(self) -> None:
        self.rule: Callable[[Call], Reply] = lambda call: text(f"Answer to {call.prompt}")
        self.models: Reply | None = Reply(200, {"object": "list", "data": [{"id": "gpt-test"}, {"id": "other"}]})
        self.calls: list[Call] = []
        self.most_at_once = 0
        self._at_once = 0
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"

    @contextmanager
    def running(self) -> Iterator[EndpointServer]:
        """Serve meanwhile."""
        thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._http.shutdown()
            self._http.server_close()

    def reply(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Reply:
        """Answer one request, and note it."""
        prompt = body["messages"][0]["content"] if "messages" in body else body.get("prompt", "")
        with self._lock:
            self._seen[prompt] += 1
            call = Call(path, headers, body, prompt, self._seen[prompt], time.monotonic())
            self.calls.append(call)
            if path.endswith("/models"):
                return self.models or error(404)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            reply = self.rule(call)
            time.sleep(reply.delay_s)
            return reply
        finally:
            with self._lock:
                self._at_once -= 1


def _handler(server: EndpointServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

        def _answer(self, body: dict[str, Any]) -> None:
            reply = server.reply(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            if reply.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
                return
            content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            try:
                self.send_response(reply.status)
                for name, value in {"content-type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:  # the client has given up
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Nothing on the screen."""

    return Handler
