"""Talking to Elasticsearch: one way to connect, to try again, and to say in one line what is wrong.

Nothing here needs more than Elasticsearch's free core. Tries are ours (tenacity), not the client's: they back off.
"""

from __future__ import annotations

import logging
import os
import random
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import elastic_transport
import numpy as np
from elasticsearch import ApiError, Elasticsearch, UnsupportedProductError
from elasticsearch.helpers import pack_dense_vector
from numpy.typing import NDArray
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from rerankops.config import ElasticsearchSettings
from rerankops.errors import InputError, ServerRefused, ServerUnavailable, SettingsError

log = logging.getLogger("rerankops")
T = TypeVar("T")
RETRIED = (429, 500, 502, 503, 504)
"""Statuses that another try may well not get."""
_FIRST_PAUSE = 0.2
"""Seconds before the second try, at most; doubled from try to try."""
_PACKED = (9, 3)
OLDEST = 9
"""Major version: quantised HNSW with rescoring as it is asked for here."""


@dataclass(frozen=True)
class Connection:
    """Where the cluster is and who we are. Secrets are not shown by repr."""

    hosts: tuple[str, ...]
    ca_certs: str | None = None
    api_key: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def configured(cls, settings: ElasticsearchSettings, environ: Mapping[str, str] | None = None) -> Connection:
        """Hosts from the settings, credentials from the environment. Raises SettingsError when no host is named."""
        environ = os.environ if environ is None else environ
        if not settings.hosts:
            raise SettingsError("setting elasticsearch.hosts names no server: give at least one, http://localhost:9200")
        return cls(
            settings.hosts,
            settings.ca_certs,
            environ.get("ELASTICSEARCH_API_KEY") or None,
            environ.get("ELASTICSEARCH_USERNAME") or None,
            environ.get("ELASTICSEARCH_PASSWORD") or None,
        )


class Cluster:
    """A cluster and how patiently it is asked. Use it as a context manager; `client` is the official client."""

    def __init__(self, connection: Connection, settings: ElasticsearchSettings) -> None:
        self.connection, self.settings = connection, settings
        logging.getLogger("elastic_transport.node_pool").setLevel(logging.ERROR)  # each try that failed is told by us
        if secret := next((host for host in connection.hosts if "@" in host), None):
            raise SettingsError(
                f"setting elasticsearch.hosts has credentials before the @ of …{secret.rpartition('@')[2]}; put them "
                "into ELASTICSEARCH_USERNAME and ELASTICSEARCH_PASSWORD, or the Airflow connection"
            )
        credentials: dict[str, Any] = {}
        if connection.api_key:
            key = connection.api_key.strip()  # a key that was read from a file ends in a newline
            if not key.isascii() or not key.isprintable():
                raise SettingsError("ELASTICSEARCH_API_KEY holds a character that no encoded API key has")
            credentials["api_key"] = key
        elif connection.username:
            credentials["basic_auth"] = (connection.username, connection.password or "")
        if connection.ca_certs:
            if not Path(connection.ca_certs).is_file():
                raise SettingsError(f"setting elasticsearch.ca_certs: there is no file {connection.ca_certs}")
            try:
                ssl.create_default_context(cafile=connection.ca_certs)
            except ssl.SSLError as error:
                raise SettingsError(
                    f"setting elasticsearch.ca_certs: {connection.ca_certs} holds no PEM certificate ({error.reason})"
                ) from error
            credentials["ca_certs"] = connection.ca_certs
        try:
            self.client = Elasticsearch(
                list(connection.hosts),
                request_timeout=settings.request_timeout,
                max_retries=0,
                retry_on_timeout=False,
                # Answers come as gzip, whose checksum shows what a broken network garbled. Requests do not: vectors in
                # base64 hardly shrink, and compressing them was seen to cost more than sending them.
                headers={"accept-encoding": "gzip"},
                connections_per_node=max(10, settings.search_concurrency, settings.bulk_concurrency),
                **credentials,
            )
        except ValueError as error:
            raise SettingsError(f"setting elasticsearch.hosts is {list(connection.hosts)}: {error}") from error

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def ask(self, doing: str, request: Callable[[], T], *, missing: str | None = None) -> T:
        """What `request` returns, tried again with backoff and jitter while the server is busy or away.

        doing: what is being done, for the message ("search index passages"). missing: what to do about a 404.
        Raises ServerUnavailable when every try failed, ServerRefused at once when another try would be refused as well.
        """
        retrying = Retrying(
            stop=stop_after_attempt(1 + self.settings.retries),
            wait=wait_random_exponential(multiplier=_FIRST_PAUSE, max=self.settings.max_backoff),
            retry=retry_if_exception(worth_another_try),
            reraise=True,
            before_sleep=_note,
        )
        with self.told(doing, missing=missing):
            return retrying(request)

    @contextmanager
    def told(self, doing: str, *, missing: str | None = None) -> Iterator[None]:
        """Turns the client's errors into ours."""
        try:
            yield
        except (ApiError, elastic_transport.TransportError, UnsupportedProductError) as error:
            raise explained(error, doing, self.connection, missing) from error

    def pause(self, attempt: int) -> None:
        """Waits as long as `ask` does after its try number `attempt` (from 0), for parts of an answer that failed."""
        time.sleep(random.uniform(0, min(self.settings.max_backoff, _FIRST_PAUSE * 2**attempt)))

    @cached_property
    def version(self) -> tuple[int, ...] | None:
        """The oldest server's version; None when these credentials may not ask for it, as a key for some indexes alone.

        Raises ServerRefused when it is older than this code was made for.
        """
        try:
            found = self.ask(
                "ask for the server's version", lambda: self.client.nodes.info(node_id="_all", metric="_none")
            )
        except ServerRefused as refused:
            if isinstance(refused.__cause__, ApiError) and refused.__cause__.meta.status == 403:
                return None
            raise
        oldest = min(tuple(map(int, re.findall(r"\d+", node["version"])[:3])) for node in found["nodes"].values())
        if oldest[0] < OLDEST:
            raise ServerRefused(_too_old(self.connection, ".".join(map(str, oldest))))
        return oldest

    def vector(self, numbers: NDArray[np.float32]) -> str | list[float]:
        """A vector as the server reads it fastest: since 9.3 the base64 of its bytes, a thirtieth of the time to write
        and less than half the size of its decimal digits."""
        if self.version is not None and self.version >= _PACKED:
            return pack_dense_vector(numbers)
        return [float(f"{number:.8g}") for number in numbers.tolist()]


