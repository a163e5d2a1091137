"""Candidates: as many a query as retrieval is set to find, ranked without gaps, from the corpus, by both legs."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from rerankops.annotation.suites._checks import WARNING, Suite, View, between, named, never, share, totals, unique
from rerankops.config.settings import QualitySettings, RetrievalSettings

MIN_QUERIES = 20
"""Queries below which a leg that found nothing at all may be chance."""
_LEGS = {"bm25": "BM25", "dense": "dense"}


def suite(
    candidates: pa.Table,
    query_ids: pl.Series,
    passage_ids: pl.Series,
    retrieval: RetrievalSettings,
    quality: QualitySettings,
) -> Suite:
    """candidates: records.Candidate. query_ids: of every query that was searched for. passage_ids: of the corpus."""
    frame = _rows(candidates, query_ids, passage_ids, retrieval)
    queries = _queries(frame, query_ids)
    most = retrieval.bm25_k + retrieval.dense_k
    least = min(max(retrieval.bm25_k, retrieval.dense_k), passage_ids.n_unique())
    measured = {
        "queries": float(queries.height),
        "candidates": float(frame.height),
        "candidates_per_query": share(queries["candidates"]),
        "without_candidates": float((queries["candidates"] == 0).sum()),
        "bm25_share": share(queries["bm25"] > 0),
        "dense_share": share(queries["dense"] > 0),
    }
    again = "delete this artefact and retrieve again"
    rows = [
        unique(
            "candidates unique",
            ["query_id", "passage_id"],
            "no query has a passage twice",
            "{where} is there more than once",
            again,
        ),
        never(
            "queries known",
            "unknown_query",
            "every candidate is one of a query that was searched for",
            "{where} belongs to a query that was not searched for",
            again,
        ),
        never(
            "passages known",
            "unknown_passage",
            "every candidate is a passage of the corpus",
            "{where} is no passage of the corpus",
            "the index is not of this corpus; run refresh_corpus_index",
        ),
        never(
            "ranks without gaps",
            "rank_fault",
            "ranks of a query are 1 to n, each once",
            "{where} has rank {rank} of {of_query}",
            again,
        ),
        never(
            "order by score",
            "order_fault",
            "a better rank never has a lower fused score",
            "{where} at rank {rank} has fused score {fused_score}, above that of the rank before it",
            again,
        ),
        never(
            "scores finite",
            "score_fault",
            "every score is a finite number",
            "{where} has {score_fault}",
            "look at the vectors: is the encoder sound?",
        ),
        never(
            "found by a leg",
            "leg_fault",
            f"every candidate was found among the first {retrieval.bm25_k} by BM25 or {retrieval.dense_k} by vectors",
            "{where} has {leg_fault}",
            again,
        ),
    ]
    each = [
        between(
            "every query has candidates",
            "candidates",
            "every query has a candidate",
            "{where} has none",
            "is the index whole? Look with `rerankops search`",
            low=1,
            rows=True,
        ),
        between(
            "not too many",
            "candidates",
            f"no query has more than {most} candidates",
            f"{{where}} has {{candidates}}, retrieval.bm25_k + retrieval.dense_k is {most}",
            again,
            high=most,
            rows=True,
        ),
        between(
            "enough",
            "candidates",
            f"every query has at least {least} candidates",
            f"{{where}} has {{candidates}} of the {least} that one leg alone can give",
            "BM25 finds few for rare words; should the dense leg be short, raise retrieval.hnsw_ef_search",
            low=least,
            rows=True,
            severity=WARNING,
        ),
    ]
    silent = [
        between(
            f"{name} leg contributes",
            f"{leg}_share",
            f"the {name} leg finds something for a query",
            f"the {name} leg found nothing for any of {{queries:.0f}} queries",
            "look at the index with `rerankops search`; is it of this corpus, analyser and encoder?",
            low=1e-9,
        )
        for leg, name in _LEGS.items()
        if queries.height >= MIN_QUERIES
    ]
    rare = [
        between(
            f"{name} leg contributes to most",
            f"{leg}_share",
            f"the {name} leg finds something for at least {quality.min_leg_share:.1%} of the queries",
            f"the {name} leg found something for {{{leg}_share:.1%}} of {{queries:.0f}} queries, "
            f"{quality.min_leg_share:.1%} are expected",
            "look at retrieval.analyzer (words) or encoder.model (vectors), or lower quality.min_leg_share",
            low=quality.min_leg_share,
            severity=WARNING,
        )
        for leg, name in _LEGS.items()
    ]
    views = [View("candidates", frame, rows), View("queries", queries, each), totals(measured, [*silent, *rare])]
    return Suite("candidates", views, measured)


def _rows(
    candidates: pa.Table, query_ids: pl.Series, passage_ids: pl.Series, retrieval: RetrievalSettings
) -> pl.DataFrame:
    """The candidates with a column for each fault, null where there is none."""
    frame = pl.DataFrame(pl.from_arrow(candidates)).sort("query_id", "rank", "passage_id")
    known = pl.DataFrame({"query_id": query_ids.unique()}).with_columns(asked=True)
    there = pl.DataFrame({"passage_id": passage_ids.unique()}).with_columns(stored=True)
    rank, score = pl.col("rank"), pl.col("fused_score")
    of_query = pl.len().over("query_id")
    ranks_wrong = ~rank.is_between(1, of_query) | pl.struct("query_id", "rank").is_duplicated()
    scores = [
        pl.when(~pl.col(name).is_finite()).then(pl.format("{} {}", pl.lit(name), pl.col(name).cast(pl.String)))
        for name in ("fused_score", "bm25_score", "dense_score")
    ]
    nowhere = pl.col("bm25_rank").is_null() & pl.col("dense_rank").is_null()
    legs = [
        pl.when(_leg_is_wrong(leg, k)).then(pl.format("{} {}", pl.lit(f"{leg}_rank"), pl.col(f"{leg}_rank")))
        for leg, k in (("bm25", retrieval.bm25_k), ("dense", retrieval.dense_k))
    ]
    return (
        frame.join(known, on="query_id", how="left", maintain_order="left")
        .join(there, on="passage_id", how="left", maintain_order="left")
        .with_columns(
            named("candidate", "passage_id", query="query_id"),
            of_query=of_query,
            unknown_query=pl.when(pl.col("asked").is_null()).then("query_id"),
            unknown_passage=pl.when(pl.col("stored").is_null()).then("passage_id"),
            rank_fault=pl.when(ranks_wrong).then(rank),
            order_fault=pl.when(score > score.shift(1).over("query_id")).then(score),
            score_fault=pl.coalesce(scores),
            leg_fault=pl.coalesce(pl.when(nowhere).then(pl.lit("no rank in either leg")), *legs),
        )
        .drop("asked", "stored")
    )


def _leg_is_wrong(leg: str, k: int) -> pl.Expr:
    """A rank outside 1..k, one that another candidate of the query has in the leg, or one without a score."""
    rank = pl.col(f"{leg}_rank")
    twice = rank.is_not_null() & pl.struct("query_id", f"{leg}_rank").is_duplicated()
    scoreless = rank.is_not_null() != pl.col(f"{leg}_score").is_not_null()
    return ~rank.is_between(1, k) | twice | scoreless


def _queries(frame: pl.DataFrame, query_ids: pl.Series) -> pl.DataFrame:
    counted = frame.group_by("query_id").agg(
        candidates=pl.len(), bm25=pl.col("bm25_rank").count(), dense=pl.col("dense_rank").count()
    )
    asked = pl.DataFrame({"query_id": query_ids.unique(maintain_order=True)})
    counts = pl.col("candidates", "bm25", "dense").fill_null(0).cast(pl.Int64)
    return asked.join(counted, on="query_id", how="left", maintain_order="left").with_columns(
        named("query", "query_id"), counts
    )
