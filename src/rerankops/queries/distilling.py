"""From events to distinct queries: unusable texts dropped, near-duplicates merged, strata assigned. Pure."""

from __future__ import annotations

import polars as pl

from rerankops.config import QuerySettings
from rerankops.queries.near_duplicates import merged as merge
from rerankops.queries.normalise import identify, stratum_of
from rerankops.records import Query


def distil(events: pl.DataFrame, gold: pl.DataFrame, settings: QuerySettings) -> tuple[pl.DataFrame, dict[str, float]]:
    """records.Query as a frame, sorted by id, and what was counted.

    events: records.QueryEvent as a frame. gold: id and normal of the texts that no query may equal or nearly equal:
    a query near one of them is left out together with all its near-duplicates.
    """
    frame = events.drop_nulls("query_id")
    identified = identify(frame["text"], settings)
    wordings = (
        frame.with_columns(normal=identified["normal"])
        .group_by("query_id", "normal")
        .agg(
            frequency=pl.len().cast(pl.Int64),
            first_seen=pl.col("issued_at").min(),
            last_seen=pl.col("issued_at").max(),
        )
        .sort(["frequency", "normal"], descending=[True, False])
    )
    known = wordings.select(id="query_id", normal="normal")
    found = merge(
        known["normal"].to_list(),
        gold["normal"].to_list(),
        threshold=settings.near_duplicate_threshold,
        gold_threshold=settings.gold_distance_threshold,
        synonyms=settings.synonyms,
    )
    merged = (
        wordings.with_columns(
            cluster=pl.Series(found.stands_for, dtype=pl.Int64),
            leak=pl.Series(found.near_gold, dtype=pl.Boolean),
        )
        .sort(["cluster", "frequency", "normal"], descending=[False, True, False])
        .group_by("cluster", maintain_order=True)
        .agg(
            pl.col("query_id", "normal").first(),
            pl.col("frequency").sum(),
            pl.col("first_seen").min(),
            pl.col("last_seen").max(),
            pl.col("leak").any(),
        )
    )
    kept = merged.filter(~pl.col("leak")).with_columns(
        text=pl.col("normal"), stratum=stratum_of(pl.col("normal"), settings.strata)
    )
    counts: dict[str, float] = {
        "events": frame.height,
        "queries": kept.height,
        "near_duplicates": wordings.height - merged.height,
        "near_gold": merged.height - kept.height,
    }
    return kept.select(Query.columns).sort("query_id"), counts
