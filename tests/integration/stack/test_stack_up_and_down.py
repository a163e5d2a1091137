"""`make up` and `make down` for real: Airflow and MLflow on free ports, in a folder of their own."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from local_stack import Running, answered, free_port, run_over_rest

DAG = """
import os
from airflow.sdk import dag, task

@dag(schedule=None)
def greet():
    @task(pool="gpu")
    def say():
        wanted = ("RERANKOPS_CONFIG", "RERANKOPS__SOURCES__CORPUS")
        return {name: os.environ[name] for name in wanted} | {"cwd": os.getcwd()}

    say()

greet()
"""
pytestmark = pytest.mark.timeout(1200)  # Airflow starts, on a machine that may be busy


def processes_in(root: Path) -> list[str]:
    """Commands of live processes that work in `root`, from the system, not from what stack.py believes."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and (folder / "cwd").readlink().is_relative_to(root):
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("a project")
    (root / "dags").mkdir()
    (root / "plugins").mkdir()
    (root / ".rerankops").mkdir()
    (root / "dags" / "greet.py").write_text(DAG)
    (root / ".rerankops" / "demo.env").write_text("RERANKOPS__SOURCES__CORPUS=/somewhere/corpus.jsonl\n")
    one = Running.on_free_ports(root)
    try:
        started = one.stack("up")
        assert started.returncode == 0, started.stdout + started.stderr
        yield one
    finally:
        one.stack("down")


def test_a_run_triggered_over_rest_succeeds_with_the_demos_environment(running: Running) -> None:
    with running.airflow() as client:
        run, state = run_over_rest(client, "greet", {}, seconds=300)
        assert state == "success"
        said = answered(client, "GET", f"{run}/taskInstances/say/xcomEntries/return_value", seconds=60)
        value = said.json()["value"]
        there = answered(client, "GET", "/api/v2/pools", seconds=60).json()["pools"]
        pools = {pool["name"]: pool["slots"] for pool in there}
    said = value if isinstance(value, dict) else json.loads(value)
    assert said == {
        "RERANKOPS_CONFIG": "demo",
        "RERANKOPS__SOURCES__CORPUS": "/somewhere/corpus.jsonl",
        "cwd": str(running.root),
    }
    assert pools["gpu"] == pools["registry"] == 1


def test_mlflow_answers_and_keeps_its_store_beside_the_workspace(running: Running) -> None:
    url = f"http://127.0.0.1:{running.environment['RERANKOPS_MLFLOW_PORT']}"
    assert httpx.get(f"{url}/health", trust_env=False, timeout=30).status_code == httpx.codes.OK
    assert (running.root / ".rerankops/mlflow/mlflow.db").is_file()


def test_mlflow_wants_a_login_and_serves_under_no_other_hosts_name(running: Running) -> None:
    url = f"http://127.0.0.1:{running.environment['RERANKOPS_MLFLOW_PORT']}"
    search = f"{url}/api/2.0/mlflow/experiments/search?max_results=5"
    login = json.loads((running.root / ".rerankops/mlflow/auth/login.json").read_text())
    own = (login["user"], login["password"])
    assert httpx.get(search, trust_env=False, timeout=60).status_code == httpx.codes.UNAUTHORIZED
    wrong = httpx.get(search, auth=("admin", "password"), trust_env=False, timeout=60)
    assert wrong.status_code == httpx.codes.UNAUTHORIZED
    assert httpx.get(search, auth=own, trust_env=False, timeout=60).status_code == httpx.codes.OK
    elsewhere = {"host": "attacker.example"}  # what a page sends whose name was made to point at this machine
    assert httpx.get(search, auth=own, headers=elsewhere, trust_env=False, timeout=60).is_client_error


def test_secrets_are_readable_by_their_owner_alone_and_in_no_list_of_processes(running: Running) -> None:
    state = running.root / ".rerankops"
    login = json.loads((state / "mlflow/auth/login.json").read_text())
    airflow = json.loads((state / "airflow/passwords.json").read_text())
    secrets = [login["password"], login["secret_key"], *airflow.values()]
    kept = ["mlflow/mlflow.db", "mlflow/auth/login.json", "mlflow/auth/users.db", "airflow/airflow.db"]
    for path in [*kept, "airflow/passwords.json", "airflow/secrets.json"]:
        assert (state / path).stat().st_mode & 0o077 == 0, path
    for command in processes_in(running.root):
        assert not any(secret in command for secret in secrets), command
    logs = [path.read_text(errors="replace") for path in (state / "logs").iterdir()]
    assert not any(secret in text for secret in secrets for text in logs)


def test_the_api_wants_a_login(running: Running) -> None:
    url = f"http://127.0.0.1:{running.environment['RERANKOPS_AIRFLOW_PORT']}"
    assert httpx.get(f"{url}/api/v2/dags", trust_env=False, timeout=30).status_code == httpx.codes.UNAUTHORIZED


def test_up_again_says_that_it_runs_and_starts_nothing(running: Running) -> None:
    before = (running.root / ".rerankops/stack.json").read_text()
    again = running.stack("up")
    assert again.returncode == 0
    assert "running already" in again.stdout
    assert (running.root / ".rerankops/stack.json").read_text() == before
    assert running.stack("status").returncode == 0


def test_up_of_another_project_on_the_same_port_says_which_variable_to_set(running: Running, tmp_path: Path) -> None:
    refused = Running(tmp_path, running.environment).stack("up")
    assert refused.returncode == 1
    assert "set RERANKOPS_AIRFLOW_PORT" in refused.stderr
    assert not processes_in(tmp_path)


def test_down_leaves_no_process_and_down_again_is_harmless(running: Running) -> None:
    assert processes_in(running.root)
    stopped = running.stack("down")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert processes_in(running.root) == []
    assert not (running.root / ".rerankops/stack.json").exists()
    again = running.stack("down")
    assert (again.returncode, again.stdout) == (0, "The stack is not running.\n")


def test_a_part_that_dies_ends_up_with_its_last_words_and_nothing_left(running: Running, tmp_path: Path) -> None:
    ports = {"RERANKOPS_AIRFLOW_PORT": str(free_port()), "RERANKOPS_MLFLOW_PORT": str(free_port())}
    (tmp_path / ".rerankops/mlflow").mkdir(parents=True)
    (tmp_path / ".rerankops/mlflow/mlflow.db").write_text("this is no database " * 100)
    failed = Running(tmp_path, {**running.environment, **ports}).stack("up")
    assert failed.returncode == 1
    assert "mlflow ended with code" in failed.stderr
    assert "file is not a database" in failed.stderr
    assert processes_in(tmp_path) == []
    assert not (tmp_path / ".rerankops/stack.json").exists()
