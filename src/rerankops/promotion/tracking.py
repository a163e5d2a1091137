"""MLflow's client as the registry uses it: patience that ends, and errors that name the setting and what to do.

MLflow takes seconds to import, so it is imported when it is first asked something.
"""

from __future__ import annotations

import functools
import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from filelock import FileLock

from rerankops.errors import RerankopsError, ServerRefused, ServerUnavailable
from rerankops.promotion import local_store

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",  # else a version takes along whatever uv project it was recorded in
}
_OURS: dict[str, str] = {}
"""What this process put into its environment. A variable that somebody else set is left alone."""
_SETTING = threading.Lock()
"""Else of two threads one takes for a user's own what the other has half set, and it stays."""
_REFUSALS = {
    "BAD_REQUEST", "CUSTOMER_UNAUTHORIZED", "ENDPOINT_NOT_FOUND", "FEATURE_DISABLED", "INVALID_PARAMETER_VALUE",
    "INVALID_STATE", "NOT_IMPLEMENTED", "PERMISSION_DENIED", "UNAUTHENTICATED",
}  # fmt: skip


_CAUSE = re.compile(r"""\(Caused by \w+\(["'](?:\w+\([^)]*\): )?(.+)["']\)+$""")
"""What an error of urllib3 ends with: `(Caused by ReadTimeoutError("HTTPConnectionPool(…): Read timed out. …"))`."""
_NESTED = re.compile(r"""["'], \w+\(["']""")
"""Between an error and the one inside it: `Connection aborted.', RemoteDisconnected('Remote end closed …`."""
_MEETINGS = re.compile(r"IntegrityError|UniqueViolation|StaleDataError|expected to (update|delete) \d+ row")
"""What SQLAlchemy and its drivers say when two requests wrote the same row at the same moment."""
_MEETINGS_IN_A_ROW = 6
_FIRST_PAUSE = 0.05


class Absent(RerankopsError):
    """MLflow says that it has no such thing."""


class Taken(RerankopsError):
    """MLflow says that it has one of that name already."""


class _Met(ServerUnavailable):
    """Another request wrote the same row of MLflow's database in between; this one was rolled back whole."""


