"""How likely each rank is to be examined: recovered where it is known, refused where the log cannot tell."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from click_log import DAYS, ClickLog, simulate

from rerankops import config
from rerankops.annotation.feedback import Propensities, estimate, impressions
from rerankops.annotation.feedback.propensity import bradley_terry
from rerankops.config import FeedbackSettings


@pytest.fixture(scope="session")
def settings() -> FeedbackSettings:
    return config.load(environ={}).feedback


def estimated(events: pa.Table, settings: FeedbackSettings, **changes: Any) -> Propensities:
    changed = settings.model_copy(update=changes)
    return estimate(impressions(events, max_rank=changed.max_rank), changed, seed=1)


def of(method: str, found: Propensities) -> Any:
    return next(each for each in found.estimates if each.method == method)


def replaced(log: ClickLog, **columns: pl.Expr) -> pa.Table:
    return pl.DataFrame(pl.from_arrow(log.events)).with_columns(**columns).to_arrow().cast(log.events.schema)


@pytest.mark.parametrize("eta", [0.5, 1.0])
@pytest.mark.parametrize(("method", "randomised"), [("randomised", 0.3), ("harvested", 0.0)])
def test_propensities_lie_in_their_intervals(
    settings: FeedbackSettings, method: str, randomised: float, eta: float
) -> None:
    log = simulate(20_000, seed=3, eta=eta, randomised=randomised, queries=300)
    found = estimated(log.events, settings)
    assert found.used == method
    ranks = of(method, found).ranks[:8]
    assert all(rank.usable for rank in ranks)
    inside = [rank.low <= log.propensity[rank.rank - 1] <= rank.high for rank in ranks]
    assert sum(inside) >= 7  # of 8, at 95 % each
    assert all(rank.high < 1.5 * rank.low for rank in ranks[:4])


def test_what_is_compared_decides_not_what_is_shown_first(settings: FeedbackSettings) -> None:
    """Click rates by rank mix position with what rankers put there: by them, rank 8 would look ten times worse."""
    log = simulate(20_000, seed=4, noise=(0.3, 0.9))
    shown = impressions(log.events, max_rank=8)
    by_rank = shown.group_by("rank").agg(pl.col("clicked").mean()).sort("rank")["clicked"].to_numpy()
    naive = by_rank[5] / by_rank[0]
    rank = of("harvested", estimated(log.events, settings)).ranks[5]
    assert naive < 0.6 * log.propensity[5]
    assert rank.low <= log.propensity[5] <= rank.high


def test_lists_of_different_lengths_are_compared_where_they_have_both_ranks(settings: FeedbackSettings) -> None:
    """Every other query shows three passages, and those are the good ones."""
    log = simulate(40_000, seed=5, randomised=1.0, queries=200, eta=0.5)
    good = set(log.truth.group_by("query_id").agg(pl.col("rate").mean()).sort("rate").tail(100)["query_id"].to_list())
    short = pl.col("query_id").is_in(list(good))
    shown = pl.when(short).then(pl.col("shown_passage_ids").list.head(3)).otherwise(pl.col("shown_passage_ids"))
    clicked = pl.col("clicked_passage_ids").list.set_intersection(shown)
    events = replaced(log, shown_passage_ids=shown, clicked_passage_ids=clicked)
    rows = impressions(events, max_rank=8)
    by_rank = rows.group_by("rank").agg(pl.col("clicked").mean()).sort("rank")["clicked"].to_numpy()
    rank = of("randomised", estimated(events, settings)).ranks[4]
    assert by_rank[4] / by_rank[0] < rank.low  # the mix of lengths would be taken for position
    assert rank.low <= log.propensity[4] <= rank.high


def test_randomised_events_are_preferred_and_both_are_told(settings: FeedbackSettings) -> None:
    found = estimated(simulate(20_000, seed=6, randomised=0.2).events, settings)
    assert found.used == "randomised"
    assert of("harvested", found).usable
    assert "disagrees" not in found.words


def test_sources_that_contradict_one_another_are_named(settings: FeedbackSettings) -> None:
    """The list is not shuffled after all: whoever logs randomised means something else."""
    log = simulate(30_000, seed=7, noise=(0.3, 0.9))
    flagged = (pl.col("event_id").cast(pl.Int64) % 3 == 0).alias("randomised")
    found = estimated(replaced(log, randomised=flagged), settings)
    assert found.used == "randomised"
    assert "harvested disagrees at rank(s) [" in found.words


def test_one_ranker_and_no_shuffling_tell_nothing(settings: FeedbackSettings) -> None:
    found = estimated(simulate(5000, seed=8, noise=(0.8,)).events, settings)
    assert found.used is None
    assert found.values(floor=0.1) == []
    assert found.words.startswith("clicks are not used. randomised: the log has no shuffled events; harvested: the log")


def test_rankers_that_were_never_in_use_together_are_not_compared(settings: FeedbackSettings) -> None:
    log = simulate(10_000, seed=9, noise=(0.8, 1.6))
    orders = pl.DataFrame(pl.from_arrow(log.events))
    day = (pl.col("issued_at") - orders["issued_at"].min()).dt.total_days()
    late = orders.with_columns(late=day >= DAYS // 2)
    apart = late.filter(pl.col("late") == (pl.col("ranker") == "ranker-1")).drop("late")
    pause = pl.duration(days=pl.when(pl.col("ranker") == "ranker-1").then(30).otherwise(0))
    events = apart.with_columns(pl.col("issued_at") + pause).to_arrow().cast(log.events.schema)
    assert of("harvested", estimated(events, settings)).ranks[0].impressions == 0
    assert of("harvested", estimated(events, settings, harvest_days=1000.0)).usable


def test_a_ranker_whose_order_depends_on_the_user_is_no_intervention(settings: FeedbackSettings) -> None:
    """Each event has an order of its own, and it puts first what this user is going to click."""
    log = simulate(10_000, seed=10)
    clicked = pl.col("clicked_passage_ids")
    personal = pl.concat_list(clicked, pl.col("shown_passage_ids").list.set_difference(clicked))
    events = replaced(log, shown_passage_ids=personal)
    comparable = of("harvested", estimated(events, settings)).ranks[0].impressions
    assert comparable < 0.2 * of("harvested", estimated(log.events, settings)).ranks[0].impressions


def test_too_few_impressions_or_too_wide_an_interval_give_no_propensity(settings: FeedbackSettings) -> None:
    log = simulate(3000, seed=11, randomised=1.0, queries=100)
    few = estimated(log.events, settings, min_rank_impressions=3001)
    assert few.used is None
    assert "impressions by rank are [3000, 3000," in few.words
    assert "feedback.min_rank_impressions is 3001" in few.words
    strict = estimated(log.events, settings, max_interval_ratio=1.3)
    loose = estimated(log.events, settings, max_interval_ratio=3.0)
    usable = [[rank.usable for rank in of("randomised", found).ranks] for found in (strict, loose)]
    assert sum(usable[0]) < sum(usable[1]) == 8
    assert strict.values(floor=0.01).count(None) > loose.values(floor=0.01).count(None) == 2  # ranks 9 and 10


def test_values_are_relative_to_the_most_examined_rank_and_lifted_to_the_floor(settings: FeedbackSettings) -> None:
    found = estimated(simulate(20_000, seed=12, randomised=0.5, eta=1.5).events, settings)
    values = [value for value in found.values(floor=0.2) if value is not None]
    assert max(values) == 1.0
    assert min(values) == 0.2
    assert len(values) == 8


def test_the_same_events_give_the_same_estimate_and_it_survives_json(settings: FeedbackSettings) -> None:
    log = simulate(5000, seed=13, randomised=0.3)
    once, again = (estimated(log.events, settings) for _ in range(2))
    assert [rank.usable for rank in once.estimates[0].ranks] == [rank.usable for rank in again.estimates[0].ranks]
    np.testing.assert_allclose(
        [r.low for r in once.estimates[0].ranks[:8]], [r.low for r in again.estimates[0].ranks[:8]], rtol=1e-9
    )
    assert Propensities.from_dict(json.loads(json.dumps(once.to_dict(), allow_nan=False))) == once


def test_clicks_without_noise_give_the_propensities_exactly() -> None:
    propensity = np.array([1.0, 0.6, 0.5, 0.2])
    material = np.random.default_rng(1).uniform(5, 50, (4, 4))
    material = material + material.T
    wins = propensity[:, None] * material * (1 - np.eye(4))
    np.testing.assert_allclose(bradley_terry(wins), propensity, rtol=1e-5)
    wins[3], wins[:, 3] = 0, 0
    np.testing.assert_allclose(bradley_terry(wins), [1.0, 0.6, 0.5, np.nan], rtol=1e-5)
    chain = wins * (abs(np.subtract.outer(range(4), range(4))) == 1)
    np.testing.assert_allclose(bradley_terry(chain), [1.0, 0.6, 0.5, np.nan], rtol=1e-4)


def test_no_events_are_no_propensities(settings: FeedbackSettings) -> None:
    assert estimated(simulate(0, seed=1).events, settings).used is None
