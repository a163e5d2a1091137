"""### Derive feedback

Turns what users did into judgments and preferences: clicks corrected for the rank they were made at, likes and
dislikes, and the passages that users named as the answer. How likely each rank is to be examined is estimated from
**shuffled results, or from two rankers that were in use at the same time**; where the log has neither, clicks are not
used and the first task's log says why. The judgments have the origin `feedback` and weigh less than people's; gold
questions and what is near them are left out.

- **When**: Mondays at five, after `collect_annotation_batch`, or by hand.
- **Again**: the same events, gold questions and people's judgments give the same judgments. With no events, or none
  that say anything, the run skips.
- **Then**: updates the asset `rerankops://judgments`, which starts `retrain_reranker` when enough labels came.
"""

from __future__ import annotations

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowSkipException
from dag_defaults import DEFAULTS, JUDGMENTS, refuse_unknown


@dag(schedule="0 5 * * 1", doc_md=__doc__, tags=["rerankops", "annotation"], **DEFAULTS)
def derive_feedback():
    @task.short_circuit(ignore_downstream_trigger_rules=True)
    def estimate_propensities(params=None) -> str | None:
        from rerankops.pipeline import feedback

        refuse_unknown(params, {})
        return feedback.estimate_propensities()

    @task(outlets=[JUDGMENTS])
    def derive_feedback(propensities: str, *, outlet_events=None) -> str:
        from rerankops.pipeline import feedback

        judgments = feedback.derive_feedback(propensities)
        if judgments is None:
            raise AirflowSkipException("nothing that users did is a judgment")
        outlet_events[JUDGMENTS].extra = {"judgments": judgments}
        return judgments

    derive_feedback(estimate_propensities())


derive_feedback()
