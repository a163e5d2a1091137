"""From query events to impressions, and from impressions to what each passage's clicks amount to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
import pyarrow as pa

PAIR = ["query_id", "passage_id"]
REACTION_RANK = 0
"""The rank of a trial that is no impression: a reaction, which nobody gives without having examined."""
TRIALS = pl.Schema(
    {
        "query_id": pl.String,
        "passage_id": pl.String,
        "rank": pl.Int64,
        "shown": pl.Float64,
        "clicked": pl.Float64,
        "impressions": pl.Int64,
        "reactions": pl.Int64,
    }
)
"""How often a passage was shown for a query at a rank, and clicked there. shown, clicked: each event counts as its
user's group weighs; impressions, reactions: plain counts. Rank 0: reactions (see REACTION_RANK)."""


def impressions(events: pa.Table, *, max_rank: int) -> pl.DataFrame:
    """One row a passage shown: event (a number), query_id, passage_id, rank, length, clicked, ranker, randomised,
    issued_at, user_group. Names are categoricals: there are many rows of few names.

    events: records.QueryEvent, distinct; those without a query or without shown passages are left out. A passage that
    is shown twice counts where it is first, max_rank is the last rank counted, length is how many of the event are.
    Clicks on what was not shown are left out. randomised is false where the log does not say.
    """
    numbered = (
        frame_of(events)
        .with_row_index("event")
        .with_columns(
            pl.col("query_id", "ranker", "user_group").cast(pl.Categorical),
            pl.col("shown_passage_ids", "clicked_passage_ids").cast(pl.List(pl.Categorical)),
        )
    )
    shown = (
        numbered.select(
            "event",
            "query_id",
            "ranker",
            "issued_at",
            "user_group",
            randomised=pl.col("randomised").fill_null(False),
            passage_id=pl.col("shown_passage_ids").list.unique(maintain_order=True).list.head(max_rank),
        )
        .with_columns(length=pl.col("passage_id").list.len().cast(pl.Int64))
        .filter(pl.col("length") > 0)
        .with_columns(rank=pl.int_ranges(1, pl.col("length") + 1))
        .explode("passage_id", "rank")
    )
    clicked = (
        numbered.select("event", passage_id="clicked_passage_ids")
        .filter(pl.col("passage_id").list.len() > 0)
        .explode("passage_id")
        .unique()
        .with_columns(clicked=pl.lit(True))
    )
    return shown.join(clicked, on=["event", "passage_id"], how="left", maintain_order="left").with_columns(
        pl.col("clicked").fill_null(False)
    )


def frame_of(events: pa.Table) -> pl.DataFrame:
    """The events of a usable query."""
    return pl.DataFrame(pl.from_arrow(events)).filter(pl.col("query_id").is_not_null())


def examinable(impressions: pl.DataFrame, propensity: Sequence[float | None]) -> pl.DataFrame:
    """The impressions at ranks whose propensity is known, with it. propensity: of rank 1, 2, …"""
    known = {rank: value for rank, value in enumerate(propensity, start=1) if value is not None}
    table = pl.DataFrame(
        {"rank": list(known), "propensity": list(known.values())}, schema={"rank": pl.Int64, "propensity": pl.Float64}
    )
    return impressions.join(table, on="rank", maintain_order="left")


def click_trials(impressions: pl.DataFrame, weights: Mapping[str, float]) -> pl.DataFrame:
    """TRIALS of examinable impressions. weights: of user groups; others weigh 1."""
    return (
        impressions.with_columns(weight=group_weight(weights))
        .group_by(*PAIR, "rank")
        .agg(
            shown=pl.col("weight").sum(),
            clicked=(pl.col("weight") * pl.col("clicked")).sum(),
            impressions=pl.len().cast(pl.Int64),
            reactions=pl.lit(0, pl.Int64),
        )
        .select(TRIALS.names())
        .cast(TRIALS)
    )


def group_weight(weights: Mapping[str, float]) -> pl.Expr:
    """The weight of each row's user_group; 1 where there is none."""
    if not weights:
        return pl.lit(1.0)
    names = pl.Series(list(weights), dtype=pl.String)
    values = pl.Series(list(weights.values()), dtype=pl.Float64)
    group = pl.col("user_group").cast(pl.String)
    return group.replace_strict(names, values, default=1.0, return_dtype=pl.Float64).fill_null(1.0)
