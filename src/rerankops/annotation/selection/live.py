"""How good the incumbent is on live queries: an unbiased estimate from the random share of the batches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import polars as pl
import pyarrow as pa

from rerankops.errors import InputError
from rerankops.intervals import wilson
from rerankops.records import ORIGINS, RELEVANT_GRADE

ALL = "all"


@dataclass(frozen=True)
class LiveQuality:
    """The estimate for a stratum, or ALL of them.

    share: of queries (or of events) whose first passage is relevant. low, high: its interval. queries: labelled ones
    that it rests on. unlabelled: random queries whose first passage has no judgment. effective: how many queries
    drawn with equal chances from an endless log would say as much; infinite when every query was asked.
    """

    stratum: str
    share: float
    low: float
    high: float
    queries: int
    unlabelled: int
    effective: float


def live_quality(
    selected: pa.Table,
    first: pa.Table,
    judgments: pa.Table,
    *,
    of: Literal["queries", "events"] = "events",
    confidence: float = 0.95,
) -> list[LiveQuality]:
    """Estimates for all strata together, then for each by its name.

    selected: records.SelectedQuery; only rows with an inclusion_probability count, whatever else was chosen. first:
    query_id and passage_id of what the incumbent put first; a query without any is a failure. judgments: records.
    Judgment; of a pair the one of the most trusted origin. of: whether a query counts once or as often as it was asked.

    Within a stratum Hájek's estimator (1971): the mean of relevance with the weights w = (1 or frequency) / inclusion
    probability. Together the strata count as many queries (or events) as they have. A mean of few queries leans
    towards the frequent ones, by a share of the order of one in their number. Variance: linearised, with the
    covariances of rank conditioning, which are 0 (see queries.sampling): sum of (1 - p) w² (y - mean)² / (sum of w)²,
    times n / (n - 1), but no less than Kish's (1965), which has the overall mean (1 - mean) for (y - mean)². The
    interval is Wilson's (1927) at the sample size that has this variance, with Student's quantile at n less the
    strata degrees of freedom (Korn and Graubard, "Confidence intervals for proportions with small expected number of
    positive counts estimated from survey data", 1998); it rather holds too often than too seldom.

    What it speaks of: the queries that the sample was drawn from, that is those of the pull that were not asked in an
    earlier batch and are not near a gold question; together only those strata that have a labelled query. Unlabelled
    ones are taken to be like the labelled of their stratum.
    Raises InputError when no labelled query was drawn at random.
    """
    drawn = pl.DataFrame(pl.from_arrow(selected)).drop_nulls("inclusion_probability")
    known = (
        pl.DataFrame(pl.from_arrow(judgments))
        .sort(pl.col("origin").replace_strict(ORIGINS, range(len(ORIGINS)), return_dtype=pl.Int64), maintain_order=True)
        .unique(["query_id", "passage_id"], keep="first", maintain_order=True)
        .select("query_id", "passage_id", "grade")
    )
    shown = pl.DataFrame(pl.from_arrow(first)).select("query_id", "passage_id")
    judged = (
        drawn.join(shown, on="query_id", how="left")
        .join(known, on=["query_id", "passage_id"], how="left")
        .select(
            "stratum",
            relevant=pl.when(pl.col("passage_id").is_null())
            .then(0.0)
            .otherwise((pl.col("grade") >= RELEVANT_GRADE).cast(pl.Float64)),
            weight=(pl.col("frequency") if of == "events" else 1) / pl.col("inclusion_probability"),
            left_out=1 - pl.col("inclusion_probability"),
            size=f"stratum_{of}",
        )
    )
    labelled = judged.drop_nulls("relevant").sort("stratum")
    if labelled.is_empty():
        raise InputError(
            f"{judged.height} queries were drawn at random and none has a judgment of its first passage; "
            "ingest the batch's annotations first, and keep annotation.selection.shares.random above 0"
        )
    missing = judged.filter(pl.col("relevant").is_null())
    parts = [(ALL, labelled, missing)] + [
        (name, labelled.filter(pl.col("stratum") == name), missing.filter(pl.col("stratum") == name))
        for name in labelled["stratum"].unique(maintain_order=True)
    ]
    return [_estimate(name, part, lost.height, confidence) for name, part, lost in parts]


def _estimate(stratum: str, rows: pl.DataFrame, unlabelled: int, confidence: float) -> LiveQuality:
    """Each stratum's weights are scaled to its part of the whole, so that all of them sum to 1."""
    part = pl.col("size") / rows.unique("stratum")["size"].sum()
    scaled = rows.with_columns(weight=pl.col("weight") / pl.col("weight").sum().over("stratum") * part)
    hit = pl.col("weight") * pl.col("relevant")
    scaled = scaled.with_columns(mean=hit.sum().over("stratum") / part, count=pl.len().over("stratum"))
    share = min(1.0, float(scaled.select(hit.sum()).item()))
    free = pl.col("left_out") * pl.col("weight") ** 2
    correction = pl.when(pl.col("count") > 1).then(pl.col("count") / (pl.col("count") - 1)).otherwise(0.0)
    kish, residual = scaled.select(
        kish=free.sum(), residual=(free * (pl.col("relevant") - pl.col("mean")) ** 2 * correction).sum()
    ).row(0)
    spread = share * (1 - share)
    noise = max(kish, residual / spread) if spread > 0 else kish
    effective = 1 / noise if noise > 0 else math.inf
    freedom = max(1, rows.height - rows["stratum"].n_unique())
    from scipy.special import stdtrit

    low, high = wilson(share, effective, float(stdtrit(freedom, 0.5 + confidence / 2)))
    return LiveQuality(stratum, share, float(low), float(high), rows.height, unlabelled, effective)
