"""A ranker on its own signals: the same candidates, seen by the encoder and the BM25 that it was fitted with.

The candidates of a comparison are frozen and the same for all rankers; their signals are not. Weights fitted on one
encoder's cosines mean nothing on another's. So where the record in a ranker's folder differs from the settings, its
signals are made anew:

| signal            | made with                                                                                  |
|-------------------|--------------------------------------------------------------------------------------------|
| `cosine`, `maxsim` | its encoder; vectors that the workspace has of it are used, the rest are made and kept      |
| `bm25`            | its BM25: on the same index where only the query differs, else on an index built for it     |
| `reciprocal_rank` | alone in a blend it is the order of the candidates, the same for all; blended with others   |
|                   | it cannot be made on the candidates of another retrieval                                   |

When a signal cannot be made, the comparison is refused and the error says why.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from rerankops.config import EncoderSettings, RetrievalSettings
from rerankops.errors import InputError, ModelUnavailable, SettingsError
from rerankops.pipeline.context import Context, log
from rerankops.pipeline.corpus import newest_vectors
from rerankops.pipeline.index import build_index, open_index
from rerankops.records import Candidate, Passage
from rerankops.workspace import digest

if TYPE_CHECKING:
    from rerankops.pipeline.incumbent import Pool
    from rerankops.retrieval.encoder import EncodedTexts
    from rerankops.scoring.ranker import Ranker

_INDEXED = {"embedded": ("bm25_k1", "bm25_b", "title_weight"), "elasticsearch": ("bm25_k1", "bm25_b", "analyzer")}
"""What of BM25 an index is built with, on each backend."""
_ASKED = {"embedded": ("bm25_k",), "elasticsearch": ("bm25_k", "title_weight")}
"""What of BM25 is settled as a query is asked."""
_FUSED = ("fusion", "rrf_k", "bm25_weight", "dense_k")
_QUERIES, _QUERY_IDS = "queries", "query_ids.json"
_OTHERWISE = (
    "roll back to a version that can be had (rerankops models list shows them), or begin a new line under another "
    "registry.model_name; then retrain with a new text for `again`, since this retraining's plan names the version"
)


def own_pool(context: Context, ranker: Ranker, pool: Pool, *, who: str) -> Pool:
    """The pool with the ranker's own signals; itself when they are what the ranker was fitted with.

    who: the ranker, for messages. Raises ModelUnavailable when its encoder cannot be had, InputError when its retrieval
    cannot be made again, or it does not say what it was fitted with.
    """
    from rerankops.scoring.signals import signals

    blends = [blend.names for blend in (ranker.blend, ranker.fusion) if blend is not None]
    used = {name for names in blends for name in names}
    fused = any("reciprocal_rank" in names and len(names) > 1 for names in blends)
    encoder = _own_encoder(context, ranker, who) if used & {"cosine", "maxsim"} or fused else None
    retrieval = _own_retrieval(context, ranker, who, fused=fused) if "bm25" in used or fused else None
    if fused and (encoder or retrieval):
        raise InputError(
            f"{who}: its signal reciprocal_rank is the order of the retrieval that it was fitted with, which is not "
            f"that of the settings, and cannot be made on candidates of another; set encoder and retrieval back to "
            f"what rerankops models show says and refresh the index, or {_OTHERWISE}"
        )
    if encoder is None and retrieval is None:
        return pool
    candidates = pool.candidates if retrieval is None else _own_words(context, pool, retrieval, who)
    source = pool.source if encoder is None else _own_vectors(context, ranker, pool, encoder, who)
    with context.workspace.local_folder(source.vectors) as folder:
        from rerankops.retrieval.encoder import EncodedTexts

        table = signals(
            candidates,
            query_ids=source.query_ids,
            queries=source.queries,
            passage_ids=json.loads((folder / "passage_ids.json").read_text()),
            passages=EncodedTexts.load(folder),
        )
    return replace(pool, candidates=candidates, signals=table, source=source)


def _own_encoder(context: Context, ranker: Ranker, who: str) -> EncoderSettings | None:
    """The encoder that the ranker was fitted with; None when it is that of the settings."""
    from rerankops.retrieval import identity

    now, said = context.settings.encoder, dict(ranker.encoder)
    if not said.get("model"):
        raise InputError(f"{who} does not say which encoder its signals were made with; retrain it, or {_OTHERWISE}")
    if identity.WEIGHTS not in said:
        log.warning(
            "%s has no digest of its encoder's files, because an earlier version of rerankops made it; the encoder is "
            "taken to be what %s names now",
            who,
            said["model"],
        )
    if identity.same(said, now):
        return None
    return now.model_copy(update={name: said[name] for name in now.identity() if name in said})


def _own_retrieval(context: Context, ranker: Ranker, who: str, *, fused: bool) -> RetrievalSettings | None:
    """The retrieval that the ranker was fitted with; None when it scores words as that of the settings does."""
    now = context.settings.retrieval
    said = {name: value for name, value in ranker.retrieval.items() if name in type(now).model_fields}
    if not said:
        raise InputError(f"{who} does not say how its BM25 scores were made; retrain it, or {_OTHERWISE}")
    own = type(now).model_validate(now.model_dump() | said)
    matter = ("backend", *_INDEXED[own.backend], *_ASKED[own.backend], *(_FUSED if fused else ()))
    return own if any(getattr(own, name) != getattr(now, name) for name in matter) else None


def _own_words(context: Context, pool: Pool, own: RetrievalSettings, who: str) -> pa.Table:
    """The candidates with the BM25 scores of the ranker's own retrieval (records.Candidate), null where its leg does
    not return one."""
    now, indexed = context.settings.retrieval, _INDEXED[own.backend]
    tree = context.settings.model_dump(mode="json")
    tree["retrieval"] |= {name: getattr(own, name) for name in ("backend", *indexed, *_ASKED[own.backend])}
    here, index = context.with_settings(tree), pool.source.index
    if own.backend != now.backend or any(getattr(own, name) != getattr(now, name) for name in indexed):
        if own.backend != "embedded":
            differing = ", ".join(f"retrieval.{name}: {getattr(own, name)}" for name in ("backend", *indexed))
            raise InputError(
                f"{who}: its BM25 scores were made on an Elasticsearch index of other settings; set them back to "
                f"{differing} and refresh the index, or {_OTHERWISE}"
            )
        index = build_index(*context.workspace.manifest(index).inputs, context=here)
    with open_index(here, index) as retriever:
        leg = retriever.bm25(list(pool.texts), list(pool.texts.values()), k=own.bm25_k)
    scored = leg.select("query_id", "passage_id", bm25_rank="rank", bm25_score="score")
    frame = pl.DataFrame(pl.from_arrow(pool.candidates)).drop("bm25_rank", "bm25_score")
    joined = frame.join(scored, on=["query_id", "passage_id"], how="left", maintain_order="left")
    log.info("%s: scored on its own BM25", who)
    return Candidate.conform(joined.select(Candidate.columns).to_arrow())


def _own_vectors(context: Context, ranker: Ranker, pool: Pool, own: EncoderSettings, who: str) -> Any:
    """The pool's passages and queries as the ranker's own encoder sees them, kept as an artefact."""
    from rerankops.retrieval.encoder import EncodedTexts, Encoder

    workspace, encoder = context.workspace, Encoder(own)
    corpus = workspace.manifest(pool.source.index).inputs[0]
    wanted = sorted(set(pool.candidates["passage_id"].to_pylist()))
    weights = _refuse_other_files(own, ranker.encoder, who)

    def build(folder: Path) -> Mapping[str, float]:
        table = workspace.read(corpus, Passage)
        passages = table.filter(pc.is_in(table["passage_id"], pa.array(wanted, pa.string())))
        made = _passages(context, folder, passages, encoder)
        (folder / "passage_ids.json").write_text(json.dumps(passages["passage_id"].to_pylist(), ensure_ascii=False))
        (folder / _QUERIES).mkdir()
        encoder.encode_queries(list(pool.texts.values())).save(folder / _QUERIES)
        (folder / _QUERY_IDS).write_text(json.dumps(list(pool.texts), ensure_ascii=False))
        _refuse_other_files(own, ranker.encoder, who)  # those of a hub are known only now
        return {"passages": passages.num_rows, "embedded": made, "queries": len(pool.texts)}

    try:
        address = workspace.publish_folder(
            "pool_vectors",
            build,
            step="embed_pool",
            inputs=[corpus],
            settings={
                "encoder": {**own.identity(), "weights": weights},
                "passages": digest(wanted),
                "queries": digest(dict(pool.texts)),
            },
        )
    except (ModelUnavailable, SettingsError) as error:
        raise _refused(who, own, str(error)) from error
    log.info("%s: scored on the signals of its own encoder, %s", who, own.model)
    with workspace.local_folder(address) as folder:
        stored: EncodedTexts = EncodedTexts.load(folder / _QUERIES)
        queries = EncodedTexts(np.array(stored.vectors), np.array(stored.tokens), np.array(stored.offsets))
        query_ids = tuple(json.loads((folder / _QUERY_IDS).read_text(encoding="utf-8")))
    return replace(
        pool.source, vectors=address, encoder=encoder, query_ids=query_ids, queries=queries, shares_encoder=False
    )


def _passages(context: Context, folder: Path, passages: pa.Table, encoder: Any) -> int:
    """Writes the vectors of passages (EncodedTexts) and returns how many had to be made: those of the newest vectors
    of this encoder are copied."""
    from rerankops.retrieval import vectors

    contents = vectors.contents(passages)
    with newest_vectors(context, encoder.settings) as known:
        missing = vectors.missing(contents, known)
        rest = passages.take(missing)
        made = encoder.encode_passages(rest["title"].to_pylist(), rest["text"].to_pylist())
        vectors.join(folder, contents, missing, [made], known)
    return len(missing)


def _refuse_other_files(own: EncoderSettings, said: Mapping[str, Any], who: str) -> Any:
    """The digest of the encoder's files. Raises ModelUnavailable when the ranker was fitted with others."""
    from rerankops.retrieval import identity

    try:
        now = identity.record(own)[identity.WEIGHTS]
    except (ModelUnavailable, SettingsError) as error:
        raise _refused(who, own, str(error)) from error
    if now and said.get(identity.WEIGHTS) and now != said[identity.WEIGHTS]:
        raise _refused(who, own, "its files are not those that the ranker was fitted with any more")
    return now or said.get(identity.WEIGHTS)


def _refused(who: str, own: EncoderSettings, reason: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"{who}: its signals were fitted with the encoder {own.model}, which cannot be had ({reason}). On another "
        f"encoder's signals it would be measured wrongly, so nothing is compared: bring the encoder back, {_OTHERWISE}"
    )
