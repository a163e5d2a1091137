"""HTTP exchanges end: by time, size and depth, whatever the other side sends."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator

import httpx
import pytest

from rerankops.exchange import DEPTH, Exchanges, Reply, TooDeep, TooLarge, TooSlow, parse

Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that sends these bytes to whoever connects, and gives its URL. pause: seconds between bytes."""
    listening: list[socket.socket] = []
    stop = threading.Event()

    def serve(content: bytes, pause: float = 0.0) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        listening.append(server)

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                try:
                    for start in range(0, len(content), 1 if pause else len(content)):
                        connection.sendall(content[start : start + 1] if pause else content)
                        if stop.wait(pause):
                            return
                except OSError:
                    return

        threading.Thread(target=answer, daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}/"

    yield serve
    stop.set()
    for server in listening:
        server.close()


def response(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def fetch(url: str, *, seconds: float = 30, largest: int = 1000) -> Reply:
    with httpx.Client(timeout=30) as client:
        return Exchanges(client).send("GET", url, seconds=seconds, largest=largest)


@pytest.mark.parametrize(
    "drips", [response(b"x", "X-Long: " + "x" * 900), response(b"x" * 900)], ids=["its headers", "its body"]
)
def test_a_reply_that_drips_is_late_although_each_byte_is_in_time(serve: Serve, drips: bytes) -> None:
    started = time.monotonic()
    with pytest.raises(TooSlow, match=r"within 0\.5 s"):
        fetch(serve(drips, pause=0.02), seconds=0.5)
    assert time.monotonic() - started < 10


def test_the_time_of_one_exchange_is_not_that_of_the_next(serve: Serve) -> None:
    with httpx.Client(timeout=30) as client:
        exchanges = Exchanges(client)
        with pytest.raises(TooSlow):
            exchanges.send("GET", serve(response(b"x" * 900), pause=0.02), seconds=0.2, largest=1000)
        assert exchanges.send("GET", serve(response(b"x")), seconds=30, largest=1000).content == b"x"


@pytest.mark.parametrize("pack", [lambda body: body, gzip.compress, zlib.compress], ids=["plain", "gzip", "deflate"])
def test_size_is_that_of_what_was_unpacked(serve: Serve, pack: Callable[[bytes], bytes]) -> None:
    name = {gzip.compress: ["Content-Encoding: gzip"], zlib.compress: ["Content-Encoding: deflate"]}.get(pack, [])
    assert fetch(serve(response(pack(b"x" * 1000), *name))).content == b"x" * 1000
    with pytest.raises(TooLarge):
        fetch(serve(response(pack(b"x" * 1001), *name)))
    with pytest.raises(TooLarge):
        fetch(serve(response(pack(b"x" * 50_000_000), *name)))


@pytest.mark.parametrize(
    ("body", "header"),
    [(b"x", "gzip"), (gzip.compress(b"x" * 500)[:20], "gzip"), (b"x", "br")],
    ids=["no gzip", "half a gzip", "another packing than was asked for"],
)
def test_a_reply_that_cannot_be_unpacked_says_so(serve: Serve, body: bytes, header: str) -> None:
    with pytest.raises(httpx.DecodingError, match=header):
        fetch(serve(response(body, f"Content-Encoding: {header}")))


def test_json_may_nest_so_deep_and_no_deeper() -> None:
    deep = b"[" * DEPTH + b"]" * DEPTH
    assert parse(deep) == json.loads(deep)
    for content in (b"[" * (DEPTH + 1) + b"]" * (DEPTH + 1), b"[" * 1_000_000, b'{"a":' * 100_000):
        with pytest.raises(TooDeep):
            parse(content)


def test_brackets_in_texts_and_beside_one_another_are_no_depth() -> None:
    wide = {"text": "[{" * 500 + '\\" [[', "list": [[]] * 500}
    assert parse(json.dumps(wide).encode()) == wide


def test_a_text_that_never_ends_is_refused_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(ValueError):
        parse(b"[" * 90 + b"[[" * 90 + b'"' + b'\\"' * 1_000_000)
    assert time.monotonic() - started < 5