def worth_another_try(error: BaseException) -> bool:
    """Whether the same request may succeed later. A certificate that does not fit will not; a handshake that broke off,
    as with a server that is being restarted, may."""
    if isinstance(error, ApiError):
        return error.meta.status in RETRIED
    if isinstance(error, elastic_transport.TlsError):
        return "EOF" in _first(error)
    return isinstance(error, elastic_transport.TransportError)


def explained(
    error: Exception, doing: str, connection: Connection, missing: str | None = None
) -> ServerRefused | ServerUnavailable | InputError:
    """The one line to show for an error of the client."""
    where = f"Elasticsearch at {', '.join(connection.hosts)}"
    if isinstance(error, elastic_transport.TlsError) and not worth_another_try(error):
        return ServerRefused(f"{where}: {_tls_problem(_first(error))}")
    if isinstance(error, UnsupportedProductError):
        return ServerRefused(f"{where}: what answers there is no Elasticsearch; check elasticsearch.hosts")
    if not isinstance(error, ApiError):
        hint = "is it running and reachable?"
        if "without response" in _first(error) and any(host.startswith("http:") for host in connection.hosts):
            hint += " If it wants TLS, write https:// in elasticsearch.hosts"
        return ServerUnavailable(f"{where}: cannot {doing}: {_first(error)}; {hint}")
    status, reason = error.meta.status, reason_of(error.body)
    if status == 401:
        how = "API key" if connection.api_key else "user name and password" if connection.username else "no credentials"
        return ServerRefused(
            f"{where} refuses who we are ({how} given); set ELASTICSEARCH_API_KEY, or ELASTICSEARCH_USERNAME and "
            "ELASTICSEARCH_PASSWORD, or the Airflow connection"
        )
    if status == 403:
        return ServerRefused(f"{where}: these credentials may not {doing}: {reason}")
    if "media_type_header_exception" in str(error.body):
        return ServerRefused(_too_old(connection, "an older version"))
    if "index_closed_exception" in str(error.body):
        return ServerRefused(f"{where}: cannot {doing}: {reason}; open it: POST INDEX/_open")
    if status == 404 and missing:
        return ServerRefused(f"{where}: cannot {doing}: {reason}; {missing}")
    if status in RETRIED:
        return ServerUnavailable(f"{where}: cannot {doing}: status {status}, {reason}")
    if "x-elastic-product" not in error.meta.headers:
        return ServerRefused(
            f"{where}: what answers there is no Elasticsearch (status {status}, {reason[:80]!r}); check "
            "elasticsearch.hosts"
        )
    return ServerRefused(f"{where}: cannot {doing}: status {status}, {reason}")


def _tls_problem(words: str) -> str:
    """What is wrong with a handshake that would fail again, and what to do about it."""
    if "CERTIFICATE_VERIFY_FAILED" in words:
        return (
            f"its certificate is not trusted ({words}); set elasticsearch.ca_certs to the PEM file of the authority "
            "that signed it"
        )
    if "WRONG_VERSION_NUMBER" in words or "RECORD_LAYER_FAILURE" in words:
        return f"no TLS is spoken there ({words}); write http:// in elasticsearch.hosts"
    return f"the TLS handshake failed ({words}); check elasticsearch.hosts and elasticsearch.ca_certs"


def reason_of(body: Any) -> str:
    """The innermost reason of an error answer, on one line."""
    reasons: list[str] = []

    def collect(part: Any) -> None:
        if isinstance(part, Mapping):
            if isinstance(part.get("reason"), str):
                reasons.append(part["reason"])
            for key in ("error", "root_cause", "failed_shards", "reason", "caused_by"):
                collect(part.get(key))
        elif isinstance(part, list) and part:
            collect(part[0])

    collect(body)
    if not reasons and isinstance(body, Mapping) and isinstance(body.get("error"), str):
        reasons.append(body["error"])
    return _line(reasons[-1] if reasons else str(body))


def _too_old(connection: Connection, version: str) -> str:
    return (
        f"Elasticsearch at {', '.join(connection.hosts)} is {version}; rerankops needs {OLDEST}.0 or newer: upgrade "
        "it, or use retrieval.backend embedded"
    )


def _first(error: Exception) -> str:
    return _line(str(getattr(error, "message", None) or error))


def _line(text: str) -> str:
    return " ".join(text.split())[:300]


def _note(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    pause = state.next_action.sleep if state.next_action else 0.0
    words = _line(str(error))
    log.info("elasticsearch: try %d failed (%s), again in %.1f s", state.attempt_number, words, pause)
