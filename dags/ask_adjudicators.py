"""### Ask adjudicators

Pairs on which people differ too much, or whose grade is too uncertain (`adjudication.contested_…`), go to adjudicators:
a batch of their own, one person a task, the least certain first. What they say settles a pair, and teaches how the
others grade.

- **When**: whenever judgments change, and daily at 07:00 UTC.
- **Again**: nothing that is already with an adjudicator is asked again; with nothing contested the run skips.
- **Then**: updates the asset `rerankops://annotation-batch`. The answers come back through `ingest_annotations`.
"""

from __future__ import annotations

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, dag, task
from dag_defaults import BATCH, DEFAULTS, JUDGMENTS, context, refuse_unknown

PARAMS: dict[str, object] = {}


@dag(
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("0 7 * * *", timezone="UTC"), assets=[JUDGMENTS]),
    doc_md=__doc__,
    params=PARAMS,
    tags=["rerankops", "annotation"],
    **DEFAULTS,
)
def ask_adjudicators():
    @task.short_circuit(ignore_downstream_trigger_rules=True)
    def make_adjudication_batch(params=None) -> str | None:
        from rerankops.pipeline import adjudication

        refuse_unknown(params, PARAMS)
        return adjudication.make_adjudication_batch()

    @task(outlets=[BATCH])
    def send_adjudication_batch(batch: str, *, outlet_events=None) -> str:
        from rerankops.pipeline import adjudication

        place = adjudication.send_adjudication_batch(batch, context=context())
        outlet_events[BATCH].extra = {"batch": batch, "sent_to": place}
        return place

    send_adjudication_batch(make_adjudication_batch())


ask_adjudicators()
