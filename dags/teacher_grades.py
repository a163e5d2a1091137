"""### Teacher grades

Lets a language model (`llm.url`, `llm.model`) grade passages that nobody judged, by the same guidelines as people, **if
it grades as people do**: its agreement is measured first on pairs that people surely judged, and its labels are used
only when the lower end of the 95 % interval of the weighted kappa reaches `teacher.min_kappa`. Below that nothing
changes, and the log says why in numbers. Labels of a teacher that is trusted no more are taken out again.

- **When**: every Monday at 06:00 UTC, or by hand. Without `llm.url` the run skips.
- **Again**: an answer is paid for once; a run that was stopped, or whose budget ended, goes on where it was.
- **Then**: updates the asset `rerankops://judgments` when labels changed, which starts `retrain_reranker` when enough
  did.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowSkipException
from dag_defaults import DEFAULTS, JUDGMENTS, context, refuse_unknown

PARAMS: dict[str, object] = {}


@dag(schedule="0 6 * * 1", doc_md=__doc__, params=PARAMS, tags=["rerankops", "annotation"], **DEFAULTS)
def teacher_grades():
    @task.short_circuit(ignore_downstream_trigger_rules=True, execution_timeout=timedelta(hours=4))
    def measure_teacher(params=None) -> str | None:
        from rerankops.pipeline import teacher

        refuse_unknown(params, PARAMS)
        return teacher.measure_teacher()

    @task.short_circuit(ignore_downstream_trigger_rules=True)
    def choose_pairs() -> str | None:
        from rerankops.pipeline import teacher

        return teacher.choose_pairs(context=context())

    @task(outlets=[JUDGMENTS], execution_timeout=timedelta(hours=8))
    def teach(trust: str, pairs: str, *, outlet_events=None) -> str:
        from rerankops.pipeline import teacher

        judgments = teacher.teach(trust, pairs)
        if judgments is None:
            raise AirflowSkipException("the judgments stay as they were; the log says why")
        outlet_events[JUDGMENTS].extra = {"judgments": judgments}
        return judgments

    trust, pairs = measure_teacher(), choose_pairs()
    trust >> pairs
    teach(trust, pairs)


teacher_grades()
