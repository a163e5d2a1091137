"""Steps of refresh_corpus_index, second half: an index, on either backend, served only when its recall is good."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rerankops.errors import InputError, RerankopsError
from rerankops.pipeline.context import Context, log, step
from rerankops.pipeline.corpus import GOLD, INDEX, encoder_of
from rerankops.records import GoldQuestion, Passage
from rerankops.workspace import Address

if TYPE_CHECKING:
    from rerankops.retrieval.search import Retriever, Where

_ON_CLUSTER = "elasticsearch.json"
"""In an index's folder when the index itself is on a cluster."""
_VERSION = 16
"""Characters of an index's address that name it on a cluster."""
_MOST_CANDIDATES = 10_000


class IndexRefused(RerankopsError):
    """A new index does not reach the recall asked; the old one stays."""


@step
def build_index(context: Context, corpus: Address, vectors: Address) -> Address:
    """An index of the corpus on the configured backend, complete but not yet served.

    On Elasticsearch the load goes on where an earlier one broke off, and is made again when the server lost the index.
    """
    workspace, retrieval = context.workspace, context.settings.retrieval
    inputs, settings = [corpus, vectors], _index_identity(context)

    def build(folder: Path) -> Mapping[str, float]:
        from rerankops.retrieval import embedded
        from rerankops.retrieval.encoder import EncodedTexts

        passages = workspace.read(corpus, Passage)
        with workspace.local_folder(vectors) as stored:
            embedded.build(folder, passages, EncodedTexts.load(stored).vectors, retrieval)
        return {"passages": passages.num_rows}

    def load(folder: Path) -> Mapping[str, float]:
        (folder / _ON_CLUSTER).write_text(json.dumps({"version": version}))
        return {"passages": workspace.manifest(corpus).rows or 0}

    if retrieval.backend == "embedded":
        return workspace.publish_folder("indexes", build, step="build_index", inputs=inputs, settings=settings)
    version = workspace.address("indexes", step="build_index", inputs=inputs, settings=settings).split("/")[1][
        :_VERSION
    ]
    _load(context, corpus, vectors, version)
    return workspace.publish_folder("indexes", load, step="build_index", inputs=inputs, settings=settings)


def _load(context: Context, corpus: Address, vectors: Address, version: str) -> None:
    """Brings a version onto the cluster, whole."""
    from rerankops.retrieval.elasticsearch import VersionedIndex
    from rerankops.retrieval.encoder import EncodedTexts

    passages, started = context.workspace.read(corpus, Passage), time.monotonic()
    with context.elasticsearch() as cluster, context.workspace.local_folder(vectors) as stored:
        index = VersionedIndex(cluster, context.settings.elasticsearch, context.settings.retrieval, version)
        prepared = index.prepare(passages, EncodedTexts.load(stored).vectors)
    seconds = time.monotonic() - started
    log.info("index %s: %d passages sent, %d were there, %.1f s", index.name, prepared.sent, prepared.found, seconds)


@step
def serve_index(context: Context, index: Address) -> dict[str, float]:
    """Points `index` (and Elasticsearch's alias) at an index whose HNSW recall against exact search is at least
    retrieval.min_recall; index versions that are no longer kept are deleted.

    Raises IndexRefused below that; the index served before stays.
    """
    retrieval = context.settings.retrieval
    recall = measure_recall(context, index)
    if recall < retrieval.min_recall:
        raise IndexRefused(
            f"HNSW recall@{retrieval.dense_k} of {index} is {recall:.3f}, below retrieval.min_recall "
            f"{retrieval.min_recall}; raise retrieval.hnsw_ef_search (`rerankops index tune` finds the smallest that "
            "is enough) or hnsw_ef_construction. The old index stays."
        )
    version = _on_cluster(context, index)
    if version is not None:
        from rerankops.retrieval.elasticsearch import VersionedIndex

        with context.elasticsearch() as cluster:
            gone = VersionedIndex(cluster, context.settings.elasticsearch, retrieval, version).serve()
        for name in gone:
            log.info("index %s is no longer kept and was deleted", name)
    context.workspace.point(INDEX, index)
    return {"hnsw_recall": round(recall, 4)}


def measure_recall(context: Context, index: Address) -> float:
    """HNSW recall at dense_k against exact search, on at most recall_sample gold questions as queries (passages where
    there are none): people's questions lie elsewhere in the vector space than passages, and are harder."""
    from rerankops.retrieval.encoder import EncodedTexts
    from rerankops.retrieval.search import recall_against_exact

    retrieval = context.settings.retrieval
    _, vectors = context.workspace.manifest(index).inputs
    with open_index(context, index) as retriever, context.workspace.local_folder(vectors) as stored:
        corpus = EncodedTexts.load(stored).vectors
        ids = json.loads((stored / "passage_ids.json").read_text())
        return recall_against_exact(retriever, _probes(context, corpus), corpus, ids, k=retrieval.dense_k)


