"""Judgments that arrive during a retraining are not lost.

Airflow runs this DAG one run at a time, and may keep one or none of the asset events that arrive meanwhile
(apache/airflow#56050). So the last task of a retraining itself looks for judgments that arrived after its plan and make
another retraining due, and starts that retraining. It does so also when the retraining failed or was refused. As a
teardown, it does not affect the state of the run.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk.exceptions import AirflowSkipException

WHEN_DUE = {"asset_triggered", "operator_triggered"}
"""Types of runs that check whether a retraining is due: those started by an asset, and those started by this task."""


class RetrainForLater(TriggerDagRunOperator):
    """plan: what plan_retraining returned, None when it was skipped. The same judgments start only one run, however
    often the task is tried."""

    template_fields = (*TriggerDagRunOperator.template_fields, "plan")

    def __init__(self, *, plan: Any, **kwargs: Any) -> None:
        super().__init__(logical_date=None, skip_when_already_exists=True, **kwargs)
        self.plan = plan

    def execute(self, context: Any) -> None:
        from rerankops.pipeline import due

        later = due.later_judgments(self.plan)
        if later is None:
            raise AirflowSkipException("no judgments came meanwhile that make another retraining due")
        self.trigger_run_id = f"later__{later.replace('/', '-')}"
        super().execute(context)


def look_again(plan: Any, after: list[Any], dag_id: str) -> None:
    """Adds this check to the current DAG as its last task. after: tasks that end the run."""
    again = RetrainForLater(task_id="retrain_for_later_judgments", plan=plan, trigger_dag_id=dag_id)
    after >> again.as_teardown()
