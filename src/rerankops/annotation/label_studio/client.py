"""Talking to Label Studio's HTTP API: who we are, trying again, pages, and errors in one line.

A request that only asks, or whose repetition changes nothing, is tried again after anything that may pass. One that
makes something is tried again only when the server cannot have seen to it; otherwise `Unsure` says that somebody has to
look first.
"""

from __future__ import annotations

import json
import logging
import os
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from rerankops.config import LabelStudioSettings
from rerankops.errors import RerankopsError, ServerRefused, ServerUnavailable, SettingsError
from rerankops.exchange import Exchanges, TooLarge, TooSlow, parse

log = logging.getLogger("rerankops")
TOKEN = "RERANKOPS_LABEL_STUDIO_TOKEN"  # noqa: S105 - the name of the variable that holds it
RETRIED = (408, 429, 500, 502, 503, 504)
"""Statuses that another try may well not get."""
_UNSEEN = (429, 503)
"""Of those, the ones that say that nothing was done."""
_FIRST_PAUSE = 0.3
"""Seconds before the second try, at most; doubled from try to try."""
_LARGEST = 256 * 2**20
"""Bytes of an answer; a page of tasks is a few MB."""
_WHOLE = 5
"""Times label_studio.request_timeout that a whole answer may take; that is for each piece of it."""
_MOST_PAGES = 20_000
Query = Mapping[str, str | int]
Fields = Mapping[str, type | tuple[type, ...]]
"""What an item must have, and of which type; datetime: a text that says a time with its zone."""
TASK: Fields = {"id": int, "data": dict}
ANNOTATION: Fields = {"id": int, "updated_at": str, "was_cancelled": bool}


class Unsure(ServerUnavailable):
    """No answer came to a request that makes something: whether it was carried out, only a look can tell."""


class NotFound(ServerRefused):
    """What was asked for is not there (any more)."""


@dataclass(frozen=True)
class Connection:
    """Where the server is and who we are. The token is not shown by repr.

    token: a personal access token (a JWT; it is changed for a short-lived one) or a legacy token (40 characters).
    """

    url: str
    token: str = field(repr=False)
    ca_certs: str | None = None

    @classmethod
    def configured(cls, settings: LabelStudioSettings, environ: Mapping[str, str] | None = None) -> Connection:
        """URL from the settings, token from the environment. Raises SettingsError when one is missing."""
        environ = os.environ if environ is None else environ
        if not settings.url:
            raise SettingsError("setting label_studio.url names no server: give one, such as http://localhost:8080")
        token = environ.get(TOKEN, "")
        if not token.strip():
            raise SettingsError(
                f"environment variable {TOKEN} is not set: make a personal access token in Label Studio "
                "(Account & Settings) and put it there"
            )
        return cls(settings.url, token, settings.ca_certs)

    def checked(self) -> Connection:
        """The same in the one form in which it is used. Raises SettingsError."""
        parts = urlsplit(self.url.strip())
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise SettingsError(f"setting label_studio.url is {self.url!r}: give http://HOST:PORT or https://HOST")
        if parts.username or parts.password:
            raise SettingsError(f"setting label_studio.url has credentials in it; the token goes into {TOKEN}")
        token = self.token.strip()  # one that was read from a file ends in a newline
        if not token.isascii() or not token.isprintable() or " " in token:
            raise SettingsError(f"{TOKEN} holds a character that no token has")
        if self.ca_certs:
            if not Path(self.ca_certs).is_file():
                raise SettingsError(f"setting label_studio.ca_certs: there is no file {self.ca_certs}")
            try:
                ssl.create_default_context(cafile=self.ca_certs)
            except ssl.SSLError as error:
                raise SettingsError(
                    f"setting label_studio.ca_certs: {self.ca_certs} holds no PEM certificate ({error.reason})"
                ) from error
        return replace(self, url=self.url.strip().rstrip("/"), token=token)


class _Retry(Exception):
    """Another try may go better. error: what to say when none did."""

    def __init__(self, error: RerankopsError) -> None:
        super().__init__(str(error))
        self.error = error


