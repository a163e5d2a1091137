"""Steps of refresh_corpus_index: passages to vectors to an index that is served only when its recall is good."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from rerankops.errors import RerankopsError
from rerankops.pipeline.context import Context, step
from rerankops.queries.sources import read_corpus, read_gold
from rerankops.records import GoldQuestion, Passage
from rerankops.workspace import Address

CORPUS, INDEX, GOLD = "corpus", "index", "gold"
"""References: the passages, the index that is served, the frozen gold questions."""


class IndexRefused(RerankopsError):
    """A new index does not reach the recall asked; the old one stays."""


@step
def load_corpus(context: Context) -> Address:
    """Reads sources.corpus into the workspace and points `corpus` at it. The same passages give the same address."""
    passages = read_corpus(context.settings.sources.corpus or "")
    address = context.workspace.publish(Passage, passages, step="load_corpus", counts={"passages": passages.num_rows})
    context.workspace.point(CORPUS, address)
    return address


@step
def load_gold(context: Context) -> Address:
    """Freezes sources.gold and points `gold` at it. The same questions give the same address."""
    questions = read_gold(context.settings.sources.gold or "")
    address = context.workspace.publish(
        GoldQuestion, questions, step="load_gold", counts={"gold_questions": questions.num_rows}
    )
    context.workspace.point(GOLD, address)
    return address


@step
def embed_corpus(context: Context, corpus: Address) -> Address:
    """Vectors of every passage, pooled and token by token (a folder: EncodedTexts and passage_ids.json)."""

    def build(folder: Path) -> Mapping[str, float]:
        from rerankops.retrieval.encoder import Encoder

        passages = context.workspace.read(corpus, Passage)
        encoder = Encoder(context.settings.encoder)
        encoded = encoder.encode_passages(passages["title"].to_pylist(), passages["text"].to_pylist())
        encoded.save(folder)
        (folder / "passage_ids.json").write_text(json.dumps(passages["passage_id"].to_pylist(), ensure_ascii=False))
        return {"passages": len(encoded), "tokens": int(encoded.offsets[-1])}

    return context.workspace.publish_folder(
        "vectors", build, step="embed_corpus", inputs=[corpus], settings=encoder_identity(context)
    )


@step
def build_index(context: Context, corpus: Address, vectors: Address) -> Address:
    """An index of the corpus on the configured backend, not yet served."""
    retrieval = context.settings.retrieval

    def build(folder: Path) -> Mapping[str, float]:
        from rerankops.retrieval import embedded
        from rerankops.retrieval.encoder import EncodedTexts

        passages = context.workspace.read(corpus, Passage)
        with context.workspace.local_folder(vectors) as stored:
            embedded.build(folder, passages, EncodedTexts.load(stored).vectors, retrieval)
        return {"passages": passages.num_rows}

    settings = retrieval.model_dump(
        include={"backend", "bm25_k1", "bm25_b", "title_weight", "hnsw_m", "hnsw_ef_construction"}
    )
    return context.workspace.publish_folder(
        "indexes", build, step="build_index", inputs=[corpus, vectors], settings=settings
    )


@step
def serve_index(context: Context, index: Address) -> dict[str, float]:
    """Points `index` at an index whose HNSW recall against exact search is at least retrieval.min_recall.

    Raises IndexRefused below that; the index served before stays.
    """
    from rerankops.retrieval.embedded import EmbeddedRetriever
    from rerankops.retrieval.encoder import EncodedTexts
    from rerankops.retrieval.search import recall_against_exact

    retrieval = context.settings.retrieval
    _, vectors = context.workspace.manifest(index).inputs
    with context.workspace.local_folder(index) as folder, context.workspace.local_folder(vectors) as stored:
        recall = recall_against_exact(
            EmbeddedRetriever(folder, retrieval),
            EncodedTexts.load(stored).vectors,
            json.loads((stored / "passage_ids.json").read_text()),
            sample=retrieval.recall_sample,
            k=retrieval.dense_k,
            seed=0,
        )
    if recall < retrieval.min_recall:
        raise IndexRefused(
            f"HNSW recall@{retrieval.dense_k} of {index} is {recall:.3f}, below retrieval.min_recall "
            f"{retrieval.min_recall}; raise retrieval.hnsw_ef_search or hnsw_ef_construction. The old index stays."
        )
    context.workspace.point(INDEX, index)
    return {"hnsw_recall": round(recall, 4)}


def encoder_identity(context: Context) -> dict[str, object]:
    """The encoder settings that change vectors; batch size and device do not."""
    return context.settings.encoder.model_dump(exclude={"batch_size", "device"})
