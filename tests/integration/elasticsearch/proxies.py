"""What may stand between a client and Elasticsearch, on a free port of 127.0.0.1: TLS with logins, and a bad network.

with TlsProxy(url, folder) as proxy:
    Elasticsearch(proxy.url, ca_certs=proxy.ca, api_key=proxy.api_key)

with FaultyProxy(url, share=0.1, seed=7) as proxy:
    ...
assert proxy.counts["503"] > 0
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import json
import random
import secrets
import ssl
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

FAULTS = ("429", "503", "cut before", "cut inside", "garbled", "truncated")
"""429, 503: refused; Elasticsearch never saw the request. The others are carried out first. cut before, cut inside: the
connection ends instead of the response, or somewhere in its body. garbled, truncated: a response that is complete as
HTTP, but with bytes overwritten (it is no UTF-8 any more), or with the beginning of its body alone."""
_ONE_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "te", "trailer", "upgrade"}


@dataclass(frozen=True)
class Answer:
    """A whole response. length: what Content-Length says when that is not the body's."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    length: int | None = None

    @classmethod
    def error(cls, status: HTTPStatus, kind: str, reason: str, *headers: tuple[str, str]) -> Answer:
        """As Elasticsearch words its errors."""
        body = json.dumps({"error": {"type": kind, "reason": reason}, "status": int(status)}).encode()
        standard = [("X-Elastic-Product", "Elasticsearch"), ("Content-Type", "application/json")]
        return cls(status, [*standard, *headers], body)


_REFUSALS = {
    "429": Answer.error(
        HTTPStatus.TOO_MANY_REQUESTS, "es_rejected_execution_exception", "rejected execution: the queue is full"
    ),
    "503": Answer.error(HTTPStatus.SERVICE_UNAVAILABLE, "cluster_block_exception", "blocked by: no master"),
}


class Proxy:
    """Passes every request on and every answer back; a context manager. `url` is where it listens, once entered."""

    scheme = "http"

    def __init__(self, target_url: str) -> None:
        parts = urlsplit(target_url)
        if parts.scheme != "http":
            raise ValueError(f"the target must be a plain http:// URL, not {target_url}")
        self.target = (str(parts.hostname), parts.port or 80)
        self.url = ""

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.dress(self._server)
        self.url = f"{self.scheme}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def dress(self, server: _Server) -> None:
        """Before the first connection."""

    def treat(self, handler: _Handler, body: bytes) -> None:
        handler.answer(handler.forward(body))


class TlsProxy(Proxy):
    """TLS with a certificate for 127.0.0.1 and localhost, and a login by API key or by name and password, else 401.

    ca: the file of the authority that signed the certificate, made in `folder` as all its keys. api_key is the encoded
    form, as Elasticsearch(api_key=…) and the header want it.
    """

    scheme = "https"

    def __init__(self, target_url: str, folder: Path, *, basic_auth: tuple[str, str] = ("elastic", "secret")) -> None:
        super().__init__(target_url)
        self.ca, self._certificate = _make_certificates(folder)
        self.basic_auth = basic_auth
        self.api_key = _base64(f"test-key:{secrets.token_urlsafe(16)}")
        self.welcome = {f"ApiKey {self.api_key}", f"Basic {_base64(':'.join(basic_auth))}"}

    def dress(self, server: _Server) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._certificate)
        # The handshake is left to the connection's own thread: in accept() one slow client would hold up all others.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)

    def treat(self, handler: _Handler, body: bytes) -> None:
        if handler.headers.get("Authorization") in self.welcome:
            return super().treat(handler, body)
        challenges = [("WWW-Authenticate", 'Basic realm="security", charset="UTF-8"'), ("WWW-Authenticate", "ApiKey")]
        reason = f"missing or wrong credentials for REST request [{handler.path}]"
        handler.answer(Answer.error(HTTPStatus.UNAUTHORIZED, "security_exception", reason, *challenges))


