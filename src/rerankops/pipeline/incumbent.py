"""Ranking candidates with any ranker of the workspace, and the incumbent: the registry's champion or, before there is
one, retrieval's own order."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import polars as pl
import pyarrow as pa

from rerankops.pipeline.context import Context, log
from rerankops.pipeline.index import refuse_other_encoder
from rerankops.pipeline.own_signals import own_pool
from rerankops.records import Passage
from rerankops.workspace import Address

if TYPE_CHECKING:
    from rerankops.promotion.registry import Registry, Version
    from rerankops.retrieval.encoder import EncodedTexts, Encoder
    from rerankops.scoring.cross_encoder import CrossEncoderScorer
    from rerankops.scoring.once import Scorer
    from rerankops.scoring.ranker import Ranker


_DATABASES = {"sqlite", "postgresql", "mysql", "mssql"}


@dataclass(frozen=True)
class Source:
    """What signals are made from. index: where the candidates were retrieved. vectors: folder of at least the
    candidates' passages (EncodedTexts, passage_ids.json). queries: of query_ids, in their order. shares_encoder:
    whether that is the encoder that retrieval used, so that a query is encoded once for both."""

    index: Address
    vectors: Address
    encoder: Encoder
    query_ids: tuple[str, ...]
    queries: EncodedTexts
    shares_encoder: bool = True


@dataclass(frozen=True)
class Pool:
    """Candidates of some queries with everything a ranker needs to order them.

    candidates: records.Candidate. signals: records.Signal without cross-encoder logits. texts: query_id to text.
    passages: passage_id to what a model reads (title and text). source: of the signals, for these queries and others.
    """

    candidates: pa.Table
    signals: pa.Table
    texts: Mapping[str, str]
    passages: Mapping[str, str]
    source: Source


@dataclass(frozen=True)
class Ranking:
    """rows: scoring.ranker.RANKED. pairs_scored: by the cross-encoder."""

    rows: pa.Table
    pairs_scored: int


@dataclass(frozen=True)
class Incumbent:
    """rows: query_id, passage_id, rank, score (records.RankedCandidate). version: the champion's in the registry; None
    when there is no champion and the order is that of retrieval."""

    rows: pa.Table
    version: int | None


def registry(context: Context) -> Registry:
    """The MLflow registry that the settings name; without a tracking URI, SQLite beside the workspace.

    A tracking server says itself where artefacts go. With a database alone MLflow would put them into `mlruns` of
    whatever folder it runs in, which for a task of Airflow is anybody's guess: they go beside the workspace.
    """
    from rerankops.promotion.registry import Registry

    settings = context.settings.registry
    folder = context.local("mlflow")
    uri = settings.tracking_uri
    if uri is None:
        folder.mkdir(parents=True, exist_ok=True)
        uri = f"sqlite:///{folder / 'mlflow.db'}"
    is_database = urlsplit(uri).scheme.partition("+")[0] in _DATABASES
    return Registry(
        tracking_uri=uri,
        model_name=settings.model_name,
        experiment=settings.experiment,
        lock_path=folder / "registry.lock",
        artifact_root=folder / "artifacts" if is_database else None,
        request_timeout=settings.request_timeout,
        transfer_timeout=settings.transfer_timeout,
        retries=settings.retries,
    )


def champion(context: Context) -> Version | None:
    """The version that serves now. Answered without loading MLflow when its local store was never made."""
    if context.settings.registry.tracking_uri is None and not (context.local("mlflow") / "mlflow.db").exists():
        return None
    return registry(context).champion()


def pool(context: Context, index: Address, candidates: pa.Table, texts: Mapping[str, str], *, encoder: Encoder) -> Pool:
    """Cheap signals of candidates that were retrieved from `index`, from the vectors that it was built on.

    Raises InputError when encoder, of the settings, is not the one that those were made with.
    """
    from rerankops.retrieval.encoder import EncodedTexts, joined
    from rerankops.scoring.signals import signals

    corpus, vectors = context.workspace.manifest(index).inputs
    refuse_other_encoder(context, index)
    query_ids = list(texts)
    encoded = encoder.encode_queries([texts[query_id] for query_id in query_ids])
    with context.workspace.local_folder(vectors) as folder:
        table = signals(
            candidates,
            query_ids=query_ids,
            queries=encoded,
            passage_ids=json.loads((folder / "passage_ids.json").read_text()),
            passages=EncodedTexts.load(folder),
        )
    read = pl.DataFrame(pl.from_arrow(context.workspace.read(corpus, Passage)))
    wanted = read.filter(pl.col("passage_id").is_in(candidates["passage_id"].to_pylist()))
    passages = {
        key: joined(title, text) for key, title, text in wanted.select("passage_id", "title", "text").iter_rows()
    }
    return Pool(candidates, table, texts, passages, Source(index, vectors, encoder, tuple(query_ids), encoded))


def rank_with(context: Context, ranker: Address, pool: Pool, *, who: str) -> Ranking:
    """The pool in the order of a stored ranker, on its own signals (see pipeline.own_signals). who: the ranker, for
    messages."""
    from rerankops.scoring import finite

    with finite.of(who), opened(context, ranker) as (loaded, model):
        return order(loaded, model, own_pool(context, loaded, pool, who=who))


@contextmanager
def opened(context: Context, ranker: Address) -> Iterator[tuple[Ranker, CrossEncoderScorer | None]]:
    """A ranker of the workspace with its cross-encoder in memory, None when it has none."""
    from rerankops.scoring.ranker import Ranker

    with context.workspace.local_folder(ranker) as folder:
        loaded = Ranker.load(folder)
        yield loaded, cross_encoder_of(context, loaded)


def cross_encoder_of(context: Context, ranker: Ranker) -> CrossEncoderScorer | None:
    """The ranker's cross-encoder, loaded; None when it has none."""
    if ranker.cross_encoder is None:
        return None
    return scorer(context, str(ranker.cross_encoder), max_length=ranker.max_length or 0)