class Client:
    """A server and how patiently it is asked. Use it as a context manager."""

    def __init__(self, connection: Connection, settings: LabelStudioSettings) -> None:
        self.connection, self.settings = connection.checked(), settings
        self._personal = self.connection.token.count(".") == 2
        self._access: str | None = None
        verify = ssl.create_default_context(cafile=self.connection.ca_certs)
        self._http = httpx.Client(
            verify=verify,
            timeout=httpx.Timeout(settings.request_timeout, connect=min(10.0, settings.request_timeout)),
            headers={"accept": "application/json"},
        )
        self._exchanges = Exchanges(self._http)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    # -- requests -------------------------------------------------------------------------------------------------

    def get(self, doing: str, path: str, query: Query | None = None) -> Any:
        """The JSON answer. doing: what is being done, for messages ("list projects"). Raises ServerUnavailable when
        every try failed, ServerRefused at once when another try would be refused as well."""
        return self._ask(doing, "GET", path, query, None, again=True)

    def make(self, doing: str, path: str, body: Any, query: Query | None = None) -> Any:
        """POST of something new. Raises Unsure besides."""
        return self._ask(doing, "POST", path, query, body, again=False)

    def change(self, doing: str, path: str, body: Any) -> Any:
        """PATCH: doing it twice is the same as once."""
        return self._ask(doing, "PATCH", path, None, body, again=True)

    def remove(self, doing: str, path: str) -> None:
        """DELETE; what is gone already is fine."""
        try:
            self._ask(doing, "DELETE", path, None, None, again=True)
        except NotFound:
            return

    def pages(
        self, doing: str, path: str, query: Query | None = None, *, fields: Fields, size: int = 100
    ) -> Iterator[dict[str, Any]]:
        """The items of a listing, page by page ({"results": …, "next": …}), each id once. fields: id besides."""
        seen: set[int] = set()
        for number in range(1, _MOST_PAGES + 1):
            answer = self.get(doing, path, {**(query or {}), "page": number, "page_size": size})
            found = self._items(doing, answer, "results", {"id": int, **fields})
            new = [item for item in found if item["id"] not in seen]
            seen.update(item["id"] for item in new)
            yield from new
            if not answer.get("next"):
                return
            if not new:
                raise self._odd(doing, f"page {number} has nothing new, and yet it says that there is another")
        raise self._odd(doing, f"it says after {_MOST_PAGES:,} pages that there is another")

    def tasks(
        self, doing: str, project: int, *conditions: Mapping[str, Any], annotations: bool
    ) -> Iterator[dict[str, Any]]:
        """Tasks of a project that fulfil all conditions, in the order of their ids.

        Paged by the last id seen, not by a page's number: a task that is deleted or begins to match meanwhile moves
        no other from one page to the next.
        """
        last = 0
        for _ in range(_MOST_PAGES):
            items = [*conditions, condition("id", "greater", "Number", last)]
            query = {"filters": {"conjunction": "and", "items": items}, "ordering": ["tasks:id"]}
            size = self.settings.page_size
            answer = self.get(
                doing,
                "/api/tasks/",
                {
                    "project": project,
                    "page_size": size,
                    "resolve_uri": "false",
                    "fields": "all" if annotations else "task_only",
                    "query": json.dumps(query),
                },
            )
            found = self._items(doing, answer, "tasks", {**TASK, "annotations": list} if annotations else TASK)
            for task in found:
                if task["id"] <= last:
                    raise self._odd(doing, f"asked for tasks after {last}, it sends task {task['id']}")
                last = task["id"]
                for one in task["annotations"] if annotations else ():
                    self.checked(doing, one, ANNOTATION)
            yield from found
            if len(found) < size:
                return
        raise self._odd(doing, f"it has another task after {_MOST_PAGES:,} pages")

    def newest_change(self, doing: str, project: int) -> str | None:
        """When a task of the project, or one of its annotations, was changed last: ISO 8601 by the server's clock."""
        query = {"ordering": ["-tasks:updated_at"]}
        answer = self.get(
            doing,
            "/api/tasks/",
            {"project": project, "page_size": 1, "resolve_uri": "false", "query": json.dumps(query)},
        )
        found = self._items(doing, answer, "tasks", {"updated_at": datetime})
        return str(found[0]["updated_at"]) if found else None

    # -- one request ----------------------------------------------------------------------------------------------

    def _ask(self, doing: str, method: str, path: str, query: Query | None, body: Any, *, again: bool) -> Any:
        retrying = Retrying(
            stop=stop_after_attempt(1 + self.settings.retries),
            wait=wait_random_exponential(multiplier=_FIRST_PAUSE, max=self.settings.max_backoff),
            retry=retry_if_exception_type(_Retry),
            reraise=True,
            before_sleep=_note,
        )
        try:
            return retrying(self._once, doing, method, path, query, body, again)
        except _Retry as failed:
            raise failed.error from failed.__cause__

    def _once(self, doing: str, method: str, path: str, query: Query | None, body: Any, again: bool) -> Any:
        answer = self._send(doing, method, path, query, body, again, {"authorization": self._authorization()})
        if answer.status_code == 401 and self._personal:  # the short-lived token ran out
            self._access = None
            answer = self._send(doing, method, path, query, body, again, {"authorization": self._authorization()})
        return self._read(answer, doing, again)

    def _send(
        self,
        doing: str,
        method: str,
        path: str,
        query: Query | None,
        body: Any,
        again: bool,
        headers: Mapping[str, str],
    ) -> httpx.Response:
        content = None if body is None else json.dumps(body, ensure_ascii=False).encode(errors="backslashreplace")
        sent = {**headers, **({"content-type": "application/json"} if content is not None else {})}
        try:
            reply = self._exchanges.send(
                method,
                self.connection.url + path,
                seconds=_WHOLE * self.settings.request_timeout,
                largest=_LARGEST,
                content=content,
                headers=sent,
                params=dict(query or {}),
            )
            kept = {name: reply.headers[name] for name in ("content-type", "location") if name in reply.headers}
            return httpx.Response(reply.status, headers=kept, content=reply.content)
        except TooLarge as error:
            words = f"{self._where}: cannot {doing}: {error}; lower label_studio.page_size"
            raise ServerRefused(words) from error
        except TooSlow as error:
            if again:
                raise _Retry(self._away(doing, error)) from error
            raise Unsure(f"{self._where}: no answer when asked to {doing}: {error}") from error
        except httpx.ConnectError as error:
            if "CERTIFICATE" in str(error) or "SSL" in str(error):
                raise ServerRefused(f"{self._where}: {_tls_problem(str(error))}") from error
            raise _Retry(self._away(doing, error)) from error
        except (httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise _Retry(self._away(doing, error)) from error
        except httpx.TransportError as error:
            if again:
                raise _Retry(self._away(doing, error)) from error
            raise Unsure(f"{self._where}: no answer when asked to {doing}: {_words(error)}") from error
        except (httpx.InvalidURL, httpx.HTTPError) as error:
            raise ServerRefused(f"{self._where}: cannot {doing}: {_words(error)}") from error

    def _read(self, answer: httpx.Response, doing: str, again: bool) -> Any:
        """The answer's JSON, or the error that it means."""
        status = answer.status_code
        if answer.is_success:
            if status == 204 or not answer.content:
                return None
            try:
                return parse(answer.content)
            except ValueError as error:
                if "html" in answer.headers.get("content-type", ""):
                    raise self._another_server(status, answer) from error
                words = f"{self._where}: the answer to {doing!r} is no JSON ({_line(str(error))})"
                if again:
                    raise _Retry(ServerUnavailable(words)) from error
                raise Unsure(words) from error
        reason = reason_of(answer)
        if status in RETRIED:
            words = f"{self._where}: cannot {doing}: status {status}, {reason}"
            if again or status in _UNSEEN:
                raise _Retry(ServerUnavailable(words))
            raise Unsure(words)
        if status == 401:
            raise ServerRefused(
                f"{self._where} refuses who we are ({self._kind} given): {reason}; make a new personal access token "
                f"there (Account & Settings) and put it into {TOKEN}, or the Airflow connection"
            )
        if status == 403:
            raise ServerRefused(f"{self._where}: this account may not {doing}: {reason}")
        if answer.is_redirect:
            there = answer.headers.get("location", "?")
            raise ServerRefused(f"{self._where} sends us on to {there}; set label_studio.url to where it really is")
        if b'"status_code"' not in answer.content:  # every error of Label Studio's API has it
            raise self._another_server(status, answer)
        kind = NotFound if status == 404 else ServerRefused
        raise kind(f"{self._where}: cannot {doing}: status {status}, {reason}")

    def _authorization(self) -> str:
        if not self._personal:
            return f"Token {self.connection.token}"
        if self._access is None:
            doing = "change the personal access token for a short-lived one"
            body = {"refresh": self.connection.token}
            answer = self._read(self._send(doing, "POST", "/api/token/refresh", None, body, True, {}), doing, True)
            access = answer.get("access") if isinstance(answer, dict) else None
            if not isinstance(access, str):
                raise ServerRefused(f"{self._where}: what answers there is no Label Studio; check label_studio.url")
            self._access = access
        return f"Bearer {self._access}"

    def checked(self, doing: str, item: Any, fields: Fields) -> dict[str, Any]:
        """An item of an answer that has these fields. Raises ServerRefused naming the one that it lacks."""
        if not isinstance(item, dict):
            raise self._odd(doing, f"it holds {_line(repr(item), 60)}, where an object should be")
        for name, kind in fields.items():
            value = item.get(name)
            if not _fits(value, kind):
                raise self._odd(doing, f"{name!r} is {_line(repr(value), 60)} there")
        return item

    def _items(self, doing: str, answer: Any, name: str, fields: Fields) -> list[dict[str, Any]]:
        found = answer.get(name) if isinstance(answer, dict) else None
        if not isinstance(found, list):
            raise self._odd(doing, f"it has no {name!r}")
        return [self.checked(doing, item, fields) for item in found]

    def _odd(self, doing: str, words: str) -> ServerRefused:
        """An answer that Label Studio would not give."""
        return ServerRefused(
            f"{self._where}: the answer to {doing!r} is odd: {words}; is it Label Studio, 1.20 or newer? Check "
            "label_studio.url, and what stands before the server"
        )

    # -- words ----------------------------------------------------------------------------------------------------

    @property
    def _where(self) -> str:
        return f"Label Studio at {self.connection.url}"

    @property
    def _kind(self) -> str:
        return "personal access token" if self._personal else "legacy token"

    def _away(self, doing: str, error: Exception) -> ServerUnavailable:
        return ServerUnavailable(f"{self._where}: cannot {doing}: {_words(error)}; is it running and reachable?")

    def _another_server(self, status: int, answer: httpx.Response) -> ServerRefused:
        return ServerRefused(
            f"{self._where}: what answers there is no Label Studio (status {status}, "
            f"{_line(answer.text, 80)!r}); check label_studio.url"
        )


def _fits(value: Any, kind: type | tuple[type, ...]) -> bool:
    if kind is datetime:
        try:
            moment = datetime.fromisoformat(value)
        except (TypeError, ValueError):
            return False
        return moment.tzinfo is not None and 1990 <= moment.year < 9999
    return isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool)