class FaultyProxy(Proxy):
    """Treats a share of the requests, drawn with `seed`, to one of the faults in `kinds` (see FAULTS).

    only: which requests may meet one, by method and path with query; the others pass. counts: how many met what, with
    "passed" for those that went through untouched, among them responses without a body to spoil. One request at a time,
    the same seed gives the same faults; requests in parallel draw in the order of their arrival.
    """

    def __init__(
        self,
        target_url: str,
        *,
        share: float = 0.1,
        seed: int = 0,
        kinds: Sequence[str] = FAULTS,
        only: Callable[[str, str], bool] | None = None,
    ) -> None:
        super().__init__(target_url)
        self.share, self.kinds, self.only = share, tuple(kinds), only
        self.counts: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def treat(self, handler: _Handler, body: bytes) -> None:
        fault, where = self._draw(handler)
        if fault in _REFUSALS:
            return self._done(fault, handler, _REFUSALS[fault])
        whole = handler.forward(body)
        if fault == "cut before":
            return self._done(fault, handler, None)
        if fault is None or not whole.body:
            return self._done("passed", handler, whole)
        place = int(len(whole.body) * where)
        beginning, length = whole.body[:place], len(whole.body)
        spoilt = {
            "cut inside": replace(whole, body=beginning, length=length),
            "truncated": replace(whole, body=beginning),
            "garbled": replace(whole, body=beginning + b"\xff\xff" + whole.body[place + 2 :]),
        }
        self._done(fault, handler, spoilt[fault])

    def _draw(self, handler: _Handler) -> tuple[str | None, float]:
        if self.only is not None and not self.only(handler.command, handler.path):
            return None, 0.0
        with self._lock:
            hit, fault, where = self._random.random(), self._random.choice(self.kinds), self._random.uniform(0.2, 0.8)
        return (fault if hit < self.share else None), where

    def _done(self, what: str, handler: _Handler, answer: Answer | None) -> None:
        with self._lock:  # before the answer is sent: whoever has it may read the counts
            self.counts[what] += 1
        if answer is None:
            handler.close_connection = True
        else:
            handler.answer(answer)


class _Server(ThreadingHTTPServer):
    proxy: Proxy
    daemon_threads = True
    block_on_close = False  # a client's idle connection must not hold up the end of a test
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up or breaks off its handshake is no news."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _treat(self) -> None:
        self.server.proxy.treat(self, self._body())

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = _treat  # noqa: N815

    def forward(self, body: bytes) -> Answer:
        """The target's answer to this request; 502 when it gives none."""
        left_out = _ONE_HOP | {"host", "accept-encoding"}  # compressed, a garbled body would not be garbled JSON
        headers = {name: value for name, value in self.headers.items() if name.lower() not in left_out}
        connection = http.client.HTTPConnection(*self.server.proxy.target, timeout=60)
        try:
            connection.request(self.command, self.path, body or None, headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as problem:
            return Answer.error(HTTPStatus.BAD_GATEWAY, "proxy_exception", f"no answer from the target: {problem!r}")
        finally:
            connection.close()
        kept = [(name, value) for name, value in response.getheaders() if name.lower() not in _ONE_HOP]
        said = response.getheader("Content-Length") if self.command == "HEAD" else None
        return Answer(response.status, kept, content, int(said) if said else None)

    def answer(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        length = len(answer.body) if answer.length is None else answer.length
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
            self.close_connection |= len(answer.body) < length

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass
        return b"".join(chunks)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _make_certificates(folder: Path) -> tuple[Path, Path]:
    """ca.pem, and node.pem with the certificate it signed and its key; valid for a day."""
    folder.mkdir(parents=True, exist_ok=True)
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _certificate("A test authority", authority_key, None, authority_key)
    leaf = _certificate("127.0.0.1", key, authority, authority_key)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    ca, node = folder / "ca.pem", folder / "node.pem"
    ca.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    node.touch(mode=0o600)
    node.write_bytes(leaf.public_bytes(serialization.Encoding.PEM) + private)
    return ca, node


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    """An authority when it has no issuer. Has what Python's strict verification asks for."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    builder = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(hours=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=issuer is None, crl_sign=issuer is None, **usage),
            critical=True,
        )
    )
    if issuer is not None:
        names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
