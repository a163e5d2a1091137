"""A language model server on 127.0.0.1 that does what a test says: answers well, late, broken, or not at all.

A conftest.py imports the fixture by name: `from scripted_llm import scripted_llm`. The test gives `script`, a function
of a request (see `Asked`) that returns a `Reply`; it runs in the server's threads.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass(frozen=True)
class Asked:
    """One request. number: from 0, in the order in which they came."""

    number: int
    body: dict[str, Any]
    headers: Mapping[str, str]
    path: str

    @property
    def system(self) -> str:
        return "\n".join(message["content"] for message in self.body["messages"] if message["role"] == "system")

    @property
    def user(self) -> str:
        return "\n".join(message["content"] for message in self.body["messages"] if message["role"] == "user")


@dataclass(frozen=True)
class Reply:
    """What goes back. cut: bytes after which the connection is closed. drip: seconds between single bytes."""

    content: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    delay: float = 0.0
    cut: int | None = None
    drip: float = 0.0


def completion(
    text: Any, *, finish_reason: str = "stop", tokens: tuple[int, int] | None = (20, 5), **message: Any
) -> Reply:
    """A well-formed answer. text: its content, None or a list of parts as well. tokens: of prompt and answer; None: the
    server does not say. message: further fields of it, such as reasoning_content."""
    document: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "choices": [
            {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", "content": text, **message}},
        ],
    }
    if tokens:
        document["usage"] = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    return Reply(json.dumps(document).encode())


def error(status: int, message: str = "no", *, code: str | None = None, **headers: str) -> Reply:
    """An error as OpenAI-compatible servers word it. headers: Retry_After="1" becomes Retry-After."""
    content = json.dumps({"error": {"message": message, "type": "error", "code": code}}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(content, status, {"Content-Type": "application/json", **named})


Script = Callable[[Asked], Reply]


class ScriptedLlm:
    """The server. requests: what came in. most_at_once: requests that were being answered at the same time."""

    def __init__(self) -> None:
        self.script: Script = lambda asked: completion("3")
        self.requests: list[Asked] = []
        self.times: list[float] = []
        self.most_at_once = 0
        self._at_once = self._connected = 0
        self._lock = threading.Lock()
        place = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                sent = self.rfile.read(length)
                if len(sent) < length:  # the client was killed as it asked
                    self.close_connection = True
                    return
                body = json.loads(sent)
                with place._lock:
                    asked = Asked(len(place.requests), body, dict(self.headers.items()), self.path)
                    place.requests.append(asked)
                    place.times.append(time.monotonic())
                    place._at_once += 1
                    place.most_at_once = max(place.most_at_once, place._at_once)
                try:
                    self._say(place.script(asked))
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True  # the client gave up, which is what some tests are about
                finally:
                    with place._lock:
                        place._at_once -= 1

            def _say(self, reply: Reply) -> None:
                time.sleep(reply.delay)
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.content)))
                self.end_headers()
                content = reply.content[: reply.cut]
                for piece in [bytes([byte]) for byte in content] if reply.drip else [content]:
                    self.wfile.write(piece)
                    self.wfile.flush()
                    time.sleep(reply.drip)
                if reply.cut is not None:
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128

            def process_request(self, request: Any, client_address: Any) -> None:
                with place._lock:
                    place._connected += 1
                super().process_request(request, client_address)

            def shutdown_request(self, request: Any) -> None:
                super().shutdown_request(request)
                with place._lock:
                    place._connected -= 1

            def handle_error(self, request: Any, client_address: Any) -> None:
                if not isinstance(sys.exc_info()[1], ConnectionError):  # else the client is gone, or was killed
                    super().handle_error(request, client_address)

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def quiet(self, seconds: float = 60) -> None:
        """Waits until nobody is connected any more: then what a client sent right before it was killed is in `requests`
        as well."""
        with socket.create_connection(self._server.server_address[:2], timeout=seconds) as last:
            last.shutdown(socket.SHUT_WR)
            last.recv(1)  # it ends when it was taken in, so whoever came earlier is counted
        deadline = time.monotonic() + seconds
        while self._connected:
            assert time.monotonic() < deadline, f"{self._connected} clients are still connected"
            time.sleep(0.005)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def scripted_llm() -> Iterator[ScriptedLlm]:
    server = ScriptedLlm()
    yield server
    server.close()