class Lock:
    """A lock between processes of one machine, on a file. Its holder may take it again; a process that dies lets go."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path)

    def __enter__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class Tracking:
    """Every method of `mlflow.MlflowClient`, raising Absent, Taken, ServerRefused (asking again would not help) or
    ServerUnavailable (it might), each with the setting's name in it.

    uri: `sqlite:////folder/mlflow.db`, or a server's `http://…`. request_timeout: seconds that a server may take to
    say something; transfer_timeout: the same while artefacts are stored or fetched; retries: after time-outs, broken
    connections, 408, 429 and 5xx, with backoff. None leaves each to MLflow. They hold for the whole process, because
    MLflow reads them from the environment; a user's own MLFLOW_HTTP_REQUEST_… wins.

    MLflow sets an alias or a tag by looking for its row and then inserting or updating it. When another machine does
    the same in between, the database refuses, and MLflow calls that a bad request, which it never repeats; here it is
    asked again.
    """

    def __init__(
        self,
        uri: str,
        lock: Lock,
        *,
        request_timeout: int | None = None,
        transfer_timeout: int | None = None,
        retries: int | None = None,
    ) -> None:
        self.uri = uri
        self._lock = lock
        self._request_timeout, self._transfer_timeout = request_timeout, transfer_timeout
        _set(QUIET)
        for logger in ("mlflow.store.db.utils", "mlflow.tracking", "mlflow.pyfunc", "mlflow.models.model", "alembic"):
            logging.getLogger(logger).setLevel(logging.WARNING)
        if retries is not None:
            # A server may ask for an hour in Retry-After; whoever waits here holds a task.
            patience = {"MAX_RETRIES": str(retries), "BACKOFF_FACTOR": "1"}
            _set({f"MLFLOW_HTTP_REQUEST_{name}": value for name, value in patience.items()})
            _set({"MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false"})
        self._wait(request_timeout)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.client, name)

        @functools.wraps(method)
        def asked(*args: Any, **kwargs: Any) -> Any:
            for meeting in range(1, _MEETINGS_IN_A_ROW + 1):
                try:
                    with self.explained():
                        return method(*args, **kwargs)
                except _Met:
                    if meeting == _MEETINGS_IN_A_ROW:
                        raise
                    time.sleep(random.uniform(0, _FIRST_PAUSE * 2**meeting))

        return asked

    @cached_property
    def client(self) -> Any:
        """The MlflowClient itself. For SQLite its database is made when there is none."""
        from mlflow import MlflowClient

        with self._lock, self.explained():  # two processes must not create the same database at once
            if self.uri.startswith("sqlite:///"):
                local_store.prepare(Path(unquote(urlsplit(self.uri).path)[1:]))
            return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def download(self, uri: str, folder: Path | None) -> Path:
        """The local path of an artefact; fetched into `folder`, unless the store is a local one."""
        from mlflow.artifacts import download_artifacts

        with self.transfer(), self.explained():
            target = str(folder) if folder else None
            return Path(download_artifacts(artifact_uri=uri, dst_path=target, tracking_uri=self.uri))

    @contextmanager
    def transfer(self) -> Iterator[None]:
        """Within it requests carry artefacts, and may take longer."""
        self._wait(self._transfer_timeout)
        try:
            yield
        finally:
            self._wait(self._request_timeout)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turns what goes wrong in MLflow, and in what it stands on, into an error that a person can act on."""
        try:
            yield
        except (RerankopsError, TypeError, AssertionError, KeyboardInterrupt):
            raise
        except Exception as error:
            raise self._explained(error) from error

    def garbled(self, what: str) -> ServerUnavailable:
        """For an answer that is complete as HTTP and not what was asked for: MLflow takes an empty one for success."""
        return ServerUnavailable(f"{self.place} gave a broken answer about {what}; {self._advice}")

    @property
    def place(self) -> str:
        """The tracking URI without a password, and the setting that names it."""
        parts = urlsplit(self.uri)
        host = parts.netloc.rpartition("@")[2]
        return f"MLflow at {urlunsplit(parts._replace(netloc=host))} (setting registry.tracking_uri)"

    _advice = "see that it runs, then run this again"

    def _explained(self, error: Exception) -> RerankopsError:
        code = getattr(error, "error_code", "INTERNAL_ERROR")
        told = " ".join(str(getattr(error, "message", error)).split()) or type(error).__name__
        if caused := _CAUSE.search(told):  # behind the method, the URL and its query, which nobody can do much about
            told = _NESTED.sub(" ", caused[1])
        told = re.sub(r"://[^/@\s]+@", "://", told)[:300]  # MLflow repeats the URI with its password
        if code == "RESOURCE_DOES_NOT_EXIST":
            return Absent(f"{self.place}: {told}")
        if code in {"RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"}:
            return Taken(f"{self.place}: {told}")
        if code == "BAD_REQUEST" and _MEETINGS.search(told):
            return _Met(f"{self.place}: other requests keep writing the same: {told}; run this again")
        if code in _REFUSALS:
            return ServerRefused(f"{self.place} refuses: {told}")
        return ServerUnavailable(f"{self.place} does not answer as it should: {told}; {self._advice}")

    @staticmethod
    def _wait(seconds: int | None) -> None:
        if seconds is not None:
            _set({"MLFLOW_HTTP_REQUEST_TIMEOUT": str(seconds)})


def _set(variables: dict[str, str]) -> None:
    with _SETTING:
        for name, value in variables.items():
            if os.environ.get(name) in {None, _OURS.get(name)}:
                os.environ[name] = _OURS[name] = value
