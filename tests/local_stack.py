"""A real local stack for tests: what `make up` starts, on free ports, in a folder of its own."""

import importlib
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Running:
    """A local stack on ports of its own. root: the folder with .rerankops; options: more for stack.py."""

    root: Path
    environment: dict[str, str]
    options: tuple[str, ...] = ()

    @classmethod
    def on_free_ports(cls, root: Path, *options: str) -> "Running":
        own = {name: value for name, value in os.environ.items() if not name.startswith(("RERANKOPS", "AIRFLOW"))}
        ports = {"RERANKOPS_AIRFLOW_PORT": str(free_port()), "RERANKOPS_MLFLOW_PORT": str(free_port())}
        return cls(root, {**own, **ports}, options)

    def stack(self, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        options = self.options if command == "up" else ()
        return subprocess.run(
            [sys.executable, PROJECT / "scripts" / "stack.py", command, "--root", self.root, *options],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=560,
        )

    @contextmanager
    def airflow(self) -> Iterator[httpx.Client]:
        url = f"http://127.0.0.1:{self.environment['RERANKOPS_AIRFLOW_PORT']}"
        password = json.loads((self.root / ".rerankops/airflow/passwords.json").read_text())["admin"]
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            login = {"username": "admin", "password": password}
            token = answered(client, "POST", "/auth/token", json=login, seconds=60)
            client.headers["Authorization"] = f"Bearer {token.json()['access_token']}"
            yield client


def free_port() -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PROJECT / "scripts"))  # programs, in no package
        port: int = importlib.import_module("services").free_ports(1)[0]
    return port


def run_over_rest(client: httpx.Client, dag_id: str, conf: dict[str, object], *, seconds: float) -> tuple[str, str]:
    """Triggers a DAG as its form does and waits for it: the run's path in the API, and its last state."""
    deadline = time.monotonic() + seconds
    run = trigger(client, dag_id, conf, seconds=seconds)
    return run, state_of(client, run, seconds=deadline - time.monotonic())


def answered(client: httpx.Client, method: str, path: str, *, seconds: float, **more: Any) -> httpx.Response:
    """What Airflow answers once it is able to: on SQLite it says 500 while the database is locked, as while the DAG
    processor writes what it parsed. The last answer when it never is."""
    deadline = time.monotonic() + seconds
    while (answer := client.request(method, path, **more)).is_server_error and time.monotonic() < deadline:
        time.sleep(1)
    return answer


def trigger(client: httpx.Client, dag_id: str, conf: dict[str, object], *, seconds: float) -> str:
    """Triggers a DAG as its form does, once Airflow knows it: the run's path in the API."""
    deadline = time.monotonic() + seconds
    while not client.get(f"/api/v2/dags/{dag_id}").is_success and time.monotonic() < deadline:
        time.sleep(1)
    run = {"dag_run_id": f"test-{uuid.uuid4().hex}", "logical_date": None, "conf": conf}
    path = f"/api/v2/dags/{dag_id}/dagRuns"
    triggered = answered(client, "POST", path, json=run, seconds=deadline - time.monotonic())
    # A run whose answer was an error is there all the same, if it was the answer alone that failed.
    assert triggered.status_code in {httpx.codes.OK, httpx.codes.CONFLICT}, triggered.text
    return f"{path}/{run['dag_run_id']}"


def state_of(client: httpx.Client, run: str, *, seconds: float) -> str:
    """The last state of a run, given so long to end."""
    deadline = time.monotonic() + seconds
    while True:
        found = answered(client, "GET", run, seconds=deadline - time.monotonic())
        assert found.is_success, found.text
        state = str(found.json()["state"])
        if state in {"success", "failed"} or time.monotonic() > deadline:
            return state
        time.sleep(0.5)
