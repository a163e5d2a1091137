"""A query log whose users click by known rules on passages of known worth: what feedback is measured against."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa

from rerankops.records import STRINGS, TIMESTAMP, Judgment, QueryEvent

BEGIN = datetime(2026, 9, 1, tzinfo=UTC)
DAYS = 28
GRADE_SHARES = (0.5, 0.25, 0.15, 0.1)
RATES = (0.03, 0.10, 0.30, 0.60)
"""Mean attractiveness of a passage of grade 0 to 3."""
Users = Literal["position", "trust", "cascade"]
"""position: examined with probability 1 / rank^eta, clicked when examined and attractive. trust: besides, what is shown
first attracts more than it should. cascade: from the top down, one click at most, and then they are gone."""


@dataclass(frozen=True)
class ClickLog:
    """events: records.QueryEvent. truth: query_id, passage_id, grade, rate. propensity: of rank 1, 2, …"""

    events: pa.Table
    truth: pl.DataFrame
    propensity: np.ndarray[Any, np.dtype[np.float64]]

    def judged(self, share: float, *, seed: int) -> pa.Table:
        """What people would say of a share of the queries, without mistakes: records.Judgment."""
        queries = self.truth["query_id"].unique().sort().sample(fraction=share, seed=seed)
        rows = self.truth.filter(pl.col("query_id").is_in(queries.implode())).select(
            "query_id", "passage_id", query_text="query_id", stratum=pl.lit("all"), grade=pl.col("grade").cast(pl.Int8),
            confidence=pl.lit(1.0), annotator_count=pl.lit(3, pl.Int32), origin=pl.lit("human"),
        )  # fmt: skip
        return Judgment.conform(rows.to_arrow())


def simulate(
    events: int,
    *,
    seed: int,
    queries: int = 400,
    passages: int = 12,
    shown: int = 8,
    eta: float = 1.0,
    noise: tuple[float, ...] = (0.8, 1.6),
    randomised: float = 0.0,
    concentration: float = 8.0,
    popularity: float = 0.8,
    users: Users = "position",
) -> ClickLog:
    """noise: of each ranker, beside the grade; one is drawn an event. randomised: share of events whose list is
    shuffled. concentration: how alike the rates of a grade are. popularity: exponent of the queries' Zipf law."""
    rng = np.random.default_rng(seed)
    grade = rng.choice(4, (queries, passages), p=GRADE_SHARES)
    mean = np.array(RATES)[grade]
    rate = rng.beta(mean * concentration, (1 - mean) * concentration)
    orders = np.stack([np.argsort(rng.normal(0, spread, grade.shape) - grade, axis=1)[:, :shown] for spread in noise])
    weight = 1 / np.arange(1, queries + 1) ** popularity
    query = rng.choice(queries, events, p=weight / weight.sum())
    ranker = rng.integers(len(noise), size=events)
    order = orders[ranker, query]
    shuffled = rng.random(events) < randomised
    order[shuffled] = rng.permuted(order[shuffled], axis=1)
    propensity = 1 / np.arange(1, shown + 1) ** eta
    clicked = _clicks(rng, rate[query[:, None], order], propensity, users)
    ids = pa.array([f"q{q:05d}p{p:02d}" for q in range(queries) for p in range(passages)])
    flat = query[:, None] * passages + order
    lengths = np.r_[0, np.cumsum(clicked.sum(1))]
    seconds = np.sort(rng.integers(0, DAYS * 86_400, events)) * 1_000_000 + int(BEGIN.timestamp()) * 1_000_000
    names = pa.array([f"q{q:05d}" for q in range(queries)])
    table = pa.table(
        {
            "event_id": pa.array(np.arange(events)).cast(pa.string()),
            "text": names.take(pa.array(query)),
            "issued_at": pa.array(seconds, pa.timestamp("us")).cast(TIMESTAMP),
            "source": pa.repeat("simulated", events),
            "shown_passage_ids": pa.ListArray.from_arrays(
                np.arange(0, flat.size + 1, shown, dtype=np.int32), ids.take(pa.array(flat.ravel()))
            ).cast(STRINGS),
            "clicked_passage_ids": pa.ListArray.from_arrays(
                lengths.astype(np.int32), ids.take(pa.array(flat[clicked]))
            ).cast(STRINGS),
            "feedback": pa.repeat("none", events),
            "query_id": names.take(pa.array(query)),
            "redactions": pa.array(np.zeros(events, np.int32)),
            "user_group": pa.nulls(events, pa.string()),
            "preferred_passage_id": pa.nulls(events, pa.string()),
            "ranker": pa.array([f"ranker-{r}" for r in range(len(noise))]).take(pa.array(ranker)),
            "randomised": pa.array(shuffled),
        }
    )
    truth = pl.DataFrame(
        {
            "query_id": np.repeat(names.to_pylist(), passages),
            "passage_id": ids.to_pylist(),
            "grade": grade.ravel(),
            "rate": rate.ravel(),
        }
    )
    return ClickLog(QueryEvent.conform(table), truth, propensity)


def _clicks(rng: np.random.Generator, rate: Any, propensity: Any, users: Users) -> Any:
    if users == "cascade":
        attracted = rng.random(rate.shape) < rate
        return attracted & (attracted.cumsum(1) == 1)
    if users == "trust":
        rate = np.minimum(rate + 0.15 * (np.arange(rate.shape[1]) == 0), 1)
    return rng.random(rate.shape) < rate * propensity
