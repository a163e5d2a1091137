"""### Ingest annotations

Takes finished annotations from the people who gave them. Every delivery is stored as it came; Great Expectations
decides whether it is **accepted, accepted in part or quarantined whole, with reasons a person can act on** (the task's
log links them; `review_quarantine` releases or rejects). All accepted annotations together are adjudicated (Dawid and
Skene, 1979) into judgments with a confidence; scorecards beside them say how each annotator does.

- **When**: every hour, or by hand for one batch.
- **Again**: a delivery is validated once; the same deliveries give the same judgments. With nothing new the run skips.
- **Then**: updates the asset `rerankops://judgments`, which starts `ask_adjudicators` and, when enough labels came,
  `retrain_reranker`.
"""

from __future__ import annotations

from airflow.sdk import Param, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from dag_defaults import DEFAULTS, JUDGMENTS, context, refuse_unknown

PARAMS = {
    "batch": Param(
        None,
        type=["string", "null"],
        minLength=1,
        title="Batch",
        description="Only deliveries of this batch id; empty: all that are waiting.",
    )
}


@dag(schedule="@hourly", doc_md=__doc__, params=PARAMS, tags=["rerankops", "annotation"], **DEFAULTS)
def ingest_annotations():
    @task.short_circuit(ignore_downstream_trigger_rules=True)
    def pull_deliveries(params=None) -> list[str]:
        from rerankops.pipeline import channels

        refuse_unknown(params, PARAMS)
        return channels.pull_deliveries(batch=params["batch"], context=context())

    @task
    def validate_delivery(delivery: str) -> dict:
        from rerankops.pipeline import validation

        return validation.validate_delivery(delivery)

    @task
    def tell_quarantined(verdicts) -> list[dict]:
        from rerankops.pipeline import quarantine

        return quarantine.tell_quarantined(list(verdicts))

    @task(outlets=[JUDGMENTS])
    def adjudicate(verdicts, *, outlet_events=None) -> str:
        from rerankops.pipeline import adjudication

        outcomes = [verdict["outcome"] for verdict in verdicts]
        judgments = adjudication.adjudicate() if set(outcomes) - {"quarantine"} else None
        if judgments is None:
            raise AirflowSkipException(f"nothing was accepted: {outcomes}")
        outlet_events[JUDGMENTS].extra = {"judgments": judgments}
        return judgments

    adjudicate(tell_quarantined(validate_delivery.expand(delivery=pull_deliveries())))


ingest_annotations()
