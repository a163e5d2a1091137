"""Judgments that come while a retraining is under way are not forgotten.

Airflow starts one run of a DAG at a time here, and of asset events that come meanwhile it may keep one or none
(apache/airflow#56050). So the last task of a retraining looks itself whether judgments came after its plan that make
another retraining due, and starts that. It looks also when the retraining failed or was refused; being a teardown, it
has no part in what the run's state is.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk.exceptions import AirflowSkipException

WHEN_DUE = {"asset_triggered", "operator_triggered"}
"""Types of runs that ask whether a retraining is due: those that an asset started, and those that this task did."""


class RetrainForLater(TriggerDagRunOperator):
    """plan: what plan_retraining returned, None when it was skipped. The same judgments are one run, however often the
    task is tried."""

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
    """Wires the look into the DAG at hand, as its last task. after: tasks that end the run."""
    again = RetrainForLater(task_id="retrain_for_later_judgments", plan=plan, trigger_dag_id=dag_id)
    after >> again.as_teardown()
