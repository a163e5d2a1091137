"""A person approves, rejects or says nothing, under a real scheduler: what `make up` starts, and the tasks of
retrain_reranker that follow the gate's decision, wired by the same function into a DAG that is given the decision."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from local_stack import PROJECT, Running, answered, state_of, trigger
from passed_decision import REASON, REPORT, decided, here

from rerankops.pipeline.context import Context
from rerankops.pipeline.incumbent import registry

DAG = """
from airflow.sdk import Param, dag, task
from promotion_tasks import WITH_APPROVAL, settle

@dag(schedule=None, params={"decision": Param(type="string")}, **WITH_APPROVAL)
def settle_decision():
    @task
    def decide(params=None) -> str:
        return params["decision"]

    settle(decide())

settle_decision()
"""
SECONDS = 300
ASKED = {"approve": "success", "register": "success", "who_decides": "success"}
pytestmark = pytest.mark.timeout(1200)


@dataclass(frozen=True)
class Stack:
    """running: the stack; client: its REST API, logged in; mlflow: where it serves MLflow."""

    running: Running
    client: httpx.Client

    @property
    def mlflow(self) -> str:
        return f"http://127.0.0.1:{self.running.environment['RERANKOPS_MLFLOW_PORT']}"

    def settings(self, model: str, **promotion: Any) -> Context:
        """What the next tasks read; each test has a model of its own."""
        state = self.running.root / ".rerankops"
        tree = {"promotion": promotion, "registry": {"model_name": model, "ui_url": self.mlflow}}
        return here(state / "settings.yaml", state, tree)

    def start(self, decision: str) -> str:
        return trigger(self.client, "settle_decision", {"decision": decision}, seconds=SECONDS)

    def ended(self, run: str) -> tuple[str, dict[str, str]]:
        """The run's state and its tasks', once it has ended."""
        state = state_of(self.client, run, seconds=SECONDS)
        tasks = answered(self.client, "GET", f"{run}/taskInstances", seconds=SECONDS).json()["task_instances"]
        return state, {task["task_id"]: task["state"] for task in tasks if task["task_id"] != "decide"}

    def asked(self, run: str) -> dict[str, Any]:
        """The question, once it is put and the scheduler has heard that the process that put it has ended.

        An answer that comes sooner makes Airflow 3.3.2 take the one process's end for the end of the one that goes on
        with the answer, and ask again after the retry delay. People are slower than that.
        """
        found = self.until(lambda: self.client.get(f"{run}/taskInstances/approve/-1/hitlDetails"))
        question: dict[str, Any] = found.json()
        heard = re.compile(rf"TaskInstance Finished.*task_id=approve, run_id={re.escape(run_id(run))},.*awaiting_input")
        log = self.running.root / ".rerankops" / "logs" / "scheduler.log"
        deadline = time.monotonic() + SECONDS
        while not heard.search(log.read_text(encoding="utf-8", errors="replace")):
            assert time.monotonic() < deadline, "the scheduler never heard that the question was put"
            time.sleep(0.2)
        return question

    def answer(self, run: str, option: str, reason: str) -> httpx.Response:
        given = {"chosen_options": [option], "params_input": {"reason": reason}}
        path = f"{run}/taskInstances/approve/-1/hitlDetails"
        return answered(self.client, "PATCH", path, json=given, seconds=SECONDS)

    def give_up(self, run: str) -> str:
        """Ends a run from outside; its state then."""
        ended = answered(self.client, "PATCH", run, json={"state": "failed"}, seconds=SECONDS)
        assert ended.is_success, ended.text
        return state_of(self.client, run, seconds=SECONDS)

    def until(self, ask: Callable[[], httpx.Response]) -> httpx.Response:
        deadline = time.monotonic() + SECONDS
        while not (found := ask()).is_success:
            assert time.monotonic() < deadline, found.text
            time.sleep(0.2)
        return found

    def champion_events(self, run: str) -> int:
        asked = {"source_dag_id": "settle_decision", "limit": 100}
        events = answered(self.client, "GET", "/api/v2/assets/events", params=asked, seconds=SECONDS)
        return sum(event["source_run_id"] == run_id(run) for event in events.json()["asset_events"])


def run_id(run: str) -> str:
    return run.rpartition("/")[2].replace("%2B", "+")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    root = tmp_path_factory.mktemp("approval")
    for folder in ("dags", "plugins", ".rerankops"):
        (root / folder).mkdir()
    (root / "dags" / "settle_decision.py").write_text(DAG)
    for module in ("promotion_tasks.py", "dag_defaults.py"):
        shutil.copy(PROJECT / "dags" / module, root / "dags")
    running = Running.on_free_ports(root)
    overlay = root / ".rerankops" / "settings.yaml"
    overlay.write_text("{}")
    try:
        started = running.stack("up", RERANKOPS_CONFIG=str(overlay))
        assert started.returncode == 0, started.stdout + started.stderr
        with running.airflow() as client:
            yield Stack(running, client)
    finally:
        running.stack("down")


def champion(at: Context) -> str | None:
    now = registry(at).champion()
    return now.version if now else None


def test_an_approval_promotes_and_the_report_was_a_link_away(stack: Stack) -> None:
    at = stack.settings("approved", approval="human", approval_timeout_hours=1, approvers=["admin"])
    run = stack.start(decided(at, "approved"))
    question = stack.asked(run)
    assert question["subject"] == "Promote version 1 (tuned_fusion) of approved?"
    assert question["options"] == ["Approve", "Reject"]
    assert f"- {REASON}" in question["body"]
    assert champion(at) is None
    link = question["body"].partition("](")[2].partition(")")[0]
    assert link.startswith(f"{stack.mlflow}/#/runs/")
    logged = {"path": "report.html", "run_uuid": link.rpartition("/")[2]}
    login = json.loads((stack.running.root / ".rerankops/mlflow/auth/login.json").read_text())
    own = (login["user"], login["password"])
    served = httpx.get(f"{stack.mlflow}/get-artifact", params=logged, auth=own, trust_env=False, timeout=60)
    assert served.text == REPORT
    assert stack.answer(run, "Approve", "looked at the won questions").status_code == httpx.codes.OK
    assert stack.answer(run, "Reject", "too late").status_code == httpx.codes.CONFLICT
    assert stack.ended(run) == ("success", ASKED | {"promote": "success", "reject": "skipped"})
    assert champion(at) == "1"
    (move,) = registry(at).audit()
    assert (move["action"], move["actor"].partition(",")[0]) == ("promote", "admin")
    assert "looked at the won questions" in move["reason"]
    assert stack.champion_events(run) == 1


def test_a_rejection_promotes_nobody_and_is_kept(stack: Stack) -> None:
    at = stack.settings("rejected", approval="human", approval_timeout_hours=1)
    run = stack.start(decided(at, "rejected"))
    stack.asked(run)
    assert stack.answer(run, "Reject", "the gold set has aged").status_code == httpx.codes.OK
    assert stack.ended(run) == ("success", ASKED | {"promote": "skipped", "reject": "success"})
    assert champion(at) is None
    (move,) = registry(at).audit()
    assert (move["action"], move["actor"], move["reason"]) == ("reject", "admin", "the gold set has aged")
    assert stack.champion_events(run) == 0


def test_nobody_but_an_approver_may_answer(stack: Stack) -> None:
    at = stack.settings("guarded", approval="human", approval_timeout_hours=1, approvers=["li"])
    run = stack.start(decided(at, "guarded"))
    stack.asked(run)
    assert stack.answer(run, "Approve", "I am not asked").status_code == httpx.codes.FORBIDDEN
    assert not stack.asked(run)["response_received"]
    assert stack.give_up(run) == "failed"
    assert champion(at) is None
    assert registry(at).audit() == []
    assert stack.champion_events(run) == 0


def test_silence_promotes_nobody(stack: Stack) -> None:
    seconds = 20  # the scheduler has to hear that the question was put before it is too late to answer; see `asked`
    at = stack.settings("unanswered", approval="human", approval_timeout_hours=seconds / 3600, approvers=["li"])
    run = stack.start(decided(at, "unanswered"))
    stack.asked(run)
    assert stack.ended(run) == ("success", ASKED | {"promote": "skipped", "reject": "success"})
    assert champion(at) is None
    (move,) = registry(at).audit()
    assert (move["action"], "nobody answered" in move["reason"]) == ("lapse", True)
    assert registry(at).resolve("challenger").version == move["version"]
    assert stack.champion_events(run) == 0


def test_without_approval_nobody_is_asked_and_a_refusal_promotes_nobody(stack: Stack) -> None:
    at = stack.settings("alone", approval="none")
    passed, refused = (decided(at, f"alone {promote}", promote=promote) for promote in (True, False))
    run = stack.start(refused)
    skipped = dict.fromkeys(("approve", "promote", "reject"), "skipped")
    assert stack.ended(run) == ("success", {"register": "success", "who_decides": "success"} | skipped)
    assert (champion(at), stack.champion_events(run)) == (None, 0)
    run = stack.start(passed)
    assert stack.ended(run)[0] == "success"
    assert stack.ended(run)[1] == {"register": "success", "who_decides": "success"} | skipped | {"promote": "success"}
    assert (champion(at), stack.champion_events(run)) == ("1", 1)
