"""HTTP exchanges with limits: on the total time of a reply, its size once unpacked, and its nesting depth.

httpx applies its time-outs to each read, so a server that sends a byte now and then never exceeds them. Here the limit
is on the whole reply, including its headers.
"""

from __future__ import annotations

import json
import re
import threading
import time
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import httpcore
import httpx

DEPTH = 100
"""How deep lists and objects may nest in a reply. No API sends deeper replies, and Python's own limit would depend on
the caller."""
_PACKED = {"gzip", "x-gzip", "deflate"}
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)  # "?: a string without an end is one token


class TooLarge(Exception):
    """The reply is larger than allowed; the message says how large it may be."""


class TooSlow(Exception):
    """The reply did not arrive, or was not complete, within the time allowed."""


class TooDeep(ValueError):
    """JSON with lists and objects nested deeper than any reply needs."""


class Reply(NamedTuple):
    """A reply. content: unpacked."""

    status: int
    headers: httpx.Headers
    content: bytes


class Exchanges:
    """An httpx client with limits on its exchanges. client: may use proxies; its creator closes it."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._ends = threading.local()
        for transport in (client._transport, *client._mounts.values()):
            pool = getattr(transport, "_pool", None)
            if pool is not None:  # httpx has no public way to change how it reads
                pool._network_backend = _Backend(pool._network_backend, self._ends)

    def send(
        self,
        method: str,
        url: str,
        *,
        seconds: float,
        largest: int,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Sends one request and returns its reply. seconds: for the whole exchange. largest: bytes, unpacked. Raises
        TooLarge, TooSlow, and what httpx raises."""
        self._ends.at = time.monotonic() + seconds
        sent = {"accept-encoding": "gzip", **(headers or {})}
        try:
            with self._client.stream(method, url, content=content, headers=sent, params=params) as response:
                return Reply(response.status_code, response.headers, self._body(response, largest))
        except httpx.ReadTimeout as error:
            if time.monotonic() >= self._ends.at:
                raise TooSlow(f"no whole reply within {seconds:g} s") from error
            raise
        finally:
            self._ends.at = None

    def _body(self, response: httpx.Response, largest: int) -> bytes:
        packed = response.headers.get("content-encoding", "identity").strip().lower()
        if packed not in _PACKED | {"identity", ""}:
            raise httpx.DecodingError(f"a reply packed as {packed!r} although gzip was asked for")
        unpack = zlib.decompressobj(47) if packed in _PACKED else None
        body = bytearray()
        piece = b""
        try:
            for piece in response.iter_raw():
                body += piece if unpack is None else unpack.decompress(piece, largest + 1 - len(body))
                if len(body) > largest:
                    raise TooLarge(f"a reply of more than {largest / 2**20:g} MB")
        except zlib.error as error:
            raise httpx.DecodingError(f"a reply that is no {packed}: {error}") from error
        if unpack is not None and piece and not unpack.eof:
            raise httpx.DecodingError(f"a reply whose {packed} ends early")
        return bytes(body)


def parse(content: bytes) -> Any:
    """The JSON value of a reply. Raises ValueError; TooDeep when it nests deeper than DEPTH."""
    if content.count(b"[") + content.count(b"{") > DEPTH:
        depth = 0
        for token in _TOKENS.finditer(content):
            sign = content[token.start()]
            depth += (sign in b"[{") - (sign in b"]}")
            if depth > DEPTH:
                raise TooDeep(f"more than {DEPTH} lists and objects inside one another")
    return json.loads(content)


class _Backend(httpcore.NetworkBackend):
    """Opens connections whose reads end when the exchange of their thread ends."""

    def __init__(self, inner: httpcore.NetworkBackend, ends: threading.local) -> None:
        self._inner, self._ends = inner, ends

    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return _Stream(self._inner.connect_tcp(*args, **kwargs), self._ends)

    def connect_unix_socket(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return _Stream(self._inner.connect_unix_socket(*args, **kwargs), self._ends)

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, ends: threading.local) -> None:
        self._inner, self._ends = inner, ends

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        at = getattr(self._ends, "at", None)
        if at is not None:
            left = at - time.monotonic()
            if left <= 0:
                raise httpcore.ReadTimeout("the time for the whole reply is over")
            timeout = left if timeout is None else min(timeout, left)
        return self._inner.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(*args, **kwargs), self._ends)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
