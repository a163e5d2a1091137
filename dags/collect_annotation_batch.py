"""### Collect an annotation batch

Pulls production queries of a time window from the query log, **removes personal data before anything is stored**,
drops what is no query, merges near-duplicates, leaves out what is too near a gold question or was asked before, and
draws a pool by stratum and frequency. Hybrid search (BM25 and HNSW, fused by reciprocal rank) finds 20 to 30 candidates
a query. Within a budget of tasks the batch then takes a **random share**, which keeps the estimate of live quality
unbiased, and the queries that tell most: those the incumbent is unsure of, those on which the rankings disagree, and
those that stand for many others; never two that ask the same while others wait. The incumbent's first few candidates of
each become annotation tasks, with control tasks mixed in, and go out to people. Which query is in for which reason
stands in the batch (`chosen_for`), and annotators do not see it.

The budget and the shares are the settings `annotation.selection`.

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
    def check_query_events(events: str) -> str:
        from rerankops.pipeline import quality

        quality.check_query_events(events)
        return events

    @task
    def distil_queries(events: str) -> str:
        from rerankops.pipeline import queries

        return queries.distil_queries(events)

    @task.short_circuit(ignore_downstream_trigger_rules=True)
    def sample_queries(distilled: str) -> str | None:
        from rerankops.pipeline import queries

        return queries.sample_queries(distilled)

    @task
    def retrieve_candidates(pool: str) -> str:
        from rerankops.pipeline import queries

        return queries.retrieve_candidates(pool, context=context())

    @task
    def check_candidates(candidates: str) -> str:
        from rerankops.pipeline import quality

        quality.check_candidates(candidates)
        return candidates

    @task
    def select_queries(pool: str, candidates: str) -> str:
        from rerankops.pipeline import batches

        return batches.select_queries(pool, candidates)

    @task
    def make_annotation_batch(selected: str, candidates: str) -> str:
        from rerankops.pipeline import batches

        return batches.make_annotation_batch(selected, candidates)

    @task(outlets=[BATCH])
    def send_batch(batch: str, *, outlet_events=None) -> str:
        from rerankops.pipeline import channels

        place = channels.send_batch(batch, context=context())
        outlet_events[BATCH].extra = {"batch": batch, "sent_to": place}
        return place

    pool = sample_queries(distil_queries(check_query_events(pull_events())))
    candidates = retrieve_candidates(pool)
    send_batch(make_annotation_batch(select_queries(pool, candidates), check_candidates(candidates)))


collect_annotation_batch()
