"""### Collect an annotation batch

Pulls production queries of a time window from the query log, **removes personal data before anything is stored**,
drops what is no query, merges near-duplicates, leaves out what is too near a gold question or was asked before, and
samples by stratum. Hybrid search (BM25 and HNSW, fused by reciprocal rank) finds 20 to 30 candidates a query; the
incumbent's first few become annotation tasks, with control tasks mixed in, and go out to people.

- **When**: Mondays at 03:00 UTC, or by hand with a window of your own.
- **Again**: the same window gives the same batch. Without a window it takes up where the last pull ended, late events
  included (`query_log.lateness_hours`), and nothing twice; with no new events the run skips.
- **Then**: updates the asset `rerankops://annotation-batch`. Finished annotations come back through
  `ingest_annotations`.
"""

from __future__ import annotations

from airflow.sdk import Param, dag, task
from dag_defaults import BATCH, DEFAULTS, context, refuse_unknown

WINDOW = {"type": ["string", "null"], "format": "date-time"}
PARAMS = {
    "since": Param(None, title="From", description="First moment of the window; empty: the last pull's end.", **WINDOW),
    "until": Param(None, title="Until", description="The window ends before this moment; empty: no end.", **WINDOW),
}


@dag(schedule="0 3 * * 1", doc_md=__doc__, params=PARAMS, tags=["rerankops", "annotation"], **DEFAULTS)
def collect_annotation_batch():
    @task.short_circuit(ignore_downstream_trigger_rules=True)
    def pull_events(params=None) -> str | None:
        from rerankops.pipeline import queries

        refuse_unknown(params, PARAMS)
        return queries.pull_events(since=params["since"], until=params["until"], context=context())

    @task
    def distil_queries(events: str) -> str:
        from rerankops.pipeline import queries

        return queries.distil_queries(events)

    @task.short_circuit(ignore_downstream_trigger_rules=True)
    def sample_queries(distilled: str) -> str | None:
        from rerankops.pipeline import queries

        return queries.sample_queries(distilled)

    @task
    def retrieve_candidates(sample: str) -> str:
        from rerankops.pipeline import queries

        return queries.retrieve_candidates(sample, context=context())

    @task
    def make_annotation_batch(sample: str, candidates: str) -> str:
        from rerankops.pipeline import batches

        return batches.make_annotation_batch(sample, candidates)

    @task(outlets=[BATCH])
    def send_batch(batch: str, *, outlet_events=None) -> str:
        from rerankops.pipeline import channels

        place = channels.send_batch(batch)
        outlet_events[BATCH].extra = {"batch": batch, "sent_to": place}
        return place

    sample = sample_queries(distil_queries(pull_events()))
    send_batch(make_annotation_batch(sample, retrieve_candidates(sample)))


collect_annotation_batch()
