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
    """How many to take of each stratum: by largest remainders, never more than there are."""
    taken = dict.fromkeys(available, 0)
    left = min(size, sum(available.values()))
    while left > 0:
        open_strata = {name: shares[name] for name in available if taken[name] < available[name]}
        total = sum(open_strata.values())
        if total <= 0:
            break
        ideal = {name: left * share / total for name, share in open_strata.items()}
        whole = {name: min(int(value), available[name] - taken[name]) for name, value in ideal.items()}
        if not any(whole.values()):
            name = max(ideal, key=lambda name: (ideal[name], name))
            whole = {name: 1}
        for name, number in whole.items():
            taken[name] += number
            left -= number
    return taken
