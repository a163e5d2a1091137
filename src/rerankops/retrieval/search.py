"""Hybrid search over any backend: both legs for many queries, fused into candidates; and how good an index is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from rerankops.config import RetrievalSettings
from rerankops.errors import InputError, ServerUnavailable
from rerankops.retrieval.fusion import reciprocal_rank_fusion, weighted_fusion

Where = Mapping[str, str | Sequence[str]]
"""A filter by metadata: key to the value, or to the values any of which a passage must have. Keys are and-ed."""
_SAME_NEARNESS = 1e-6
"""Cosines that differ by less are equal up to the rounding of float32."""


@dataclass(frozen=True)
class Legs:
    """What the two retrieval methods returned, each a frame of fusion.LEG; empty for a leg that was not asked.

    A BM25 score is above 0, a dense score is a cosine. failures: queries that were not answered, with the reason; they
    are in neither frame.
    """

    bm25: pl.DataFrame
    dense: pl.DataFrame
    failures: Mapping[str, str] = field(default_factory=dict)

    def whole(self) -> Legs:
        """Itself when every query was answered; raises ServerUnavailable otherwise."""
        if self.failures:
            query, reason = next(iter(self.failures.items()))
            raise ServerUnavailable(f"{len(self.failures)} queries were not answered, {query!r} among them: {reason}")
        return self


class Retriever(ABC):
    """A backend: an index opened for searching."""

    @abstractmethod
    def legs(
        self,
        query_ids: Sequence[str],
        texts: Sequence[str] | None,
        vectors: NDArray[np.float32] | None,
        *,
        bm25_k: int,
        dense_k: int,
        where: Where | None = None,
    ) -> Legs:
        """The best bm25_k passages by words and the dense_k nearest by approximate cosine, of each query.

        texts, vectors: in the order of query_ids; vectors (queries, d) float32, each of length 1. None leaves a leg
        out.
        where: only passages with this metadata are looked for.
        """

    def bm25(
        self, query_ids: Sequence[str], texts: Sequence[str], *, k: int, where: Where | None = None
    ) -> pl.DataFrame:
        """The first leg alone. Raises ServerUnavailable when a query was not answered."""
        return self.legs(query_ids, texts, None, bm25_k=k, dense_k=0, where=where).whole().bm25

    def dense(
        self, query_ids: Sequence[str], vectors: NDArray[np.float32], *, k: int, where: Where | None = None
    ) -> pl.DataFrame:
        """The second leg alone. Raises ServerUnavailable when a query was not answered."""
        return self.legs(query_ids, None, vectors, bm25_k=0, dense_k=k, where=where).whole().dense


def candidates(
    retriever: Retriever,
    query_ids: Sequence[str],
    texts: Sequence[str],
    vectors: NDArray[np.float32],
    settings: RetrievalSettings,
    where: Where | None = None,
) -> pa.Table:
    """records.Candidate: at most bm25_k + dense_k a query, those that both legs found counted once.

    vectors: (queries, d) float32, each of length 1, in the order of query_ids.
    Raises ServerUnavailable when a query was not answered: one without candidates is one that nothing matches.
    """
    legs = retriever.legs(
        query_ids, texts, vectors, bm25_k=settings.bm25_k, dense_k=settings.dense_k, where=where
    ).whole()
    return fused(legs.bm25, legs.dense, settings)


def fused(bm25: pl.DataFrame, dense: pl.DataFrame, settings: RetrievalSettings) -> pa.Table:
    """records.Candidate of both legs, each a frame of fusion.LEG."""
    limit = settings.bm25_k + settings.dense_k
    if settings.fusion == "weighted":
        return weighted_fusion(bm25, dense, bm25_weight=settings.bm25_weight, limit=limit)
    return reciprocal_rank_fusion(bm25, dense, k=settings.rrf_k, limit=limit)


def recall_against_exact(
    retriever: Retriever,
    queries: NDArray[np.float32],
    corpus: NDArray[np.float32],
    passage_ids: Sequence[str],
    *,
    k: int,
) -> float:
    """Share of the k exact nearest neighbours that the dense leg returns, over all queries.

    A returned passage counts when it is as near as the k-th exact neighbour: among equally near passages (repeated
    boilerplate) any choice is right.

    queries: (m, d), corpus: (n, d), both float32 with rows of length 1. Exact search is a blocked matrix product and
    needs no server. Raises InputError when there is nothing to measure on.
    """
    k = min(k, len(corpus))
    if not len(queries) or not k:
        raise InputError("HNSW recall cannot be measured without queries and passages")
    position = {name: row for row, name in enumerate(passage_ids)}
    found = retriever.dense([str(row) for row in range(len(queries))], queries, k=k)
    returned = {name: set(ids) for name, ids in found.group_by("query_id").agg("passage_id").iter_rows()}
    hits = 0
    for start in range(0, len(queries), 256):
        nearness = queries[start : start + 256] @ corpus.T
        farthest = np.partition(nearness, -k, axis=1)[:, -k]
        for row, (near, limit) in enumerate(zip(nearness, farthest, strict=True), start=start):
            ids = [position[name] for name in returned.get(str(row), ())]
            hits += min(k, int((near[ids] >= limit - _SAME_NEARNESS).sum()))
    return hits / (len(queries) * k)
