"""Which queries of a pool are asked, within a budget of tasks, each for one stated reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from rerankops.annotation.selection.reasons import disagreement, uncertainty
from rerankops.config import SelectionSettings
from rerankops.errors import InputError
from rerankops.records import SelectedQuery

RANDOM = "random"
POOL = "pool"
"""In the pool, and not chosen."""
REMAINDER = "remainder"
"""Near-duplicates, asked only when the budget is not spent otherwise."""
_BLOCK = 2048

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Next = Callable[[Mask], int]
"""The best query among those that a mask allows; at least one is."""


@dataclass(frozen=True)
class Neighbours:
    """What queries mean. pool: (n, d) float32 of length 1, in the order of the pool's rows. asked: the same of queries
    of earlier batches, (m, d); asked_texts: their texts."""

    pool: Floats
    asked: Floats
    asked_texts: Sequence[str]


@dataclass(frozen=True)
class Choice:
    """selected: records.SelectedQuery. tasks: what they cost. near_duplicates: queries that were passed over because
    they nearly repeat one that is asked or was."""

    selected: pa.Table
    tasks: int
    near_duplicates: int


def choose(
    pool: pa.Table,
    candidates: pa.Table,
    ranked: pa.Table,
    neighbours: Neighbours,
    settings: SelectionSettings,
    *,
    strata: Mapping[str, float],
    candidates_per_query: int,
    temperature: float | None,
) -> Choice:
    """The random share of the pool, and the queries that tell most of the rest, at most `budget_tasks` in all.

    pool: records.SelectedQuery; rows with an inclusion_probability are its random share, and all of them are asked,
    near-duplicates too, or the chances would no longer be those. candidates: records.Candidate, ranked: records.
    RankedCandidate, of the whole pool. A query costs a task for each of its first `candidates_per_query` candidates.
    strata: the share of each. temperature: of the incumbent's scores, see reasons.uncertainty.

    What random queries leave of the budget is divided among, in this order,

    - uncertainty: the mean of two percentiles in the pool, of a small margin and of a large entropy;
    - disagreement of the orders, as its percentile;
    - diversity: queries that stand for many others not asked yet. Greedy facility location: the largest gain in
      sum over the pool of w_j max over asked i of cosine(i, j) (Lin and Bilmes, "A class of submodular functions for
      document summarization", 2011; greedy is within 1 - 1/e of the best), queries of earlier batches being asked.

    Each counts a query asked f times f ** frequency_exponent as much, and first gives every stratum its share of the
    strategy's tasks. A query that several would choose is the first one's. What one cannot spend goes to the next. A
    query nearer than `near_duplicate_cosine` to one asked or chosen is passed over; such ones are asked when budget is
    left after all, and then said to be the remainder. A pool that costs no more than the budget is thus taken whole.

    Raises InputError when vectors are not one a query.
    """
    rows = pl.DataFrame(pl.from_arrow(pool)).with_row_index("_row").sort("query_id")
    if len(neighbours.pool) != rows.height or len(neighbours.asked) != len(neighbours.asked_texts):
        raise InputError(f"{len(neighbours.pool)} vectors for {rows.height} queries of the pool; encode them again")
    vectors = np.ascontiguousarray(neighbours.pool[rows["_row"].to_numpy()])
    asked_of = pl.DataFrame(pl.from_arrow(ranked)).group_by("query_id").len("found")
    cost = rows.join(asked_of, on="query_id", how="left", maintain_order="left")["found"].fill_null(0)
    basket = _Basket(
        cost.clip(upper_bound=candidates_per_query).to_numpy().astype(np.int64),
        vectors,
        _names(rows["text"]),
        settings.near_duplicate_cosine,
        settings.budget_tasks,
    )
    basket.stay_away_from(neighbours.asked, _names(pl.Series(neighbours.asked_texts, dtype=pl.String)))
    for index in np.flatnonzero(rows["inclusion_probability"].is_not_null().to_numpy()):
        basket.take(int(index), RANDOM)

    weight = rows["frequency"].cast(pl.Float64).to_numpy() ** settings.frequency_exponent
    unsure = rows.select("query_id").join(
        uncertainty(ranked, temperature=temperature), on="query_id", how="left", maintain_order="left"
    )
    apart = rows.select("query_id").join(
        disagreement(candidates, ranked), on="query_id", how="left", maintain_order="left"
    )
    doubt = (_percentile(-unsure["margin"]) + _percentile(unsure["entropy"])) / 2
    strategies: dict[str, Callable[[], Next]] = {
        "uncertainty": lambda: _by(doubt * weight),
        "disagreement": lambda: _by(_percentile(apart["disagreement"]) * weight),
        "diversity": lambda: _Coverage(vectors, weight, basket, neighbours.asked).next,
    }
    shares = settings.shares.model_dump()
    spendable, given, carried = basket.left, 0.0, 0
    wanted = sum(shares[name] for name in strategies)
    stratum = _Strata(rows["stratum"], strata)
    for name, prepare in strategies.items():
        if not wanted or not shares[name]:
            continue
        before = int(spendable * given / wanted + 1e-9)
        given += shares[name]
        quota = int(spendable * given / wanted + 1e-9) - before + carried
        best = prepare()
        spent = basket.fill(best, name, quota, stratum)
        carried = quota - spent - basket.fill(best, name, quota - spent, None)
    passed_over = basket.passed_over
    basket.fill(_by(doubt * weight), REMAINDER, basket.left, None, near=True)
    chosen = rows.with_columns(chosen_for=pl.Series(basket.reasons, dtype=pl.String)).drop_nulls("chosen_for")
    return Choice(
        SelectedQuery.conform(chosen.select(SelectedQuery.columns).to_arrow()),
        settings.budget_tasks - basket.left,
        passed_over,
    )


class _Strata:
    """Of each query the number of its stratum, and the strata's shares."""

    def __init__(self, names: pl.Series, shares: Mapping[str, float]) -> None:
        known = names.unique().sort().to_list()
        self.of = names.replace_strict(known, list(range(len(known))), return_dtype=pl.Int64).to_numpy()
        self.shares = np.array([shares.get(name, 0.0) for name in known])

    def rooms(self, tasks: int) -> NDArray[np.int64]:
        """Tasks of each stratum."""
        total = self.shares.sum()
        return (tasks * self.shares / total + 1e-9).astype(np.int64) if total else np.zeros(len(self.shares), np.int64)


class _Basket:
    """What is taken so far, for which reason, and what is too near to it. left: tasks."""

    def __init__(self, cost: NDArray[np.int64], vectors: Floats, names: pl.Series, nearest: float, budget: int) -> None:
        self.cost, self.vectors, self.nearest, self.left = cost, vectors, nearest, budget
        self.reasons: list[str | None] = [None] * len(cost)
        self.taken = np.zeros(len(cost), dtype=np.bool_)
        self._near = np.zeros(len(cost), dtype=np.bool_)
        self._names = names.to_numpy()

    @property
    def passed_over(self) -> int:
        return int((self._near & ~self.taken & (self.cost > 0)).sum())

    def stay_away_from(self, asked: Floats, names: pl.Series) -> None:
        for start in range(0, len(asked), _BLOCK):
            same = self._names[:, None] == names[start : start + _BLOCK].to_numpy()[None, :]
            self._near |= ((self.vectors @ asked[start : start + _BLOCK].T >= self.nearest) & same).any(axis=1)

    def take(self, index: int, reason: str) -> None:
        self.taken[index], self.reasons[index] = True, reason
        self.left -= int(self.cost[index])
        self._near |= (self.vectors @ self.vectors[index] >= self.nearest) & (self._names == self._names[index])

    def fill(self, best: Next, reason: str, quota: int, strata: _Strata | None, *, near: bool = False) -> int:
        """Takes the best ones until nothing fits the quota, or their strata's shares of it. Returns the tasks spent."""
        quota = min(quota, self.left)
        rooms = strata.rooms(quota) if strata else None
        spent = 0
        while True:
            allowed = ~self.taken & (self.cost > 0) & (self.cost <= quota - spent)
            if not near:
                allowed &= ~self._near
            if rooms is not None and strata is not None:
                allowed &= self.cost <= rooms[strata.of]
            if not allowed.any():
                return spent
            index = best(allowed)
            self.take(index, reason)
            spent += int(self.cost[index])
            if rooms is not None and strata is not None:
                rooms[strata.of[index]] -= self.cost[index]


class _Coverage:
    """Greedy facility location; gains only shrink, so that an old gain is a bound (Minoux, 1978)."""

    def __init__(self, vectors: Floats, weight: NDArray[np.float64], basket: _Basket, asked: Floats) -> None:
        self.vectors, self.weight, self.basket = vectors, weight.astype(np.float32), basket
        self.cover = np.zeros(len(vectors), dtype=np.float32)
        for start in range(0, len(asked), _BLOCK):
            np.maximum(self.cover, (vectors @ asked[start : start + _BLOCK].T).max(axis=1), out=self.cover)
        self._covered = np.zeros(len(vectors), dtype=np.bool_)
        self._catch_up()
        self.bound = np.empty(len(vectors), dtype=np.float32)
        for start in range(0, len(vectors), _BLOCK):
            gains = vectors[start : start + _BLOCK] @ vectors.T
            np.subtract(gains, self.cover, out=gains)
            self.bound[start : start + _BLOCK] = np.maximum(gains, 0, out=gains) @ self.weight

    def next(self, allowed: Mask) -> int:
        self._catch_up()
        while True:
            bounds = np.where(allowed, self.bound, -np.inf)
            index = int(bounds.argmax())
            gain = np.maximum(self.vectors @ self.vectors[index] - self.cover, 0) @ self.weight
            self.bound[index] = bounds[index] = min(gain, self.bound[index])
            if self.bound[index] >= bounds.max():
                return index

    def _catch_up(self) -> None:
        """Covers what was taken meanwhile, by whatever strategy."""
        new = np.flatnonzero(self.basket.taken & ~self._covered)
        for start in range(0, len(new), _BLOCK):
            block = self.vectors[new[start : start + _BLOCK]]
            np.maximum(self.cover, (self.vectors @ block.T).max(axis=1), out=self.cover)
        self._covered[new] = True


def _by(priority: NDArray[np.float64]) -> Next:
    return lambda allowed: int(np.where(allowed, priority, -np.inf).argmax())


def _percentile(values: pl.Series) -> NDArray[np.float64]:
    """0..1, equal values equal, the largest 1; a null is 0."""
    ranks = values.rank("average")
    return (ranks / max(1, len(values) - values.null_count())).fill_null(0.0).to_numpy()


def _names(texts: pl.Series) -> pl.Series:
    """What must be equal in near-duplicates: words with a digit and, among Chinese, Latin words. X5 is not X7, however
    near their vectors are; English words are no names."""
    text = pl.col("text").str.to_lowercase()
    latin = text.str.extract_all(r"[a-z0-9.]+")
    numbered = text.str.extract_all(r"[a-z.]*[0-9][a-z0-9.]*")
    names = pl.when(text.str.contains(r"\p{Han}")).then(latin).otherwise(numbered)
    return texts.rename("text").to_frame().select(names.list.sort().list.join(" ")).to_series()
