"""How likely a passage at each rank is to be examined, relative to rank 1, without asking anybody.

Two sources, the first of which is preferred where the log has enough of it:

- randomised: events whose shown passages were shuffled. Whatever a rank gets more clicks for is the rank. Assumes that
  the whole list was shuffled, each order as likely, and that users did not notice.
- harvested (Agarwal et al., "Estimating position bias without intrusive interventions", 2019): the same passage for the
  same query, shown at different ranks by rankers that were in use at the same time. Assumes that which ranker answers
  does not depend on how relevant its passages are to this user, given the query: traffic split by chance or by user,
  not by hard and easy wording. A swap of two ranks for a random share of events is another ranker here.

Both assume the position-based model (see the package). What they compare are pairs of ranks: the clicks that the same
material gets at rank k and at rank l. With propensities p and an attractiveness that is the same on both sides, clicks
are split as p_k : p_l, so the likelihood of all pairs, given their totals, is that of Bradley and Terry ("Rank analysis
of incomplete block designs", 1952); it is the AllPairs estimator with the nuisance of each pair of ranks profiled out.
Its score has expectation 0 whatever clicks are distributed as. It is solved by Hunter's MM ("MM algorithms for
generalized Bradley-Terry models", 2004). Intervals are percentiles of a Poisson bootstrap over queries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rerankops.config import FeedbackSettings

Floats = NDArray[np.float64]
METHODS = ("randomised", "harvested")
"""The preferred first."""
_STEPS, _TOLERANCE = 5000, 1e-7
_BLOCK = 2_000_000
"""Bootstrap weights in memory at a time."""


@dataclass(frozen=True)
class RankEstimate:
    """propensity, low, high: relative to rank 1, with a 95 % interval; None where no comparison leads to rank 1. high
    alone is None where the interval has no upper end.

    impressions: how much was compared at this rank; of two unequal sides of a comparison, their harmonic mean's half.
    usable: enough impressions and an interval narrow enough, as the settings say.
    """

    rank: int
    propensity: float | None
    low: float | None
    high: float | None
    impressions: float
    usable: bool


@dataclass(frozen=True)
class Estimate:
    """What one source says. queries: those with clicks to compare. words: why it can be used or not."""

    method: str
    ranks: tuple[RankEstimate, ...]
    queries: int
    usable: bool
    words: str


@dataclass(frozen=True)
class Propensities:
    """The estimates, and which of them is used: the name of its method, None when clicks cannot be used."""

    estimates: tuple[Estimate, ...]
    used: str | None
    words: str

    def values(self, *, floor: float) -> list[float | None]:
        """Of rank 1, 2, …, relative to the most examined one; None where unusable, [] when clicks cannot be used.

        Those below `floor` are lifted to it ("clipping"). That bounds the weight of a click at 1 / floor; passages at
        such ranks are then taken to have been examined more than they were, so that their rates come out too low
        rather than too noisy.
        """
        chosen = next((each for each in self.estimates if each.method == self.used), None)
        known = {rank.rank: rank.propensity for rank in chosen.ranks if rank.usable} if chosen else {}
        most = max((value for value in known.values() if value is not None), default=1.0)
        found = (known.get(rank.rank) for rank in (chosen.ranks if chosen else ()))
        return [None if value is None else max(value / most, floor) for value in found]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Propensities:
        estimates = tuple(
            Estimate(**{**each, "ranks": tuple(RankEstimate(**rank) for rank in each["ranks"])})
            for each in tree["estimates"]
        )
        return cls(estimates, tree["used"], tree["words"])


def estimate(impressions: pl.DataFrame, settings: FeedbackSettings, *, seed: int) -> Propensities:
    """Both sources' estimates and the choice between them. impressions: see clicks.impressions."""
    found = tuple(
        _estimate(method, *compare(impressions, settings), settings=settings, seed=seed)
        for method, compare in zip(METHODS, (randomised_wins, harvested_wins), strict=True)
    )
    used = next((each for each in found if each.usable), None)
    if used is None:
        return Propensities(found, None, "clicks are not used. " + "; ".join(each.words for each in found))
    others = [each for each in found if each.usable and each is not used]
    apart = [f"{each.method} disagrees at rank(s) {ranks}" for each in others if (ranks := _apart(used, each))]
    return Propensities(found, used.method, "; ".join([used.words, *apart]))