def order(ranker: Ranker | None, model: Scorer | None, pool: Pool) -> Ranking:
    """The pool in the order of a loaded ranker; None is retrieval's own order."""
    from rerankops.scoring.ranker import rank_by

    if ranker is None:
        return Ranking(rank_by(pool.candidates), 0)
    if model is None:
        return Ranking(ranker.rank(pool.signals), 0)
    shortlist = ranker.shortlist(pool.signals)
    return Ranking(ranker.rank(with_logits(model, pool, shortlist)), int(shortlist.sum()))


def scorer(context: Context, model: str, *, max_length: int) -> CrossEncoderScorer:
    """A cross-encoder ready to score."""
    from rerankops.scoring.cross_encoder import CrossEncoderScorer

    return CrossEncoderScorer(
        model,
        max_length=max_length,
        batch_size=context.settings.scoring.batch_size,
        device=context.settings.training.device,
    )


def with_logits(model: Scorer, pool: Pool, rows: np.ndarray[Any, np.dtype[np.bool_]]) -> pa.Table:
    """The pool's signals with the cross-encoder's logit in the chosen rows, null elsewhere."""
    chosen = pool.signals.filter(pa.array(rows))
    pairs = [
        (pool.texts[query_id], pool.passages[passage_id])
        for query_id, passage_id in zip(chosen["query_id"].to_pylist(), chosen["passage_id"].to_pylist(), strict=True)
    ]
    logits = np.full(len(rows), np.nan)
    logits[rows] = model.logits(pairs)
    column = pa.array(logits, mask=~rows)
    return pool.signals.set_column(
        pool.signals.schema.get_field_index("cross_encoder"), pool.signals.schema.field("cross_encoder"), column
    )


def incumbent_ranking(context: Context, index: Address, candidates: pa.Table, texts: Mapping[str, str]) -> Incumbent:
    """Candidates as the incumbent orders them. texts: query_id to text, of every query that has candidates."""
    from rerankops.retrieval.encoder import Encoder
    from rerankops.scoring.ranker import rank_by

    current = champion(context)
    if current is None:
        return Incumbent(rank_by(candidates), None)
    log.info("ordered by the champion, version %s", current.version)
    found = pool(context, index, candidates, texts, encoder=Encoder(context.settings.encoder))
    ranking = rank_with(context, current.ranker_address, found, who=f"champion, version {current.version}")
    return Incumbent(ranking.rows, int(current.version))
