"""A real local stack for tests: what `make up` starts, on free ports, in a folder of its own."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

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
            timeout=300,
        )

    @contextmanager
    def airflow(self) -> Iterator[httpx.Client]:
        url = f"http://127.0.0.1:{self.environment['RERANKOPS_AIRFLOW_PORT']}"
        password = json.loads((self.root / ".rerankops/airflow/passwords.json").read_text())["admin"]
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            token = client.post("/auth/token", json={"username": "admin", "password": password})
            client.headers["Authorization"] = f"Bearer {token.json()['access_token']}"
            yield client


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def run_over_rest(client: httpx.Client, dag_id: str, conf: dict[str, object], *, seconds: float) -> tuple[str, str]:
    """Triggers a DAG as its form does and waits for it: the run's path in the API, and its last state."""
    deadline = time.monotonic() + seconds
    run = trigger(client, dag_id, conf, seconds=seconds)
    return run, state_of(client, run, seconds=deadline - time.monotonic())


def trigger(client: httpx.Client, dag_id: str, conf: dict[str, object], *, seconds: float) -> str:
    """Triggers a DAG as its form does, once Airflow knows it: the run's path in the API."""
    deadline = time.monotonic() + seconds
    while client.get(f"/api/v2/dags/{dag_id}").status_code == httpx.codes.NOT_FOUND and time.monotonic() < deadline:
        time.sleep(1)
    triggered = client.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf})
    assert triggered.status_code == httpx.codes.OK, triggered.text
    return f"/api/v2/dags/{dag_id}/dagRuns/{triggered.json()['dag_run_id'].replace('+', '%2B')}"


def state_of(client: httpx.Client, run: str, *, seconds: float) -> str:
    """The last state of a run, given so long to end."""
    deadline = time.monotonic() + seconds
    while (state := client.get(run).json()["state"]) not in {"success", "failed"} and time.monotonic() < deadline:
        time.sleep(0.5)
    return str(state)
