"""From clicks, likes and corrections to grades: position taken out, few events shrunk, confidence calibrated."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from click_log import BEGIN, RATES, ClickLog, simulate

from rerankops import config
from rerankops.annotation import feedback
from rerankops.annotation.feedback import Rates, corrections, examinable, graded, impressions, reaction_trials
from rerankops.annotation.feedback.clicks import TRIALS
from rerankops.config import FeedbackSettings
from rerankops.records import Judgment, QueryEvent

HALVED = [1.0, 0.5, 0.25, 0.125]
"""Propensities."""
KNOWN = Rates(RATES, 8.0, (0, 0, 0, 0), measured=True)


@pytest.fixture(scope="session")
def settings() -> FeedbackSettings:
    return config.load(environ={}).feedback


def event(number: int, **more: Any) -> dict[str, Any]:
    bare = {
        "event_id": str(number), "text": "胎压多少", "issued_at": BEGIN, "source": "log", "query_id": "q",
        "shown_passage_ids": ["a", "b", "c", "d"], "clicked_passage_ids": [], "feedback": "none", "redactions": 0,
    }  # fmt: skip
    return bare | more


def trials(rows: dict[str, list[tuple[int, float, float]]]) -> pl.DataFrame:
    """Of each passage: (rank, shown, clicked)."""
    return pl.DataFrame(
        [
            {"query_id": "q", "passage_id": passage, "rank": rank, "shown": shown, "clicked": clicked}
            | {"impressions": int(shown) if rank else 0, "reactions": 0 if rank else int(shown)}
            for passage, parts in rows.items()
            for rank, shown, clicked in parts
        ],
        schema=TRIALS,
    )


def by_passage(table: pl.DataFrame) -> dict[str, dict[str, Any]]:
    return {row["passage_id"]: row for row in table.to_dicts()}


# -- impressions


def test_an_impression_is_a_passage_once_where_it_was_shown_first() -> None:
    events = QueryEvent.table(
        [
            event(1, shown_passage_ids=["b", "a", "b", "c"], clicked_passage_ids=["c", "c", "never shown"]),
            event(2, shown_passage_ids=[], clicked_passage_ids=["a"]),
            event(3, query_id=None),
        ]
    )
    rows = impressions(events, max_rank=3).select("passage_id", "rank", "length", "clicked").rows()
    assert rows == [("b", 1, 3, False), ("a", 2, 3, False), ("c", 3, 3, True)]
    assert impressions(events, max_rank=2)["clicked"].any() is False


def test_ranks_without_a_propensity_are_left_out() -> None:
    shown = impressions(QueryEvent.table([event(1)]), max_rank=4)
    assert examinable(shown, [1.0, None, 0.3])["passage_id"].to_list() == ["a", "c"]
    assert examinable(shown, []).height == 0


# -- grades


def test_the_same_clicks_count_more_further_down(settings: FeedbackSettings) -> None:
    same = trials({"top": [(1, 200, 20)], "low": [(4, 200, 20)]})
    table, _ = graded(same, HALVED, KNOWN, settings)
    found = by_passage(table)
    assert found["top"]["rate"] == pytest.approx(0.1, abs=0.02)
    assert found["low"]["rate"] == pytest.approx(0.8, abs=0.12)
    assert (found["top"]["grade"], found["low"]["grade"]) == (1, 3)


def test_few_impressions_stay_near_what_passages_are_like(settings: FeedbackSettings) -> None:
    many = {f"x{number}": [(1, 100.0, 5.0)] for number in range(50)}
    table, _ = graded(trials(many | {"few": [(1, 10, 3)], "often": [(1, 1000, 300)]}), HALVED, KNOWN, settings)
    found = by_passage(table)
    assert found["few"]["rate"] < 0.25 < found["often"]["rate"]
    assert found["often"]["rate"] == pytest.approx(0.3, abs=0.03)


def test_too_few_impressions_say_nothing(settings: FeedbackSettings) -> None:
    table, _ = graded(trials({"few": [(1, 9, 9)], "enough": [(1, 6, 1), (2, 4, 0)]}), HALVED, KNOWN, settings)
    assert table["passage_id"].to_list() == ["enough"]
    assert table["impressions"].to_list() == [10]


def test_impressions_at_a_rank_that_nobody_knows_count_for_nothing(settings: FeedbackSettings) -> None:
    split = trials({"a": [(1, 50, 5), (2, 500, 400)]})
    assert graded(split, [1.0, None], KNOWN, settings)[0]["rate"][0] == pytest.approx(0.1, abs=0.03)


def rated(log: ClickLog, judged: float, settings: FeedbackSettings) -> tuple[pl.DataFrame, Rates]:
    """Every passage with its truth."""
    shown = impressions(log.events, max_rank=10)
    propensity = feedback.estimate(shown, settings, seed=1).values(floor=settings.min_propensity)
    rows = feedback.click_trials(examinable(shown, propensity), {})
    rates = feedback.measured_rates(rows, log.judged(judged, seed=2), propensity, settings)
    table, _ = graded(rows, propensity, rates, settings)
    return table.join(log.truth, on=["query_id", "passage_id"], suffix="_true"), rates


def calibration_error(probability: pl.Series, right: pl.Series, bins: int = 10) -> float:
    """Expected calibration error."""
    p, y = probability.to_numpy(), right.to_numpy().astype(float)
    place = np.minimum((p * bins).astype(int), bins - 1)
    return float(sum(abs((p - y)[place == b].mean()) * (place == b).mean() for b in np.unique(place)))


@pytest.fixture(scope="module")
def log() -> ClickLog:
    return simulate(60_000, seed=21, randomised=0.1)


def test_people_s_judgments_tell_which_rates_belong_to_which_grade(log: ClickLog, settings: FeedbackSettings) -> None:
    _, rates = rated(log, 0.5, settings)
    assert rates.measured
    np.testing.assert_allclose(rates.means, RATES, rtol=0.15)
    assert 5 < rates.concentration < 13  # 8


def test_confidence_is_what_it_says(log: ClickLog, settings: FeedbackSettings) -> None:
    table, rates = rated(log, 0.25, settings)
    assert rates.measured
    assert calibration_error(table["confidence"], table["grade"] == table["grade_true"]) <= 0.05
    assert calibration_error(table["relevant"], table["grade_true"] >= 2) <= 0.05
    sure = table.filter((pl.col("relevant") - 0.5).abs() >= 0.3)
    assert sure.height > table.height / 2
    assert ((sure["relevant"] > 0.5) == (sure["grade_true"] >= 2)).mean() > 0.9


def test_without_people_the_settings_rates_tell_the_sides(log: ClickLog, settings: FeedbackSettings) -> None:
    table, rates = rated(log, 0.01, settings)
    assert not rates.measured
    assert rates.means == settings.click_rates
    assert min(rates.anchors) < settings.min_anchors
    assert calibration_error(table["relevant"], table["grade_true"] >= 2) <= 0.1


def test_grades_that_clicks_do_not_tell_apart_share_a_rate(log: ClickLog, settings: FeedbackSettings) -> None:
    """People who swap grades 1 and 2."""
    judged = pl.DataFrame(pl.from_arrow(log.judged(0.5, seed=2)))
    swapped = judged.with_columns(pl.col("grade").replace({1: 2, 2: 1})).to_arrow()
    shown = impressions(log.events, max_rank=10)
    propensity = [float(value) for value in log.propensity]
    rows = feedback.click_trials(examinable(shown, propensity), {})
    rates = feedback.measured_rates(rows, Judgment.conform(swapped), propensity, settings)
    assert rates.means[0] < rates.means[1] == rates.means[2] < rates.means[3]


# -- reactions


def reacted(
    settings: FeedbackSettings, *events: dict[str, Any], **weights: float
) -> dict[str, tuple[float, float, int]]:
    table = reaction_trials(QueryEvent.table(events), settings, weights)
    assert set(table["rank"]) <= {0}
    return {row["passage_id"]: (row["shown"], row["clicked"], row["reactions"]) for row in table.to_dicts()}


def test_a_like_is_of_what_was_opened_else_of_what_came_first(settings: FeedbackSettings) -> None:
    like, skip = settings.like_clicks, settings.dislike_skips
    assert reacted(settings, event(1, feedback="up", clicked_passage_ids=["c", "d", "c"])) == {
        "c": (like, like, 1),
        "d": (like, like, 1),
    }
    assert reacted(settings, event(1, feedback="up")) == {"a": (like, like, 1)}
    assert reacted(settings, event(1, feedback="down"), event(2, feedback="down")) == {"a": (2 * skip, 0.0, 2)}
    assert reacted(settings, event(1, feedback="up", shown_passage_ids=[])) == {}
    assert reacted(settings, event(1, clicked_passage_ids=["a"])) == {}


def test_a_correction_names_the_answer_and_is_not_disliked(settings: FeedbackSettings) -> None:
    named = settings.correction_clicks
    found = reacted(settings, event(1, feedback="down", clicked_passage_ids=["b", "c"], preferred_passage_id="c"))
    assert found == {"b": (settings.dislike_skips, 0.0, 1), "c": (named, named, 1)}


def test_groups_weigh_as_the_settings_say(settings: FeedbackSettings) -> None:
    dealer, owner = event(1, feedback="up", user_group="dealers"), event(2, feedback="down", user_group="owners")
    assert reacted(settings, dealer, owner, dealers=2.0) == {
        "a": (2 * settings.like_clicks + settings.dislike_skips, 2 * settings.like_clicks, 2)
    }
    assert reacted(settings, dealer, owner, dealers=0.0)["a"][:2] == (settings.dislike_skips, 0.0)


def test_clicks_of_groups_weigh_too(settings: FeedbackSettings) -> None:
    events = QueryEvent.table(
        [event(1, user_group="dealers", clicked_passage_ids=["a"]), event(2), event(3, user_group="x")]
    )
    rows = feedback.click_trials(examinable(impressions(events, max_rank=1), HALVED), {"dealers": 3.0})
    assert rows.select("shown", "clicked", "impressions").rows() == [(5.0, 3.0, 3)]


def test_reactions_alone_make_a_grade_where_nobody_knows_the_propensities(settings: FeedbackSettings) -> None:
    events = QueryEvent.table(
        [
            *(event(n, feedback="up", clicked_passage_ids=["b"]) for n in range(3)),
            *(event(n, feedback="down") for n in range(3, 6)),
            event(6, feedback="up", clicked_passage_ids=["d"]),
        ]
    )
    table, _ = graded(reaction_trials(events, settings, {}), [], KNOWN, settings)
    found = by_passage(table)
    assert set(found) == {"a", "b"}  # d was liked once; feedback.min_reactions is 2
    assert found["b"]["relevant"] > 0.9
    assert found["a"]["relevant"] < 0.1
    assert found["a"]["reactions"] == 3


def test_corrections_are_preferred_to_what_stood_above() -> None:
    events = QueryEvent.table(
        [
            event(1, preferred_passage_id="c"),
            event(2, preferred_passage_id="elsewhere", shown_passage_ids=["a", "b", "a"], user_group="dealers"),
            event(3, preferred_passage_id="a"),
            event(4, preferred_passage_id="a", shown_passage_ids=[]),
        ]
    )
    assert corrections(events).rows() == [
        ("q", "c", "a", None),
        ("q", "c", "b", None),
        ("q", "elsewhere", "a", "dealers"),
        ("q", "elsewhere", "b", "dealers"),
    ]


def test_no_events_make_no_grades(settings: FeedbackSettings) -> None:
    empty = QueryEvent.empty()
    rows = pl.concat(
        [
            feedback.click_trials(examinable(impressions(empty, max_rank=10), HALVED), {}),
            reaction_trials(empty, settings, {}),
        ]
    )
    rates = feedback.measured_rates(rows, Judgment.empty(), HALVED, settings)
    table, _ = graded(rows, HALVED, rates, settings)
    assert table.height == 0
    assert corrections(empty).height == 0