def randomised_wins(impressions: pl.DataFrame, settings: FeedbackSettings) -> tuple[pl.DataFrame, Floats]:
    """Clicks at each rank of shuffled events, once for every other rank that the event has.

    Rows (query_id, winner, loser, wins), and the impressions of each rank. Lists of different lengths are no matter:
    two ranks are compared within the events that have both.
    """
    shuffled = impressions.filter(pl.col("randomised"))
    wins = (
        shuffled.filter(pl.col("clicked"))
        .group_by("query_id", "length", winner="rank")
        .agg(wins=pl.len().cast(pl.Float64))
        .with_columns(loser=pl.int_ranges(1, pl.col("length") + 1))
        .explode("loser")
        .filter(pl.col("winner") != pl.col("loser"))
        .select("query_id", "winner", "loser", "wins")
    )
    return wins, _per_rank(shuffled.group_by("rank").agg(count=pl.len()), settings.max_rank)


def harvested_wins(impressions: pl.DataFrame, settings: FeedbackSettings) -> tuple[pl.DataFrame, Floats]:
    """Clicks of the same passage for the same query at two ranks, by two rankers, within harvest_days.

    Rows (query_id, winner, loser, wins), and the impressions compared at each rank. A side of n impressions beside one
    of m counts n·m / (n + m), the weight of Mantel and Haenszel ("Statistical aspects of the analysis of data from
    retrospective studies", 1959): best where clicks are few, and a side that was hardly shown adds hardly any noise.
    A ranker that showed a passage for a query at several ranks within a period is left out there: its order depended on
    something else than the query, perhaps on the user, and that would not be an intervention.
    """
    period = (pl.col("issued_at").dt.epoch("s") // round(settings.harvest_days * 86_400)).alias("period")
    where = ["query_id", "passage_id", "period"]
    sides = (
        impressions.lazy()
        .filter(~pl.col("randomised"), pl.col("ranker").is_not_null())
        .group_by("query_id", "passage_id", period, "ranker")
        .agg(
            rank=pl.col("rank").min(),
            last=pl.col("rank").max(),
            shown=pl.len().cast(pl.Float64),
            clicked=pl.col("clicked").sum().cast(pl.Float64),
        )
        .filter(pl.col("rank") == pl.col("last"))
        .filter(pl.col("rank").n_unique().over(where) > 1)
        .drop("last")
        .collect()
    )
    pairs = sides.join(sides, on=where, suffix="_other").filter(
        pl.col("ranker") != pl.col("ranker_other"), pl.col("rank") != pl.col("rank_other")
    )
    share = pl.col("shown_other") / (pl.col("shown") + pl.col("shown_other"))
    wins = (
        pairs.group_by("query_id", winner="rank", loser="rank_other")
        .agg(wins=(pl.col("clicked") * share).sum())
        .filter(pl.col("wins") > 0)
    )
    return wins, _per_rank(pairs.group_by("rank").agg(count=(pl.col("shown") * share).sum()), settings.max_rank)


def bradley_terry(wins: Floats) -> Floats:
    """Propensities relative to rank 1 that explain wins[..., k, l], the clicks at rank k beside rank l. (…, K) of
    (…, K, K); NaN where rank 1 has no click or no comparison leads to it."""
    won = wins.sum(-1)
    total = wins + np.swapaxes(wins, -1, -2)
    strength = np.ones_like(won)
    for _ in range(_STEPS):
        pooled = strength[..., :, None] + strength[..., None, :]
        weight = np.divide(total, pooled, out=np.zeros_like(total), where=pooled > 0).sum(-1)
        after = np.divide(won, weight, out=np.zeros_like(won), where=weight > 0)
        after /= np.maximum(after.max(-1, keepdims=True), np.finfo(float).tiny)
        moved = np.abs(after - strength).max(initial=0.0)
        strength = after
        if moved < _TOLERANCE:
            break
    first = strength[..., :1]
    relative = np.divide(strength, first, out=np.full_like(strength, np.nan), where=first > 0)
    return np.where(_reached(total), relative, np.nan)


def _reached(total: Floats) -> NDArray[np.bool_]:
    """Which ranks are compared with rank 1, directly or through others."""
    linked = total > 0
    reached = np.zeros(total.shape[:-1], dtype=bool)
    reached[..., 0] = True
    for _ in range(total.shape[-1]):
        reached |= (linked & reached[..., None, :]).any(-1)
    return reached


def _estimate(
    method: str, wins: pl.DataFrame, impressions: Floats, *, settings: FeedbackSettings, seed: int
) -> Estimate:
    ranks = settings.max_rank
    queries, per_query = _matrix(wins, ranks)
    point = bradley_terry(np.asarray(per_query.sum(0)).reshape(ranks, ranks))
    draws = _bootstrap(per_query, queries, ranks, samples=settings.bootstrap_samples, seed=seed)
    low, high = (
        np.quantile(np.where(np.isnan(draws), missing, draws), share, axis=0, method="nearest")
        for share, missing in ((0.025, 0.0), (0.975, np.inf))
    )
    estimates = []
    for rank in range(ranks):
        known = np.isfinite(point[rank]) and point[rank] > 0
        narrow = known and high[rank] <= settings.max_interval_ratio * low[rank]
        enough = impressions[rank] >= settings.min_rank_impressions
        estimates.append(
            RankEstimate(
                rank + 1,
                float(point[rank]) if known else None,
                float(low[rank]) if known else None,
                float(high[rank]) if known and high[rank] < np.inf else None,
                float(impressions[rank]),
                bool(narrow and enough),
            )
        )
    good = [each.rank for each in estimates if each.usable]
    usable = len(good) > 1 and good[0] == 1
    return Estimate(method, tuple(estimates), queries, usable, _words(method, estimates, queries, usable, settings))


def _words(method: str, ranks: list[RankEstimate], queries: int, usable: bool, settings: FeedbackSettings) -> str:
    source = {
        "randomised": "shuffled events",
        "harvested": "passages that two rankers of the same time showed at different ranks",
    }[method]
    if usable:
        good = [rank.rank for rank in ranks if rank.usable]
        return f"{method}: propensities of ranks {good} from {source} of {queries} queries"
    if not any(rank.impressions for rank in ranks):
        return f"{method}: the log has no {source}"
    most = [round(rank.impressions) for rank in ranks]
    return (
        f"{method}: {source} of {queries} queries give rank 1 and at least one more no propensity: impressions by rank "
        f"are {most}, feedback.min_rank_impressions is {settings.min_rank_impressions}, and intervals may not be wider "
        f"than 1 : {settings.max_interval_ratio:g}"
    )


def _apart(one: Estimate, other: Estimate) -> list[int]:
    """Ranks at which two estimates' intervals have nothing in common."""
    return [
        a.rank
        for a, b in zip(one.ranks, other.ranks, strict=True)
        if a.usable and b.usable and ((a.low or 0) > (b.high or 0) or (b.low or 0) > (a.high or 0))
    ]


def _matrix(wins: pl.DataFrame, ranks: int) -> tuple[int, Any]:
    """How many queries there are, and a sparse matrix (queries, ranks²) of their wins."""
    from scipy.sparse import csr_array

    numbers = wins["query_id"].rank("dense").cast(pl.Int64).to_numpy() - 1
    queries = int(numbers.max(initial=-1)) + 1
    columns = ((wins["winner"] - 1) * ranks + wins["loser"] - 1).cast(pl.Int64).to_numpy()
    return queries, csr_array((wins["wins"].to_numpy(), (numbers, columns)), shape=(queries, ranks * ranks))


def _bootstrap(per_query: Any, queries: int, ranks: int, *, samples: int, seed: int) -> Floats:
    """Propensities (samples, ranks) of queries drawn with replacement, each as often as a Poisson number says
    (Chamandy et al., "Estimating uncertainty for massive data streams", 2012)."""
    random = np.random.default_rng(seed)
    block = max(1, _BLOCK // max(queries, 1))
    drawn = [
        (per_query.T @ random.poisson(1.0, (queries, min(block, samples - start))).astype(np.float64)).T
        for start in range(0, samples, block)
    ]
    return bradley_terry(np.concatenate(drawn).reshape(samples, ranks, ranks))


def _per_rank(counts: pl.DataFrame, ranks: int) -> Floats:
    values = np.zeros(ranks)
    values[counts["rank"].to_numpy() - 1] = counts["count"].to_numpy()
    return values
