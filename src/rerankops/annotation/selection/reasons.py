"""Why a query is worth a label: how unsure the incumbent's order is, and how far several orders disagree."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

DEPTH = 10
PERSISTENCE = 0.9
"""Of rank-biased overlap: at .9 the first ten ranks carry most of the weight."""
_ORDERS = ("bm25_rank", "dense_rank", "incumbent_rank")


def uncertainty(ranked: pa.Table, *, temperature: float | None) -> pl.DataFrame:
    """Frame of query_id, margin and entropy, by query_id.

    ranked: records.RankedCandidate. margin: the first score less the second, infinite for a single candidate.
    entropy: of the softmax over the candidates' scores, in nats. (Settles, "Active learning literature survey", 2009.)

    temperature: what scores are divided by. 1 for a blend, a conditional logit: its softmax is the probability that a
    candidate is the relevant one. None for scores that are no logits, such as those of reciprocal rank fusion: their
    standard deviation within queries, pooled over all of them, so that the result does not depend on their unit.
    """
    scores = pl.DataFrame(pl.from_arrow(ranked)).select("query_id", "passage_id", pl.col("score").cast(pl.Float64))
    if temperature is None:
        squares = ((pl.col("score") - pl.col("score").mean().over("query_id")) ** 2).mean().sqrt()
        temperature = float(scores.select(squares).item() or 0.0) or 1.0
    scaled = pl.col("score") / temperature
    logit = scaled - scaled.max().over("query_id")
    log_probability = logit - logit.exp().sum().log().over("query_id")
    best = pl.col("_scaled").top_k(2)
    return (
        scores.sort("query_id", "passage_id")
        .with_columns(_scaled=scaled, _entropy=-(log_probability.exp() * log_probability))
        .group_by("query_id", maintain_order=True)
        .agg(
            margin=pl.when(pl.len() > 1).then(best.max() - best.min()).otherwise(float("inf")),
            entropy=pl.col("_entropy").sum(),
        )
    )


def disagreement(candidates: pa.Table, ranked: pa.Table) -> pl.DataFrame:
    """Frame of query_id and disagreement, by query_id: 1 less the mean rank-biased overlap of the orders of BM25, the
    dense leg and the incumbent, two by two. 0: all alike; 1: nothing in common.

    candidates: records.Candidate. ranked: records.RankedCandidate, of the same pairs.
    """
    order = pl.DataFrame(pl.from_arrow(ranked)).select("query_id", "passage_id", incumbent_rank="rank")
    found = (
        pl.DataFrame(pl.from_arrow(candidates))
        .join(order, on=["query_id", "passage_id"], how="left")
        .sort("query_id", "passage_id")
    )
    queries = found["query_id"].unique(maintain_order=True)
    codes = found["query_id"].rle_id().to_numpy().astype(np.int64)
    ranks = [found[name].fill_null(0).to_numpy().astype(np.int64) for name in _ORDERS]
    pairs = ((0, 1), (0, 2), (1, 2))
    overlaps = [rank_biased_overlap(ranks[a], ranks[b], codes, len(queries)) for a, b in pairs]
    return pl.DataFrame({"query_id": queries, "disagreement": 1.0 - np.mean(overlaps, axis=0).reshape(len(queries))})


def rank_biased_overlap(
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    lists: NDArray[np.int64],
    count: int,
    *,
    depth: int = DEPTH,
    persistence: float = PERSISTENCE,
) -> NDArray[np.float64]:
    """The overlap of pairs of rankings, (count,), 1 for equal ones, 0 for disjoint ones.

    With A(d) the share of common items among the first d of both, sum over d of (1 - p) p^(d-1) A(d), extrapolated
    beyond the last depth seen (Webber, Moffat and Zobel, "A similarity measure for indefinite rankings", 2010,
    equation 30). That depth is that of the longer ranking, at most `depth`; the shorter one is taken to hold nothing
    more.

    left, right: (n,) the ranks of item i in the two rankings, 1 is best, 0: it is not in it. lists: (n,) which pair of
    rankings, 0..count-1, item i belongs to. Two empty rankings are equal.
    """
    common = np.zeros((count, depth + 1))
    later = np.maximum(left, right)
    both = (left > 0) & (right > 0) & (later <= depth)
    np.add.at(common, (lists[both], later[both]), 1.0)
    length = np.zeros(count, dtype=np.int64)
    np.maximum.at(length, lists, np.minimum(later, depth))
    depths = np.arange(1, depth + 1)
    agreement = common.cumsum(axis=1)[:, 1:] / depths
    weighted = (agreement * persistence**depths).cumsum(axis=1)
    last = (np.arange(count), np.maximum(length, 1) - 1)
    overlap = agreement[last] * persistence**length + (1 - persistence) / persistence * weighted[last]
    return np.where(length > 0, overlap, 1.0)
