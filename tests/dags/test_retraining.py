"""When a retraining runs: on enough new labels, and whenever a person or the calendar asks for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gold_looks import finished_look, gold, labels

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


def test_the_runs_that_an_asset_starts_are_of_this_type(airflow: None) -> None:
    from airflow.utils.types import DagRunType
    from retrain_reranker import NEW_JUDGMENTS

    assert DagRunType.ASSET_TRIGGERED.value == NEW_JUDGMENTS


@pytest.mark.parametrize(("least", "runs"), [("7", True), ("8", False)])
def test_new_judgments_start_a_retraining_when_they_are_enough(
    plan_retraining: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, least: str, runs: bool
) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    monkeypatch.setenv("RERANKOPS__TRAINING__MIN_NEW_LABELS", least)
    if runs:
        assert plan_retraining("asset_triggered") == "plans/made"
    else:
        with pytest.raises(AirflowSkipException, match=r"7 new or changed labels .*, 8 make one due .*: 1 to go"):
            plan_retraining("asset_triggered")


@pytest.mark.parametrize("run_type", ["manual", "scheduled"])
def test_a_person_and_the_calendar_start_it_whatever_came(
    plan_retraining: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, run_type: str
) -> None:
    monkeypatch.setenv("RERANKOPS__TRAINING__MIN_NEW_LABELS", "1000")
    assert plan_retraining(run_type) == "plans/made"