def _probes(context: Context, corpus: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors to measure recall with, the same every time."""
    from rerankops.retrieval.encoder import Encoder

    gold, draw = context.workspace.ref(GOLD), np.random.default_rng(0)
    texts = context.workspace.read(gold, GoldQuestion)["text"].to_pylist() if gold else []
    among = len(texts) or len(corpus)
    rows = np.sort(draw.choice(among, size=min(context.settings.retrieval.recall_sample, among), replace=False))
    if texts:
        return Encoder(context.settings.encoder).encode_queries([texts[row] for row in rows]).vectors
    return np.asarray(corpus[rows], dtype=np.float32)


def served_index(context: Context) -> Address:
    """The address of the index that is served. Raises ArtefactMissing when there is none."""
    return context.workspace.require(INDEX, "run refresh_corpus_index first; there is no index to search")


def look_up(context: Context, text: str, where: Where) -> list[dict[str, Any]]:
    """Candidates of one text on the served index, best first: records.Candidate with title and text."""
    from rerankops.retrieval.encoder import Encoder
    from rerankops.retrieval.search import candidates

    address = served_index(context)
    refuse_other_encoder(context, address)
    passages = pl.DataFrame(
        pl.from_arrow(context.workspace.read(context.workspace.manifest(address).inputs[0], Passage))
    )
    vectors = Encoder(context.settings.encoder).encode_queries([text]).vectors
    with open_index(context, address) as retriever:
        found = pl.DataFrame(
            pl.from_arrow(candidates(retriever, ["query"], [text], vectors, context.settings.retrieval, where))
        )
    return found.join(passages.drop("metadata"), on="passage_id", how="left").sort("rank").to_dicts()


def tune_index(context: Context, index: Address, target: float, tell: Callable[[int, float], None]) -> int | None:
    """The smallest retrieval.hnsw_ef_search (num_candidates) whose recall reaches `target`; None when none does.

    tell: told each value that was tried and its recall. Recall grows with the value, so doubling and then halving the
    interval finds it.
    """

    def reached(value: int) -> bool:
        tree = context.settings.model_dump(mode="json")
        tree["retrieval"]["hnsw_ef_search"] = value
        recall = measure_recall(context.with_settings(tree), index)
        tell(value, recall)
        return recall >= target

    low, high = context.settings.retrieval.dense_k - 1, context.settings.retrieval.dense_k
    while not reached(high):
        if high >= _MOST_CANDIDATES:
            return None
        low, high = high, min(_MOST_CANDIDATES, high * 2)
    while high - low > max(1, low // 20):  # to within 5 %
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


@contextmanager
def open_index(context: Context, index: Address) -> Iterator[Retriever]:
    """An index of the workspace, on whichever backend it was built, ready to search. Who searches with the encoder's
    vectors calls refuse_other_encoder first."""
    settings, version = context.settings, _on_cluster(context, index)
    if version is None:
        from rerankops.retrieval.embedded import EmbeddedRetriever

        with context.workspace.local_folder(index) as folder:
            yield EmbeddedRetriever(folder, settings.retrieval)
    else:
        from rerankops.retrieval.elasticsearch import ElasticsearchRetriever

        with context.elasticsearch() as cluster:
            name = f"{settings.elasticsearch.alias}-{version}"
            yield ElasticsearchRetriever(cluster, name, settings.elasticsearch, settings.retrieval)


def refuse_other_encoder(context: Context, index: Address) -> None:
    """Raises InputError when the encoder of the settings is not the one that made the vectors of an index: of the same
    width, they would be compared without an error and mean nothing."""
    from rerankops.retrieval import identity

    said, now = encoder_of(context.workspace, context.workspace.manifest(index).inputs[1]), context.settings.encoder
    if not identity.same(said, now):
        changed = "its files changed since" if said.get("model") == now.model else f"the settings say {now.model}"
        raise InputError(
            f"the vectors of the index were made with the encoder {said.get('model')} and {changed}, or its prompts or "
            "max_length did; run refresh_corpus_index, after giving other files a name of their own, or set encoder "
            "back to what it was"
        )


def _on_cluster(context: Context, index: Address) -> str | None:
    """The version of an index that lives on Elasticsearch; None for one that lives in the workspace."""
    with context.workspace.local_folder(index) as folder:
        about = folder / _ON_CLUSTER
        return str(json.loads(about.read_text())["version"]) if about.is_file() else None


def _index_identity(context: Context) -> dict[str, object]:
    """The settings that change an index."""
    retrieval = context.settings.retrieval
    shared = {"backend", "bm25_k1", "bm25_b", "title_weight", "hnsw_m", "hnsw_ef_construction"}
    if retrieval.backend == "embedded":
        return retrieval.model_dump(include=shared)
    own = {"shards": context.settings.elasticsearch.shards}
    return own | retrieval.model_dump(include=(shared - {"title_weight"}) | {"analyzer", "vector_index"})
