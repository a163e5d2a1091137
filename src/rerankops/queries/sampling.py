"""Which queries are looked at for labelling: seeded samples with a share for each stratum. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

Seed = int | Sequence[int]


def stratified_sample(queries: pl.DataFrame, shares: Mapping[str, float], *, size: int, seed: Seed) -> pl.DataFrame:
    """At most `size` queries, each stratum near its share; what a stratum lacks goes to the others.

    queries: records.Query as a frame. Within a stratum a query is drawn with weight sqrt(frequency), so that frequent
    questions are covered and rare ones are not forgotten (Efraimidis and Spirakis, "Weighted random sampling with a
    reservoir", 2006). Rows come back ordered by query_id. Strata without a share are not sampled.
    """
    arrived = _arrivals(queries, shares, seed)
    quota = _quota(arrived, shares, size)
    return arrived.filter(pl.col("_place") <= quota).select(queries.columns).sort("query_id")


def stratified_pool(
    queries: pl.DataFrame, shares: Mapping[str, float], *, size: int, random: int, seed: Seed
) -> pl.DataFrame:
    """A stratified_sample of `size`, among it a sample of `random` queries whose chances are known.

    Adds inclusion_probability, null for a query that is in the pool alone, and stratum_queries and stratum_events: how
    many queries and events there are of its stratum in `queries`. The `random` ones are the first of the same
    draw. With the weights w, a query arrives at an exponential time of rate w, and a sample is the first to arrive in
    their stratum; given when the others arrived, it was drawn with probability 1 - exp(-w t), t the arrival of the
    first query left out. Sums over the sample of value / probability are unbiased for sums over all `queries`, and
    any two queries' shares of them are uncorrelated (Cohen and Kaplan, "Tighter estimation using bottom k sketches",
    2008, there called rank conditioning). Where a stratum is drawn whole, the probability is 1.

    The pool may exceed `size` by as many as there are strata where rounding takes more of a stratum for the smaller
    sample than for the larger.
    """
    arrived = _arrivals(queries, shares, seed)
    drawn = _quota(arrived, shares, random)
    at_random = pl.col("_place") <= drawn
    first_left_out = pl.col("_arrival").filter(~at_random).min().over("stratum")
    probability = (
        pl.when(first_left_out.is_null())
        .then(1.0)
        .otherwise(1 - (-first_left_out * pl.col("frequency").cast(pl.Float64).sqrt()).exp())
    )
    return (
        arrived.with_columns(
            inclusion_probability=pl.when(at_random).then(probability),
            stratum_queries=pl.len().over("stratum").cast(pl.Int64),
            stratum_events=pl.col("frequency").sum().over("stratum"),
        )
        .filter(pl.col("_place") <= pl.max_horizontal(drawn, _quota(arrived, shares, size)))
        .select(*queries.columns, "inclusion_probability", "stratum_queries", "stratum_events")
        .sort("query_id")
    )


def allocate(available: Mapping[str, int], shares: Mapping[str, float], size: int) -> dict[str, int]:
    """How many to take of each stratum: by largest remainders, never more than there are.

    A stratum whose share is more than it has is taken whole; the others divide what that leaves, by their shares.
    """
    taken = dict.fromkeys(available, 0)
    open_strata = {name: shares[name] for name in available if shares[name] > 0 and available[name] > 0}
    left = size
    while open_strata:
        total = sum(open_strata.values())
        ideal = {name: left * share / total for name, share in open_strata.items()}
        short = [name for name, number in ideal.items() if number >= available[name]]
        if not short:
            break
        for name in short:
            taken[name] = available[name]
            left -= available[name]
            del open_strata[name]
    for name in open_strata:
        taken[name] = int(ideal[name])
    missing = left - sum(taken[name] for name in open_strata)
    by_remainder = sorted(open_strata, key=lambda name: (taken[name] - ideal[name], -open_strata[name], name))
    for name in by_remainder[:missing]:
        taken[name] += 1
    return taken


def _arrivals(queries: pl.DataFrame, shares: Mapping[str, float], seed: Seed) -> pl.DataFrame:
    """The queries of strata with a share, by query_id, with `_arrival` (a time) and `_place` (1 arrives first)."""
    ordered = queries.filter(pl.col("stratum").is_in(list(shares))).sort("query_id")
    uniform = pl.Series(np.random.default_rng(seed).random(ordered.height), dtype=pl.Float64)
    return ordered.with_columns(
        _arrival=-(1 - uniform).log() / pl.col("frequency").cast(pl.Float64).sqrt()  # 1 - u is never 0
    ).with_columns(_place=pl.col("_arrival").rank("ordinal").over("stratum").cast(pl.Int64))


def _quota(arrived: pl.DataFrame, shares: Mapping[str, float], size: int) -> pl.Expr:
    available = dict(arrived.group_by("stratum").len().iter_rows())
    taken = allocate(available, shares, size)
    return pl.col("stratum").replace_strict(taken, default=0, return_dtype=pl.Int64)