def condition(column: str, operator: str, kind: str, value: Any) -> dict[str, Any]:
    """A filter of the data manager."""
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}


def reason_of(answer: httpx.Response) -> str:
    """What an error answer says, on one line."""
    try:
        body = parse(answer.content)
    except ValueError:
        return _line(answer.text, 120) or answer.reason_phrase
    if not isinstance(body, dict):
        return _line(str(body))
    errors = body.get("validation_errors")
    if errors:
        return _line(json.dumps(errors, ensure_ascii=False))
    return _line(str(body.get("detail") or body.get("error") or body))


def _tls_problem(words: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in words:
        return (
            f"its certificate is not trusted ({_line(words)}); set label_studio.ca_certs to the PEM file of the "
            "authority that signed it"
        )
    return f"no TLS is spoken there, or none that fits ({_line(words)}); check label_studio.url"


def _words(error: Exception) -> str:
    if isinstance(error, httpx.TimeoutException):
        return f"no answer in time ({type(error).__name__})"
    return _line(str(error)) or type(error).__name__


def _line(text: str, length: int = 300) -> str:
    return " ".join(text.split())[:length]


def _note(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    pause = state.next_action.sleep if state.next_action else 0.0
    log.info("label studio: try %d failed (%s), again in %.1f s", state.attempt_number, _line(str(error)), pause)
