"""Hybrid search over any backend: both legs for many queries, fused into candidates; and how good an index is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from rerankops.config import RetrievalSettings
from rerankops.retrieval.fusion import reciprocal_rank_fusion

_SAME_NEARNESS = 1e-6
"""Cosines that differ by less are equal up to the rounding of float32."""


class Retriever(Protocol):
    """What a backend offers: two legs, each a frame of fusion.LEG."""

    def bm25(self, query_ids: Sequence[str], texts: Sequence[str], *, k: int) -> pl.DataFrame: ...

    def dense(self, query_ids: Sequence[str], vectors: NDArray[np.float32], *, k: int) -> pl.DataFrame: ...


def candidates(
    retriever: Retriever,
    query_ids: Sequence[str],
    texts: Sequence[str],
    vectors: NDArray[np.float32],
    settings: RetrievalSettings,
) -> pa.Table:
    """records.Candidate: at most bm25_k + dense_k a query, those that both legs found counted once.

    vectors: (queries, d) float32, each of length 1, in the order of query_ids.
    """
    return reciprocal_rank_fusion(
        retriever.bm25(query_ids, texts, k=settings.bm25_k),
        retriever.dense(query_ids, vectors, k=settings.dense_k),
        k=settings.rrf_k,
        limit=settings.bm25_k + settings.dense_k,
    )


def recall_against_exact(
    retriever: Retriever, corpus: NDArray[np.float32], passage_ids: Sequence[str], *, sample: int, k: int, seed: int
) -> float:
    """Share of the k exact nearest neighbours that the dense leg returns, over sampled passages as queries.

    A returned passage counts when it is as near as the k-th exact neighbour: among equally near passages (repeated
    boilerplate) any choice is right.

    corpus: (n, d) float32, each of length 1. Exact search is a blocked matrix product and needs no server.
    """
    rows = np.sort(np.random.default_rng(seed).choice(len(corpus), size=min(sample, len(corpus)), replace=False))
    k = min(k, len(corpus))
    position = {name: row for row, name in enumerate(passage_ids)}
    found = retriever.dense([str(row) for row in rows], corpus[rows], k=k)
    returned = {name: set(ids) for name, ids in found.group_by("query_id").agg("passage_id").iter_rows()}
    hits = 0
    for start in range(0, len(rows), 256):
        block = rows[start : start + 256]
        nearness = corpus[block] @ corpus.T
        farthest = np.partition(nearness, -k, axis=1)[:, -k]
        for row, near, limit in zip(block, nearness, farthest, strict=True):
            ids = [position[name] for name in returned.get(str(row), ())]
            hits += min(k, int((near[ids] >= limit - _SAME_NEARNESS).sum()))
    return hits / (len(rows) * k)
