"""### Roll the reranker back

Puts the model that served before the last promotion back: the alias `champion` moves to `previous`, and `previous` to
what was champion, so that a second run undoes the first. Name the champion that is to go, and a run that is started
twice by mistake fails the second time. Who asked and why is kept with the registered model.

- **When**: by hand only, with a reason.
- **Then**: updates the asset `rerankops://champion`.
"""

from __future__ import annotations

from airflow.sdk import Param, dag, task
from dag_defaults import CHAMPION, DEFAULTS, REGISTRY, refuse_unknown, who_asked

_VERSION = {"type": ["string", "null"], "pattern": "^[1-9][0-9]*$"}
PARAMS = {
    "reason": Param(
        type="string",
        minLength=5,
        maxLength=500,
        title="Reason",
        description="Why; it is kept with the registered model.",
    ),
    "expected_champion": Param(
        None,
        **_VERSION,
        title="Champion to replace",
        description="Number of the version that serves now; the run fails when another one does. Empty: whichever.",
    ),
    "version": Param(
        None,
        **_VERSION,
        title="Bring back",
        description="Number of an earlier champion. Empty: the one before the present champion.",
    ),
}


@dag(schedule=None, doc_md=__doc__, params=PARAMS, tags=["rerankops", "promotion"], **DEFAULTS)
def rollback_reranker():
    # The run's id makes a second try the same rollback, not one that undoes the first.
    @task(outlets=[CHAMPION], **REGISTRY)
    def roll_back(params=None, dag_run=None, *, outlet_events=None) -> dict:
        from rerankops.pipeline import models

        refuse_unknown(params, PARAMS)
        result = models.roll_back(
            params["reason"],
            to=params["version"],
            expected_champion=params["expected_champion"],
            actor=who_asked(dag_run),
            key=dag_run.run_id,
        )
        outlet_events[CHAMPION].extra = result
        return result

    roll_back()


rollback_reranker()
