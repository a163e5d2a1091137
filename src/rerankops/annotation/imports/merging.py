"""Imported labels as judgments: one a query and passage, near-gold queries left out. Pure."""

from __future__ import annotations

import polars as pl

from rerankops.config import QuerySettings
from rerankops.queries.normalise import identify, near_to, stratum_of
from rerankops.records import Judgment


def merge_labels(
    labels: pl.DataFrame, gold: pl.DataFrame, settings: QuerySettings
) -> tuple[pl.DataFrame, dict[str, float]]:
    """records.Judgment as a frame, sorted by its key, of origin `imported`, and what was counted.

    labels: records.ImportedLabel as a frame; one that is mined says nothing where the same pair has one that is not, as
    miners find positives, too. gold: id and normal of the questions that must not be trained on; a query
    that equals or nearly equals one is left out. Several labels of one query and passage become one judgment: the grade
    that most of them have, the lower of two equally frequent ones, with the largest confidence of its labels times the
    share of labels that agree.
    """
    queries = labels.select("query_text").unique(maintain_order=True)
    queries = queries.hstack(identify(queries["query_text"], settings))
    usable = queries.drop_nulls("query_id")
    known = usable.unique("query_id").select(id="query_id", normal="normal")
    near = near_to(known, gold, threshold=settings.gold_distance_threshold, synonyms=settings.synonyms)
    kept = usable.filter(~pl.col("query_id").is_in(list(near)))
    item = ["query_id", "passage_id"]
    every = labels.join(kept, on="query_text").with_columns(pl.col("mined").fill_null(value=False))
    told = every.filter(~pl.col("mined") | pl.col("mined").all().over(item))
    graded = told.group_by(*item, "normal", "grade").agg(count=pl.len(), confidence=pl.col("confidence").max())
    chosen = (
        graded.with_columns(total=pl.col("count").sum().over(item), kinds=pl.len().over(item))
        .sort(*item, "count", "grade", descending=[False, False, True, False])
        .unique(item, keep="first", maintain_order=True)
    )
    judgments = chosen.select(
        "query_id",
        "passage_id",
        query_text="normal",
        stratum=stratum_of(pl.col("normal"), settings.strata),
        grade=pl.col("grade").cast(pl.Int8),
        confidence=pl.col("confidence") * pl.col("count") / pl.col("total"),
        annotator_count=pl.lit(1, pl.Int32),
        origin=pl.lit("imported"),
    ).select(Judgment.columns)
    counts: dict[str, float] = {
        "labels": labels.height,
        "queries": judgments["query_id"].n_unique(),
        "unusable_queries": queries.height - usable.height,
        "queries_near_gold": len(near),
        "mined_negatives_of_positives": every.height - told.height,
        "duplicates": told.height - chosen.height,
        "conflicting": int((chosen["kinds"] > 1).sum()),
    }
    return judgments, counts
