"""### Refresh the corpus index

Reads the passages (`sources.corpus`) and the gold questions (`sources.gold`), embeds what is new shard by shard, builds
an index (in the workspace, or a new version on Elasticsearch) and serves it **only if its HNSW recall against exact
search reaches `retrieval.min_recall`**; otherwise the old index stays and this run says why. On Elasticsearch the alias
`elasticsearch.alias` moves then, in one step, and versions that are no longer kept are deleted.

- **When**: every night at 02:00 UTC, or at once when whoever publishes manuals reports an event of the asset
  `rerankops://corpus` (`POST /api/v2/assets/events`), or by hand.
- **Again**: the same corpus under the same settings gives the same addresses; nothing is embedded twice.
- **Then**: updates the asset `rerankops://index`.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, dag, task
from dag_defaults import CORPUS, DEFAULTS, GPU, INDEX, context, refuse_unknown

PARAMS: dict[str, object] = {}


@dag(
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("0 2 * * *", timezone="UTC"), assets=[CORPUS]),
    doc_md=__doc__,
    params=PARAMS,
    tags=["rerankops", "retrieval"],
    **DEFAULTS,
)
def refresh_corpus_index():
    @task
    def load_corpus(params=None) -> str:
        from rerankops.pipeline import corpus

        refuse_unknown(params, PARAMS)
        return corpus.load_corpus()

    @task
    def load_gold() -> str:
        from rerankops.pipeline import corpus

        return corpus.load_gold()

    @task
    def check_gold_questions(gold: str, passages: str) -> str:
        from rerankops.pipeline import quality

        quality.check_gold_questions(gold, passages)
        return gold

    @task
    def plan_embedding(passages: str) -> list[dict]:
        from rerankops.pipeline import corpus

        return corpus.plan_embedding(passages)

    @task(execution_timeout=timedelta(hours=6), **GPU)
    def embed_shard(shard: dict) -> str:
        from rerankops.pipeline import corpus

        return corpus.embed_shard(**shard)

    @task(trigger_rule="none_failed")  # nothing changed: no shards, and a mapped task without any is skipped
    def join_vectors(passages: str, shards: list[str] | None) -> str:
        from rerankops.pipeline import corpus

        return corpus.join_vectors(passages, list(shards or []))

    @task(execution_timeout=timedelta(hours=6))
    def build_index(passages: str, vectors: str) -> str:
        from rerankops.pipeline import index

        return index.build_index(passages, vectors, context=context())

    @task(outlets=[INDEX])
    def serve_index(built: str, gold: str, *, outlet_events=None) -> dict:
        from rerankops.pipeline import index

        checked = index.serve_index(built, context=context())
        outlet_events[INDEX].extra = {"index": built, "gold": gold, **checked}
        return checked

    passages = load_corpus()
    gold = check_gold_questions(load_gold(), passages)
    shards = embed_shard.expand(shard=plan_embedding(passages))
    serve_index(build_index(passages, join_vectors(passages, shards)), gold)


refresh_corpus_index()
