"""What follows the gate's decision: it is recorded, a person is asked where the settings say so, the winner promoted.

    decide >> register >> who_decides >> approve >> promote    a person approves
                          who_decides >> approve >> reject     a person rejects, or nobody answers in time
                          who_decides >> promote               promotion.approval is none: nobody is asked
                          who_decides                          the gate refused

The settings are read when a task runs, so the wiring is the same whatever they say.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLBranchOperator, HITLOperator
from airflow.sdk import Param, TriggerRule, task
from dag_defaults import CHAMPION, DEFAULTS, REGISTRY

LONGEST_APPROVAL = timedelta(days=7)
"""The upper bound of promotion.approval_timeout_hours."""
WITH_APPROVAL: dict[str, Any] = DEFAULTS | {"dagrun_timeout": DEFAULTS["dagrun_timeout"] + LONGEST_APPROVAL}
"""DEFAULTS for a DAG whose run may wait for a person."""
APPROVE, REJECT = "Approve", "Reject"


class Approval(HITLBranchOperator):
    """Approve leads to `promote`, Reject and silence to `reject`. Returns approved, by (None: nobody), reason, at.

    Time limit and approvers are those of the settings at the moment of asking.
    """

    template_fields = (*HITLBranchOperator.template_fields, "decision", "registered")

    def __init__(self, *, decision: Any, registered: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.decision = decision
        self.registered = registered

    def execute(self, context: Any) -> Any:
        from rerankops.pipeline import approval

        asked = approval.question(self.decision, self.registered)
        self.subject, self.body = asked["subject"], asked["body"]
        self.response_timeout = timedelta(hours=asked["hours"])
        self.assigned_users = [{"id": name, "name": name} for name in asked["approvers"]]
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> None:
        answer = HITLOperator.execute_complete(self, context, event)
        (chosen,) = answer["chosen_options"]
        who = answer["responded_by_user"]
        given = {
            "approved": chosen == APPROVE,
            "by": who["name"] if who else None,
            "reason": answer["params_input"].get("reason") or "",
            "at": answer["responded_at"].isoformat(),
        }
        # Pushed here, since branching leaves by an exception and what the method returns would be lost.
        context["ti"].xcom_push(key=self.output.key, value=given)
        self.do_branch(context, self.options_mapping[chosen])


@task(**REGISTRY)
def register(decision: str) -> dict:
    from rerankops.pipeline import promotion

    return promotion.register(decision)


@task.branch
def who_decides(registered: dict) -> str | None:
    from rerankops.pipeline import approval

    return {"gate": "promote", "person": "approve"}.get(approval.who_decides(registered))


@task(**REGISTRY)
def reject(decision: str, answer: dict) -> dict:
    from rerankops.pipeline import approval

    return approval.reject(decision, answer)


@task(outlets=[CHAMPION], trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS, **REGISTRY)
def promote(decision: str, answer: dict | None, *, outlet_events=None) -> dict:
    from rerankops.pipeline import promotion

    result = promotion.promote(decision, approval=answer)
    outlet_events[CHAMPION].extra = result
    return result


def settle(decision: Any) -> list[Any]:
    """Wires everything that follows a decision into the DAG at hand. decision: the task that returns its address.
    Returns the tasks that end the run."""
    registered = register(decision)
    way = who_decides(registered)
    approve = Approval(
        task_id="approve",
        decision=decision,
        registered=registered,
        subject="Promote the winner?",
        options=[APPROVE, REJECT],
        options_mapping={APPROVE: "promote", REJECT: "reject"},
        defaults=REJECT,
        params={"reason": Param("", type="string", maxLength=500, title="Reason")},
        response_timeout=LONGEST_APPROVAL,
    )
    promoted, rejected = promote(decision, approve.output), reject(decision, approve.output)
    way >> [approve, promoted]
    approve >> [promoted, rejected]
    return [promoted, rejected]
