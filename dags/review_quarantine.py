"""### Review the quarantine

Decides about a delivery that was not accepted. **Release**: its usable rows become annotations and are adjudicated at
once. **Reject**: it is closed; it stays stored and nothing of it counts. Who decided (the user who is logged in), when
and why is kept beside the verdict, and the lineage of every judgment made from it shows that.

- **When**: by hand only. `rerankops quarantine list`, or the page it links, shows what waits and under which id.
- **Again**: the same decision changes nothing. The opposite one, or the release of a delivery that a later one
  superseded, is refused unless *Overrule* is set; both decisions stay on record.
- **Then**: updates the asset `rerankops://judgments` after a release, which starts `retrain_reranker` when enough
  labels came.
"""

from __future__ import annotations

from airflow.sdk import Param, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from dag_defaults import DEFAULTS, JUDGMENTS, refuse_unknown, who_asked

PARAMS = {
    "delivery": Param(
        type="string",
        pattern="^((deliveries|verdicts)/)?[0-9a-f]{4,32}$",
        title="Delivery",
        description="The first characters of its id, four or more, or its whole address.",
    ),
    "decision": Param(
        type="string",
        enum=["release", "reject"],
        title="Decision",
        description="Release its usable rows to adjudication, or reject it.",
    ),
    "reason": Param(
        type="string",
        minLength=5,
        maxLength=500,
        title="Reason",
        description="Why; it is kept with the decision.",
    ),
    "overrule": Param(
        False,
        type="boolean",
        title="Overrule",
        description="Also against an earlier decision, or for a delivery that was superseded.",
    ),
}


@dag(schedule=None, doc_md=__doc__, params=PARAMS, tags=["rerankops", "annotation"], **DEFAULTS)
def review_quarantine():
    @task
    def review_delivery(params=None, dag_run=None) -> dict:
        from rerankops.pipeline import quarantine

        refuse_unknown(params, PARAMS)
        return quarantine.review_delivery(**{name: params[name] for name in PARAMS}, who=who_asked(dag_run))

    @task(outlets=[JUDGMENTS])
    def adjudicate(reviewed, *, outlet_events=None) -> str:
        from rerankops.pipeline import adjudication

        judgments = adjudication.adjudicate() if reviewed["annotations"] else None
        if judgments is None:
            raise AirflowSkipException("the decision leaves the annotations that count as they were")
        outlet_events[JUDGMENTS].extra = {"judgments": judgments}
        return judgments

    adjudicate(review_delivery())


review_quarantine()
