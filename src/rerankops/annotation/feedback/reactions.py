"""Likes, dislikes and corrections: what users say themselves, about passages that they have read.

Position bias is no matter here, since nobody rates what they have not seen; who takes the trouble to is another bias,
that nothing in the log can correct. Both are assumed to be about the passages, not about the answer made of them.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
import pyarrow as pa

from rerankops.annotation.feedback.clicks import PAIR, REACTION_RANK, TRIALS, frame_of, group_weight
from rerankops.config import FeedbackSettings


def reaction_trials(events: pa.Table, settings: FeedbackSettings, weights: Mapping[str, float]) -> pl.DataFrame:
    """clicks.TRIALS at REACTION_RANK. events: records.QueryEvent, distinct. weights: of user groups.

    A like or dislike is about the passages that the user opened, or about the first shown when none was; where the same
    event names another passage as the answer, that passage is not disliked. A like counts as like_clicks clicks, a
    dislike as dislike_skips passages read and not clicked, a correction as correction_clicks clicks.
    """
    frame = frame_of(events)
    clicked, shown = pl.col("clicked_passage_ids"), pl.col("shown_passage_ids")
    rated = (
        frame.filter(pl.col("feedback").is_in(["up", "down"]))
        .with_columns(
            passage_id=pl.when(clicked.list.len() > 0).then(clicked.list.unique()).otherwise(shown.list.head(1))
        )
        .filter(pl.col("passage_id").list.len() > 0)
        .explode("passage_id")
        .filter(~(pl.col("preferred_passage_id").eq_missing(pl.col("passage_id")) & (pl.col("feedback") == "down")))
    )
    liked = pl.col("feedback") == "up"
    named = frame.filter(pl.col("preferred_passage_id").is_not_null())
    parts = [
        rated.select(
            *PAIR,
            "user_group",
            shown=pl.when(liked).then(settings.like_clicks).otherwise(settings.dislike_skips),
            clicked=pl.when(liked).then(settings.like_clicks).otherwise(0.0),
        ),
        named.select(
            "query_id",
            "user_group",
            passage_id="preferred_passage_id",
            shown=pl.lit(settings.correction_clicks),
            clicked=pl.lit(settings.correction_clicks),
        ).select(*PAIR, "user_group", "shown", "clicked"),
    ]
    return (
        pl.concat(parts)
        .with_columns(pl.col("shown", "clicked") * group_weight(weights))
        .group_by(PAIR)
        .agg(pl.col("shown", "clicked").sum(), reactions=pl.len().cast(pl.Int64))
        .with_columns(rank=pl.lit(REACTION_RANK, pl.Int64), impressions=pl.lit(0, pl.Int64))
        .select(TRIALS.names())
        .cast(TRIALS)
    )


def corrections(events: pa.Table) -> pl.DataFrame:
    """Rows (query_id, better, worse, user_group): what a user named as the answer, over each passage shown above it, or
    over all that were shown when it was not among them."""
    named = frame_of(events).filter(pl.col("preferred_passage_id").is_not_null())
    shown, better = pl.col("shown_passage_ids"), pl.col("preferred_passage_id")
    return (
        named.with_columns(shown_passage_ids=shown.list.unique(maintain_order=True))
        .with_columns(row=pl.int_range(pl.len()))
        .explode("shown_passage_ids")
        .filter(pl.col("shown_passage_ids").is_not_null())
        .with_columns(found=(shown == better).cum_max().over("row"))
        .filter(~pl.col("found"))
        .select("query_id", better="preferred_passage_id", worse="shown_passage_ids", user_group="user_group")
    )
