"""Which queries to label: a seeded sample with a share for each stratum. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl


def stratified_sample(queries: pl.DataFrame, shares: Mapping[str, float], *, size: int, seed: int) -> pl.DataFrame:
    """At most `size` queries, each stratum near its share; what a stratum lacks goes to the others.

    queries: records.Query as a frame. Within a stratum a query is drawn with weight sqrt(frequency), so that frequent
    questions are covered and rare ones are not forgotten (Efraimidis and Spirakis, "Weighted random sampling with a
    reservoir", 2006). Rows come back ordered by query_id. Strata without a share are not sampled.
    """
    ordered = queries.filter(pl.col("stratum").is_in(list(shares))).sort("query_id")
    uniform = np.random.default_rng(seed).random(ordered.height)
    keyed = ordered.with_columns(
        key=pl.Series(uniform, dtype=pl.Float64).log() / pl.col("frequency").cast(pl.Float64).sqrt()
    )
    available = dict(keyed.group_by("stratum").len().iter_rows())
    taken = allocate(available, shares, size)
    place = pl.col("key").rank("ordinal", descending=True).over("stratum")
    quota = pl.col("stratum").replace_strict(taken, default=0, return_dtype=pl.Int64)
    return keyed.filter(place <= quota).drop("key").sort("query_id")


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
