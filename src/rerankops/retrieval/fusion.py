"""Two ranked legs into one candidate list, on our side, because Elastic's own fusion needs a paid licence. Pure."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from rerankops.records import Candidate

LEG = {"query_id": pl.String, "passage_id": pl.String, "rank": pl.Int32, "score": pl.Float64}
"""Columns of a leg: what one retrieval method returned for each query, rank 1 best."""


def reciprocal_rank_fusion(bm25: pl.DataFrame, dense: pl.DataFrame, *, k: int, limit: int) -> pa.Table:
    """Candidates of each query, best first: score = sum over legs of 1 / (k + rank).
    (Cormack, Clarke and Büttcher, "Reciprocal rank fusion outperforms Condorcet", 2009).

    bm25, dense: frames of LEG. Ties go to the better single rank, then to the smaller passage id.
    """
    share = sum((1.0 / (k + pl.col(f"{leg}_rank"))).fill_null(0.0) for leg in ("bm25", "dense"))
    return _fused(bm25, dense, share, limit)


def weighted_fusion(bm25: pl.DataFrame, dense: pl.DataFrame, *, bm25_weight: float, limit: int) -> pa.Table:
    """Candidates of each query, best first, by a convex combination of scores, each scaled between the lowest it could
    be (0 for BM25, -1 for a cosine) and the query's best (Bruch, Gai and Ingber, "An analysis of fusion functions for
    hybrid retrieval", 2023). A leg that did not return a passage counts 0.

    bm25, dense: frames of LEG. Ties as in reciprocal_rank_fusion.
    """

    def scaled(leg: str, lowest: float) -> pl.Expr:
        score = pl.col(f"{leg}_score") - lowest
        best = score.max().over("query_id")
        return pl.when(best > 0).then(score / best).otherwise(0.0).fill_null(0.0)

    share = bm25_weight * scaled("bm25", 0.0) + (1 - bm25_weight) * scaled("dense", -1.0)
    return _fused(bm25, dense, share, limit)


def _fused(bm25: pl.DataFrame, dense: pl.DataFrame, share: pl.Expr | int, limit: int) -> pa.Table:
    both = bm25.rename({"rank": "bm25_rank", "score": "bm25_score"}).join(
        dense.rename({"rank": "dense_rank", "score": "dense_score"}),
        on=["query_id", "passage_id"],
        how="full",
        coalesce=True,
    )
    ranked = (
        both.with_columns(fused_score=share, best=pl.min_horizontal("bm25_rank", "dense_rank"))
        .sort(["query_id", "fused_score", "best", "passage_id"], descending=[False, True, False, False])
        .with_columns(rank=pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over("query_id"))
        .filter(pl.col("rank") <= limit)
        .select(Candidate.columns)
    )
    return Candidate.conform(ranked.to_arrow())
