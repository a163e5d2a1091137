"""The local stack without containers: Airflow 3 and MLflow on 127.0.0.1, in the background.

    python scripts/stack.py up      start it and wait until it answers; does nothing when it runs already
    python scripts/stack.py status  what runs and whether it is healthy
    python scripts/stack.py down    stop exactly what `up` started; does nothing when nothing runs

Airflow is what `airflow standalone` is (scheduler, API server with the UI, dag-processor, triggerer; SQLite,
LocalExecutor, SimpleAuthManager), but each part is a process of ours: `standalone` neither notices nor reports a part
that died, and opens two log servers to the network. RERANKOPS_AIRFLOW_PORT (8080) and RERANKOPS_MLFLOW_PORT (5000)
choose the ports. Settings for the tasks come from the environment (RERANKOPS_*), else from `.rerankops/demo.env`.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import airflow_env
import httpx
import mlflow_server
import processes
from airflow_env import ADMIN, STATE_FOLDER
from processes import Process
from services import is_busy, tail

PROJECT = Path(__file__).resolve().parents[1]
PORTS = {"airflow": ("RERANKOPS_AIRFLOW_PORT", 8080), "mlflow": ("RERANKOPS_MLFLOW_PORT", 5000)}
POOLS = {"gpu": "Work that needs the GPU: one at a time", "registry": "Writers of the model registry: one at a time"}
AIRFLOW_PARTS = {
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "api-server": ["api-server"],
    "dag-processor": ["dag-processor"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
}
STOP_GRACE = 15.0
"""Seconds for running tasks to end. Airflow 3.3.2's LocalExecutor often uses them up without need: asked to stop soon
after a task, it hands out one "no more work" too few (a worker that took another's is not counted) and waits on."""
_PATIENCE = 30.0
"""Seconds that a part may take to say that it is healthy; a machine that is busy is not a part that is ill."""


class StackError(Exception):
    """What a person has to know, in words; the command ends with status 1."""


@dataclass(frozen=True)
class Stack:
    """What `up` started, as `.rerankops/stack.json` keeps it."""

    airflow_url: str
    mlflow_url: str
    started_at: str
    parts: dict[str, Process]
    mlflow_store: str = ""  # one that an earlier version started has none, and no login

    def save(self, path: Path) -> None:
        staged = path.with_suffix(".tmp")
        staged.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        staged.replace(path)

    @classmethod
    def load(cls, path: Path) -> Stack | None:
        if not path.exists():
            return None
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            parts = {name: Process(**process) for name, process in fields.pop("parts").items()}
            return cls(**fields, parts=parts)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StackError(f"{path} is not a state file of this program ({error}); remove it by hand") from error


@dataclass(frozen=True)
class Paths:
    """Where the stack of one project folder keeps its things."""

    root: Path

    @property
    def state(self) -> Path:
        return self.root / STATE_FOLDER / "stack.json"

    @property
    def lock(self) -> Path:
        return self.root / STATE_FOLDER / "stack.lock"

    def log(self, part: str) -> Path:
        return self.root / STATE_FOLDER / "logs" / f"{part}.log"


# -- commands ---------------------------------------------------------------------------------------------------------


def up(root: Path, *, dags: Path | None, plugins: Path | None, timeout: float) -> None:
    paths = Paths(root)
    running = Stack.load(paths.state)
    if running is not None and _already_up(running, paths):
        print("The stack is running already.")
        _print_where(running, root)
        return
    ports = _free_ports()
    if dags is not None and not dags.is_dir():
        raise StackError(f"--dags {dags} is no folder")
    environment = {
        **os.environ,
        **airflow_env.airflow_environment(root, dags=dags, plugins=plugins, port=ports["airflow"]),
        **airflow_env.demo_environment(root),
        "RERANKOPS__REGISTRY__UI_URL": f"http://127.0.0.1:{ports['mlflow']}",
        **{name: value for name, value in os.environ.items() if name.startswith("RERANKOPS")},
    }
    stack = Stack(
        airflow_url=f"http://127.0.0.1:{ports['airflow']}",
        mlflow_url=f"http://127.0.0.1:{ports['mlflow']}",
        mlflow_store=str(mlflow_server.store(root, environment)),
        started_at=datetime.now(UTC).isoformat(),
        parts={},
    )
    print(f"Starting the stack; its logs are in {paths.log('').parent}")
    started = time.monotonic()
    with _stopped_on_failure(stack, paths):
        children = {"mlflow": _start_mlflow(environment, ports["mlflow"], stack, paths)}
        _migrate(environment, paths, children, timeout)
        _progress("database", started)
        for part, arguments in AIRFLOW_PARTS.items():
            command = [sys.executable, "-m", "airflow", *arguments]
            children[part] = _start(part, command, environment, stack, paths)
        _wait_until_healthy(stack, paths, children, started=started, timeout=timeout)
        _create_pools(stack, airflow_env.admin_password(root))
    _print_where(stack, root)


def down(root: Path) -> None:
    paths = Paths(root)
    stack = Stack.load(paths.state)
    if stack is None:
        print("The stack is not running.")
        return
    left_over = _stop(stack)
    if left_over:
        raise StackError(f"still running after SIGKILL: {', '.join(str(process.pid) for process in left_over)}")
    paths.state.unlink()
    print("The stack is stopped.")


def status(root: Path) -> bool:
    """Prints what runs; True when everything does and is healthy."""
    stack = Stack.load(Paths(root).state)
    if stack is None:
        print("The stack is not running.")
        return False
    table = processes.process_table()
    healthy = _healthy_parts(stack)
    for part, process in stack.parts.items():
        state = "dead" if not processes.alive(process, table) else "healthy" if part in healthy else "not healthy"
        print(f"  {part:<14} pid {process.pid:<8} {state}")
    complete = set(stack.parts) == {"mlflow", *AIRFLOW_PARTS}
    if complete:
        _print_where(stack, root)
    return complete and all(part in healthy and processes.alive(p, table) for part, p in stack.parts.items())


# -- starting ---------------------------------------------------------------------------------------------------------


def _already_up(stack: Stack, paths: Paths) -> bool:
    table = processes.process_table()
    dead = [part for part, process in stack.parts.items() if not processes.alive(process, table)]
    if not dead and set(stack.parts) == {"mlflow", *AIRFLOW_PARTS}:
        return True
    if processes.family(stack.parts.values(), table):
        which = f"{', '.join(dead)} died" if dead else "an earlier start did not finish"
        raise StackError(
            f"the stack is only partly running: {which} (logs in {paths.log('').parent}). Stop the rest: make down"
        )
    paths.state.unlink()  # of a machine that was switched off, or of processes killed by hand
    return False


def _free_ports() -> dict[str, int]:
    ports: dict[str, int] = {}
    for service, (variable, default) in PORTS.items():
        given = os.environ.get(variable) or str(default)
        if not given.isdecimal() or not 1 <= int(given) <= 65535:
            raise StackError(f"{variable} must be a port from 1 to 65535; it is {given!r}")
        port = int(given)
        if port in ports.values():
            raise StackError(f"{PORTS['airflow'][0]} and {PORTS['mlflow'][0]} are both {port}; set one to another port")
        if is_busy(port):
            raise StackError(
                f"port {port} on 127.0.0.1 is in use, and {service} wants it: set {variable} to a free port "
                f"(for example {variable}={port + 1} make up) or stop what listens there"
            )
        ports[service] = port
    return ports


def _start_mlflow(environment: Mapping[str, str], port: int, stack: Stack, paths: Paths) -> subprocess.Popen[bytes]:
    store, log = mlflow_server.store(paths.root, environment), paths.log("mlflow-store")
    try:
        mlflow_server.prepare(store, environment, log)
    except subprocess.CalledProcessError as error:
        raise StackError(f"MLflow's store could not be made (code {error.returncode}); {tail(log)}") from None
    own = {**environment, **mlflow_server.environment(store)}
    return _start("mlflow", mlflow_server.command(store, port), own, stack, paths)


def _start(
    part: str, command: list[str], environment: Mapping[str, str], stack: Stack, paths: Paths
) -> subprocess.Popen[bytes]:
    log = paths.log(part)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        child = subprocess.Popen(
            command,
            cwd=paths.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    with contextlib.suppress(ProcessLookupError):  # it died at once; the wait for health says so
        stack.parts[part] = processes.identify(child.pid)
    stack.save(paths.state)
    return child


def _migrate(
    environment: Mapping[str, str], paths: Paths, children: dict[str, subprocess.Popen[bytes]], timeout: float
) -> None:
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    log = paths.log("migrate")
    with log.open("wb") as output:
        to_log = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.STDOUT}
        try:
            if not airflow_env.make_database(paths.root, environment, output=output, timeout=timeout):
                subprocess.run(command, cwd=paths.root, env=environment, timeout=timeout, check=True, **to_log)
        except subprocess.TimeoutExpired:
            raise StackError(f"`airflow db migrate` did not end within {timeout:.0f} s; {tail(log)}") from None
        except subprocess.CalledProcessError as error:
            raise StackError(f"`airflow db migrate` ended with code {error.returncode}; {tail(log)}") from None
    _check_alive(children, paths)


def _wait_until_healthy(
    stack: Stack, paths: Paths, children: dict[str, subprocess.Popen[bytes]], *, started: float, timeout: float
) -> None:
    waiting = list(stack.parts)
    deadline = time.monotonic() + timeout
    while waiting:
        _check_alive(children, paths)
        for part in sorted(_healthy_parts(stack) & set(waiting)):
            waiting.remove(part)
            _progress(part, started)
        if waiting and time.monotonic() > deadline:
            raise StackError(f"not healthy after {timeout:.0f} s: {', '.join(waiting)}; {tail(paths.log(waiting[0]))}")
        time.sleep(0.5)


def _healthy_parts(stack: Stack) -> set[str]:
    """The parts that answer for themselves now. A heartbeat from before this start is one of an earlier stack."""
    healthy = set()
    if _get(f"{stack.mlflow_url}/health") is not None:
        healthy.add("mlflow")
    answer = _get(f"{stack.airflow_url}/api/v2/monitor/health")
    if answer is None:
        return healthy
    healthy.add("api-server")
    report: dict[str, Any] = answer.json()
    for part in ("scheduler", "triggerer", "dag-processor"):
        key = part.replace("-", "_")
        one = report.get(key) or {}
        beat = one.get(f"latest_{key}_heartbeat")
        if one.get("status") == "healthy" and beat and _moment(beat) >= _moment(stack.started_at):
            healthy.add(part)
    return healthy


_TRIES = 30
"""To create a pool, a second apart."""


def _create_pools(stack: Stack, password: str) -> None:
    """One slot each, unless the pool exists: a person may have resized it."""
    with httpx.Client(base_url=stack.airflow_url, trust_env=False, timeout=30) as client:
        login = client.post("/auth/token", json={"username": ADMIN, "password": password})
        if login.status_code != httpx.codes.CREATED:
            raise StackError(f"Airflow refused the generated password of {ADMIN}: {login.status_code} {login.text}")
        client.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
        for name, description in POOLS.items():
            pool = {"name": name, "slots": 1, "description": description, "include_deferred": False}
            for _ in range(_TRIES):
                answer = client.post("/api/v2/pools", json=pool)
                if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                    break
                time.sleep(1)  # on SQLite, while the DAG processor writes what it parsed
            if answer.status_code not in {httpx.codes.CREATED, httpx.codes.CONFLICT}:
                raise StackError(f"pool {name} could not be created: {answer.status_code} {answer.text}")


# -- stopping ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _stopped_on_failure(stack: Stack, paths: Paths) -> Iterator[None]:
    """No half a stack stays behind, whether a part died or the person pressed Ctrl-C."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before: Any = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except BaseException:
        if not _stop(stack):
            paths.state.unlink(missing_ok=True)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(stack: Stack) -> set[Process]:
    """What runs tasks first, then the servers to which tasks report. A task that needs longer than the grace is ended,
    which Airflow counts as a failed attempt. Returns what could not be stopped."""
    servers = {"api-server", "mlflow"}
    runners = [process for part, process in stack.parts.items() if part not in servers]
    pressed, _ = processes.stop(runners, grace=STOP_GRACE)
    late, left_over = processes.stop(stack.parts.values(), grace=STOP_GRACE)
    pressed |= late
    if pressed:
        names = {process.pid: part for part, process in stack.parts.items()}
        which = sorted({names.get(process.pid, f"pid {process.pid}") for process in pressed})
        print(f"did not stop within {STOP_GRACE:.0f} s when asked, so were ended: {', '.join(which)}")
    return left_over


# -- small helpers ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError("another up or down of this project is at work; wait until it has ended") from None
        yield


def _check_alive(children: Mapping[str, subprocess.Popen[bytes]], paths: Paths) -> None:
    for part, child in children.items():
        code = child.poll()
        if code is not None:
            raise StackError(f"{part} ended with code {code}; {tail(paths.log(part))}")


def _get(url: str) -> httpx.Response | None:
    try:
        answer = httpx.get(url, timeout=_PATIENCE, trust_env=False)
    except httpx.HTTPError:
        return None
    return answer if answer.is_success else None


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _progress(part: str, started: float) -> None:
    print(f"  {part:<14} ready after {time.monotonic() - started:4.0f} s", flush=True)


def _print_where(stack: Stack, root: Path) -> None:
    print(f"Airflow  {stack.airflow_url}   user {ADMIN}, password in {airflow_env.passwords_file(root)}")
    login = mlflow_server.login_file(Path(stack.mlflow_store)) if stack.mlflow_store else None
    print(f"MLflow   {stack.mlflow_url}{f'   user {ADMIN}, password in {login}' if login else ''}")


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["up", "down", "status"])
    parser.add_argument("--root", type=Path, default=PROJECT, help="project folder; its .rerankops holds all state")
    parser.add_argument("--dags", type=Path, help="instead of the project's dags/")
    parser.add_argument("--plugins", type=Path, help="instead of the project's plugins/")
    parser.add_argument("--timeout", type=float, default=240.0, help="seconds to wait for health (default 240)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    given = _arguments(arguments)
    root: Path = given.root.resolve()
    commands: dict[str, Callable[[], None]] = {
        "up": lambda: up(root, dags=given.dags, plugins=given.plugins, timeout=given.timeout),
        "down": lambda: down(root),
    }
    try:
        if given.command == "status":
            return 0 if status(root) else 1
        with _only_one(Paths(root).lock):
            commands[given.command]()
    except (StackError, airflow_env.EnvironmentFileError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
