"""What is known of a candidate before it is ranked: one number a signal, one row a (query, passage)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from rerankops.errors import InputError
from rerankops.records import Signal
from rerankops.retrieval.encoder import EncodedTexts
from rerankops.scoring import finite

CHEAP = ("reciprocal_rank", "bm25", "cosine", "maxsim")
"""The signals that need no cross-encoder."""
_REMADE = {
    "reciprocal_rank": "build the index again",
    "bm25": "build the index again",
    "cosine": "delete the stored vectors and embed the corpus again",
    "maxsim": "delete the stored vectors and embed the corpus again",
}


def signals(
    candidates: pa.Table,
    *,
    query_ids: Sequence[str],
    queries: EncodedTexts,
    passage_ids: Sequence[str],
    passages: EncodedTexts,
    cross_encoder_logits: NDArray[np.float32] | None = None,
) -> pa.Table:
    """The signals of every candidate, in the order of the candidates.

    candidates: records.Candidate. queries, passages: the vectors of query_ids and passage_ids, in their order; a
    superset of those in the candidates is fine. cross_encoder_logits: one a candidate row, or None.

    bm25: where the leg did not return the passage, the lowest score that it returned for the query. The leg returns
    its best k, so that is an upper bound on what the passage would have had, and the tightest one known; 0 would say
    "no word in common", which is mostly false. 0 when the leg returned nothing at all for the query.
    It is then standardised within the query (zero mean, unit variance; Montague and Aslam, "Relevance score
    normalization for metasearch", 2001): raw scores grow with the number of query terms, so that one weight cannot suit
    short colloquial queries and long formal ones.
    cosine: exact, for every candidate, also those that only BM25 returned.
    maxsim: mean over query tokens of the largest cosine to a passage token (Khattab and Zaharia, "ColBERT", 2020,
    divided by the query's length so that queries are comparable); 0 for a text without tokens.

    Raises InputError when a candidate's vectors are missing or the logits are not one a row, NotFinite when a signal
    is nan or infinite.
    """
    frame = pl.DataFrame(pl.from_arrow(candidates))
    if cross_encoder_logits is not None and len(cross_encoder_logits) != len(frame):
        raise InputError(f"{len(cross_encoder_logits)} cross-encoder logits for {len(frame)} candidates")
    query_rows = _rows(frame["query_id"], query_ids, "query")
    passage_rows = _rows(frame["passage_id"], passage_ids, "passage")
    cosine, maxsim = similarities(query_rows, passage_rows, queries, passages)
    result = frame.select(
        "query_id",
        "passage_id",
        "rank",
        reciprocal_rank="fused_score",
        bm25=_standardised("bm25_score"),
        cosine=pl.Series(cosine, dtype=pl.Float64),
        maxsim=pl.Series(maxsim, dtype=pl.Float64),
        cross_encoder=(
            pl.lit(None, dtype=pl.Float64)
            if cross_encoder_logits is None
            else pl.Series(np.asarray(cross_encoder_logits, dtype=np.float64))
        ),
    )
    named = result["query_id"].to_list(), result["passage_id"].to_list()
    for name in CHEAP:
        finite.refuse(result[name], f"signal {name!r}", *named, _REMADE[name])
    if cross_encoder_logits is not None:
        finite.refuse(result["cross_encoder"], "signal 'cross_encoder'", *named, "score the pairs again")
    return Signal.conform(result.to_arrow())


def _standardised(name: str) -> pl.Expr:
    """A score within its query: nulls take its lowest, then zero mean and unit variance; 0 where all are alike."""
    score = pl.col(name).fill_null(pl.col(name).min().over("query_id")).fill_null(0.0)
    centred = score - score.mean().over("query_id")
    deviation = score.std(ddof=0).over("query_id")
    return pl.when(deviation > 1e-9).then(centred / deviation).otherwise(0.0)


def similarities(
    query_rows: NDArray[np.int64], passage_rows: NDArray[np.int64], queries: EncodedTexts, passages: EncodedTexts
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cosine and MaxSim of pairs of rows; one matrix product a query for all its candidates."""
    cosine = np.zeros(len(query_rows))
    maxsim = np.zeros(len(query_rows))
    order = np.argsort(query_rows, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(query_rows[order]) != 0]) if len(order) else np.array([], dtype=int)
    for pairs in np.split(order, starts[1:]) if len(order) else []:
        query, rows = int(query_rows[pairs[0]]), passage_rows[pairs]
        cosine[pairs] = np.asarray(passages.vectors[rows]) @ np.asarray(queries.vectors[query])
        maxsim[pairs] = _maxsim(np.asarray(queries.tokens_of(query), dtype=np.float32), rows, passages)
    return cosine, maxsim


def _maxsim(query: NDArray[np.float32], rows: NDArray[np.int64], passages: EncodedTexts) -> NDArray[np.float64]:
    result = np.zeros(len(rows))
    lengths = passages.offsets[rows + 1] - passages.offsets[rows]
    filled = np.flatnonzero(lengths)
    if not len(query) or not len(filled):
        return result
    tokens = np.concatenate([passages.tokens_of(int(row)) for row in rows[filled]]).astype(np.float32)
    starts = np.concatenate([[0], np.cumsum(lengths[filled])[:-1]])
    best = np.maximum.reduceat(tokens @ query.T, starts, axis=0)
    result[filled] = best.mean(axis=1, dtype=np.float64)
    return result


def _rows(wanted: pl.Series, known: Sequence[str], what: str) -> NDArray[np.int64]:
    index = pl.DataFrame({"id": list(known), "row": np.arange(len(known))}, schema={"id": pl.String, "row": pl.Int64})
    rows = wanted.rename("id").to_frame().join(index, on="id", how="left", maintain_order="left")["row"]
    if rows.null_count():
        missing = wanted.filter(rows.is_null())[0]
        raise InputError(f"{what} {missing} is a candidate without vectors ({rows.null_count()} rows); embed it first")
    return rows.to_numpy()
