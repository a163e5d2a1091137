"""### Refresh the corpus index

Reads the passages (`sources.corpus`) and the gold questions (`sources.gold`), embeds what is new, builds an index and
serves it **only if its HNSW recall against exact search reaches `retrieval.min_recall`**; otherwise the old index stays
and this run says why.

- **When**: every night at 02:00 UTC, or by hand after a new manual was published.
- **Again**: the same corpus under the same settings gives the same addresses; nothing is embedded twice.
- **Then**: updates the asset `rerankops://index`.
"""

from __future__ import annotations

from airflow.sdk import dag, task
from dag_defaults import DEFAULTS, GPU, INDEX, refuse_unknown

PARAMS: dict[str, object] = {}


@dag(schedule="0 2 * * *", doc_md=__doc__, params=PARAMS, tags=["rerankops", "retrieval"], **DEFAULTS)
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

    @task(**GPU)
    def embed_corpus(passages: str) -> str:
        from rerankops.pipeline import corpus

        return corpus.embed_corpus(passages)

    @task
    def build_index(passages: str, vectors: str) -> str:
        from rerankops.pipeline import corpus

        return corpus.build_index(passages, vectors)

    @task(outlets=[INDEX])
    def serve_index(index: str, gold: str, *, outlet_events=None) -> dict:
        from rerankops.pipeline import corpus

        checked = corpus.serve_index(index)
        outlet_events[INDEX].extra = {"index": index, "gold": gold, **checked}
        return checked

    passages = load_corpus()
    serve_index(build_index(passages, embed_corpus(passages)), load_gold())


refresh_corpus_index()
