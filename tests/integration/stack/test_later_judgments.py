"""Judgments that come while a retraining runs start the next one, under a real scheduler: what `make up` starts, and
the last task of retrain_reranker, wired by the same function into a DAG that only plans and takes its time."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from gold_looks import labels
from local_stack import PROJECT, Running, answered

from rerankops.pipeline import context as contexts
from rerankops.pipeline.context import Context
from rerankops.pipeline.judgments import JUDGMENTS

DAG = """
import time
from airflow.sdk import dag, task
from dag_defaults import DEFAULTS, JUDGMENTS
from later_judgments import look_again

@dag(schedule=None)
def give_judgments():
    @task(outlets=[JUDGMENTS])
    def give():
        pass

    give()

@dag(schedule=[JUDGMENTS], **DEFAULTS)
def take_judgments():
    @task
    def plan() -> str:
        from rerankops.pipeline import context
        workspace = context.load().workspace
        document = {"judgments": workspace.ref("judgments")}
        return workspace.publish_document("plans", document, step="plan", settings=document)

    @task
    def work(plan: str) -> None:
        time.sleep(20)

    planned = plan()
    look_again(planned, [work(planned)], "take_judgments")

give_judgments()
take_judgments()
"""
SECONDS = 300
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("later")
    for folder in ("dags", "plugins", ".rerankops"):
        (root / folder).mkdir()
    (root / "dags" / "judgments.py").write_text(DAG)
    for module in ("later_judgments.py", "dag_defaults.py"):
        shutil.copy(PROJECT / "dags" / module, root / "dags")
    one = Running.on_free_ports(root)
    try:
        started = one.stack("up", RERANKOPS__WORKSPACE__ROOT=str(root / ".rerankops" / "workspace"))
        assert started.returncode == 0, started.stdout + started.stderr
        yield one
    finally:
        one.stack("down")


@pytest.fixture
def here(running: Running, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setenv("RERANKOPS__WORKSPACE__ROOT", str(running.root / ".rerankops" / "workspace"))
    return contexts.load()


def plans(context: Context) -> list[str]:
    """The judgments that each retraining was planned with."""
    folder = Path(str(context.workspace.root)) / "objects" / "plans"
    found = folder.iterdir() if folder.is_dir() else []
    return [context.workspace.read_document(f"plans/{path.name}")["judgments"] for path in found]


def runs(client: httpx.Client) -> list[dict[str, str]]:
    found = answered(client, "GET", "/api/v2/dags/take_judgments/dagRuns?order_by=run_after", seconds=SECONDS)
    listed: list[dict[str, str]] = found.json()["dag_runs"]
    return listed


def test_the_last_judgments_are_taken_though_airflow_is_told_of_none_but_the_first(
    running: Running, here: Context
) -> None:
    """Of three deliveries, each of which comes while the one before is worked on, Airflow hears of the first alone, as
    where it drops the event of one that comes while runs wait."""
    given = [labels(here, [(f"q{number}", "p1", 2)]) for number in range(3)]
    deadline = time.monotonic() + 3 * SECONDS
    with running.airflow() as client:
        here.workspace.point(JUDGMENTS, given[0])
        assets: list[dict[str, str]] = []
        while not assets and time.monotonic() < deadline:
            assets = answered(client, "GET", "/api/v2/assets", seconds=SECONDS).json()["assets"]
        (asset,) = [one for one in assets if one["name"] == "rerankops://judgments"]
        event = {"asset_id": asset["id"], "extra": {}}
        assert answered(client, "POST", "/api/v2/assets/events", json=event, seconds=SECONDS).is_success
        for later in given[1:]:
            before = here.workspace.ref(JUDGMENTS)
            while before not in plans(here):
                assert time.monotonic() < deadline, runs(client)
                time.sleep(0.5)
            here.workspace.point(JUDGMENTS, later)
        while given[-1] not in plans(here) or {run["state"] for run in runs(client)} != {"success"}:
            assert time.monotonic() < deadline, runs(client)
            time.sleep(1)
        assert [run["run_type"] for run in runs(client)] == ["asset_triggered", *["operator_triggered"] * 2]
    assert sorted(plans(here)) == sorted(given)
