"""Which of two passages users prefer for a query: clicked over skipped above, and named over shown above.

A click on a passage below one that was not clicked says that the lower one is preferred (Joachims, "Optimizing search
engines using clickthrough data", 2002). Taken alone such clicks can only ever contradict the order shown (Radlinski and
Joachims, "Minimally invasive randomization for collecting unbiased preferences from clickthrough logs", 2006), so a
preference is believed only where all clicks on the two, among the events that showed both, agree with it when each
counts one over its rank's propensity: then the two sums differ in expectation by the difference of the rates alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from rerankops.annotation.feedback.clicks import group_weight
from rerankops.config import FeedbackSettings

_BOTH = ["query_id", "better", "worse", "user_group"]


def preferences(
    impressions: pl.DataFrame, corrections: pl.DataFrame, settings: FeedbackSettings, weights: Mapping[str, float]
) -> pl.DataFrame:
    """Rows (query_id, better, worse, user_group, weight), sorted. impressions: clicks.examinable; corrections: see
    reactions.corrections. weights: of user groups.

    user_group null: of all users together, each group weighing as given; besides, of each group alone. A correction
    counts as correction_clicks clicks at rank 1. With u and v the summed weights for and against, and n the number of
    equally weighted clicks that would be as sure (Kish, "Survey sampling", 1965), the preference's probability is that
    of a share above one half under the beta distribution of 1 + n·u/(u+v) and 1 + n·v/(u+v). Above min_certainty it is
    a preference, of weight 2·probability − 1.
    """
    from scipy.special import betainc

    votes = pl.concat([_clicks(impressions, weights), _corrections(corrections, settings, weights)])
    everyone = votes.with_columns(user_group=pl.lit(None, pl.String))
    summed = (
        pl.concat([everyone, votes.filter(pl.col("user_group").is_not_null())])
        .group_by(_BOTH)
        .agg(pl.col("votes", "squares").sum(), pl.col("contradicts").any())
    )
    against = summed.select(
        "query_id", "user_group", better="worse", worse="better", votes_against="votes", squares_against="squares"
    )
    known = (
        summed.filter("contradicts")
        .join(against, on=_BOTH, how="left", nulls_equal=True)
        .with_columns(pl.col("votes_against", "squares_against").fill_null(0.0))
        .with_columns(total=pl.col("votes") + pl.col("votes_against"))
        .filter(pl.col("total") > 0)
        .with_columns(share=pl.col("votes") / pl.col("total"))
        .with_columns(clicks=pl.col("total") ** 2 / (pl.col("squares") + pl.col("squares_against")))
    )
    share, clicks = known["share"].to_numpy(), known["clicks"].to_numpy()
    probability = pl.Series(betainc(1 + clicks * (1 - share), 1 + clicks * share, 0.5))
    return (
        known.with_columns(weight=2 * probability - 1)
        .filter(probability >= settings.min_certainty)
        .select(*_BOTH, "weight")
        .sort(_BOTH)
    )


def _clicks(impressions: pl.DataFrame, weights: Mapping[str, float]) -> pl.DataFrame:
    """Of each click, a vote for its passage against every other of its event."""
    rows = impressions.lazy()
    others = rows.select("event", worse="passage_id", other_rank="rank", other_clicked="clicked")
    return (
        rows.filter("clicked")
        .with_columns(vote=group_weight(weights) / pl.col("propensity"))
        .select("event", "query_id", "user_group", "rank", "vote", better="passage_id")
        .join(others, on="event")
        .filter(pl.col("better") != pl.col("worse"))
        .group_by(_BOTH)
        .agg(
            votes=pl.col("vote").sum(),
            squares=(pl.col("vote") ** 2).sum(),
            contradicts=((pl.col("other_rank") < pl.col("rank")) & ~pl.col("other_clicked")).any(),
        )
        .collect()
        .cast(dict.fromkeys(_BOTH, pl.String))
    )


def _corrections(corrections: pl.DataFrame, settings: FeedbackSettings, weights: Mapping[str, float]) -> pl.DataFrame:
    return corrections.with_columns(weight=group_weight(weights)).select(
        *_BOTH,
        votes=settings.correction_clicks * pl.col("weight"),
        squares=settings.correction_clicks * pl.col("weight") ** 2,
        contradicts=pl.lit(True),
    )
