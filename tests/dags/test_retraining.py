"""When a retraining runs: on enough new labels, and whenever a person or the calendar asks for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gold_looks import finished_look, gold, labels, plan

from rerankops.pipeline import context as contexts
from rerankops.pipeline import training
from rerankops.pipeline.context import Context
from rerankops.pipeline.judgments import JUDGMENTS

Find = Callable[[str], Any]
EARLIER = [(f"q{number}", "p1", 3) for number in range(20)]


@pytest.fixture
def here(airflow: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A workspace that has looked at gold once, with 20 labels; six more came since and one was changed."""
    monkeypatch.setenv("RERANKOPS__WORKSPACE__ROOT", str(tmp_path / "workspace"))
    context = contexts.load()
    finished_look(context, gold(context), judgments=labels(context, EARLIER))
    later = [*EARLIER[1:], ("q0", "p1", 1), *((f"n{number}", "p1", 2) for number in range(6))]
    context.workspace.point(JUDGMENTS, labels(context, later))
    return context


@pytest.fixture
def plan_retraining(find_dag: Find, here: Context, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """The first task as a run of a type calls it; the plan itself is not made."""
    monkeypatch.setattr(training, "plan_retraining", lambda overrides, again: "plans/made")
    dag = find_dag("retrain_reranker")
    task = dag.get_task("plan_retraining").python_callable
    return lambda run_type: task(params=dict(dag.params), dag_run=SimpleNamespace(run_type=run_type))


def test_the_runs_that_an_asset_or_an_earlier_run_starts_are_of_these_types(airflow: None) -> None:
    from airflow.utils.types import DagRunType
    from later_judgments import WHEN_DUE

    assert {DagRunType.ASSET_TRIGGERED.value, DagRunType.OPERATOR_TRIGGERED.value} == WHEN_DUE


@pytest.mark.parametrize("run_type", ["asset_triggered", "operator_triggered"])
@pytest.mark.parametrize(("least", "runs"), [("7", True), ("8", False)])
def test_new_judgments_start_a_retraining_when_they_are_enough(
    plan_retraining: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, least: str, runs: bool, run_type: str
) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    monkeypatch.setenv("RERANKOPS__TRAINING__MIN_NEW_LABELS", least)
    if runs:
        assert plan_retraining(run_type) == "plans/made"
    else:
        with pytest.raises(AirflowSkipException, match=r"7 new or changed labels .*, 8 make one due .*: 1 to go"):
            plan_retraining(run_type)


@pytest.mark.parametrize("run_type", ["manual", "scheduled"])
def test_a_person_and_the_calendar_start_it_whatever_came(
    plan_retraining: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, run_type: str
) -> None:
    monkeypatch.setenv("RERANKOPS__TRAINING__MIN_NEW_LABELS", "1000")
    assert plan_retraining(run_type) == "plans/made"


@pytest.fixture
def planned(here: Context) -> str:
    """The plan of a retraining that began with the judgments that are in force now."""
    return plan(here, gold(here), "this one", judgments=here.workspace.require(JUDGMENTS, "")).address


@pytest.fixture
def look_again(find_dag: Find) -> Callable[[str | None], None]:
    """The last task, given what the first one returned."""
    task = find_dag("retrain_reranker").get_task("retrain_for_later_judgments")

    def look(plan: str | None) -> None:
        task.plan = plan
        task.execute({})

    return look


def test_judgments_that_came_meanwhile_start_the_next_retraining(
    look_again: Callable[[str | None], None], here: Context, planned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.exceptions import DagRunTriggerException

    monkeypatch.setenv("RERANKOPS__TRAINING__MIN_NEW_LABELS", "7")
    later = labels(here, [(f"later{number}", "p1", 2) for number in range(9)])
    here.workspace.point(JUDGMENTS, later)
    with pytest.raises(DagRunTriggerException) as started:
        look_again(planned)
    assert (started.value.trigger_dag_id, started.value.conf) == ("retrain_reranker", None)
    assert started.value.dag_run_id == f"later__{later.replace('/', '-')}"
    assert started.value.skip_when_already_exists


@pytest.mark.parametrize("case", ["nothing came", "too few came", "was not planned"])
def test_nothing_is_started_when_no_retraining_is_due(
    look_again: Callable[[str | None], None],
    here: Context,
    planned: str,
    monkeypatch: pytest.MonkeyPatch,
    case: str,
) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    monkeypatch.setenv("RERANKOPS__TRAINING__MIN_NEW_LABELS", "1000" if case == "too few came" else "1")
    if case != "nothing came":
        here.workspace.point(JUDGMENTS, labels(here, [("later", "p1", 2)]))
    with pytest.raises(AirflowSkipException):
        look_again(None if case == "was not planned" else planned)


def test_a_retraining_that_failed_stays_failed_whatever_the_last_look_says(find_dag: Find) -> None:
    task = find_dag("retrain_reranker").get_task("retrain_for_later_judgments")
    assert (task.is_teardown, task.on_failure_fail_dagrun) == (True, False)
