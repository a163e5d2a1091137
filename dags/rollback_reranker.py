"""### Roll the reranker back

Puts the model that served before the last promotion back: the alias `champion` moves to `previous`, and `previous` to
what was champion, so that a second run undoes the first. Who asked and why is kept with the registered model.

- **When**: by hand only, with a reason.
- **Then**: updates the asset `rerankops://champion`.
"""

from __future__ import annotations

from airflow.sdk import Param, dag, task
from dag_defaults import CHAMPION, DEFAULTS, REGISTRY, refuse_unknown

PARAMS = {
    "reason": Param(
        type="string",
        minLength=5,
        maxLength=500,
        title="Reason",
        description="Why; it is kept with the registered model.",
    )
}


@dag(schedule=None, doc_md=__doc__, params=PARAMS, tags=["rerankops", "promotion"], **DEFAULTS)
def rollback_reranker():
    # Not retried: a second rollback undoes the first.
    @task(outlets=[CHAMPION], retries=0, **REGISTRY)
    def roll_back(params=None, *, outlet_events=None) -> dict:
        from rerankops.pipeline import promotion

        refuse_unknown(params, PARAMS)
        result = promotion.roll_back(reason=params["reason"])
        outlet_events[CHAMPION].extra = result
        return result

    roll_back()


rollback_reranker()
