"""Which of two passages users prefer: believed only against the order shown, and only when all clicks agree."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from click_log import BEGIN, ClickLog, simulate

from rerankops import config
from rerankops.annotation.feedback import corrections, examinable, impressions, preferences
from rerankops.config import FeedbackSettings
from rerankops.records import QueryEvent

PROPENSITY = [1.0, 0.5, 0.25]


@pytest.fixture(scope="session")
def settings() -> FeedbackSettings:
    return config.load(environ={}).feedback


def events(*rows: tuple[int, list[str], list[str]], **more: Any) -> list[dict[str, Any]]:
    """(how often, shown, clicked)."""
    return [
        {
            "event_id": f"{more}{place}-{number}", "text": "胎压多少", "issued_at": BEGIN, "source": "log",
            "query_id": "q", "shown_passage_ids": shown, "clicked_passage_ids": clicked, "feedback": "none",
            "redactions": 0, **more,
        }
        for place, (count, shown, clicked) in enumerate(rows)
        for number in range(count)
    ]  # fmt: skip


def found(
    settings: FeedbackSettings, rows: list[dict[str, Any]], **weights: float
) -> dict[tuple[str, str, str | None], float]:
    table = QueryEvent.table(rows)
    shown = examinable(impressions(table, max_rank=3), PROPENSITY)
    result = preferences(shown, corrections(table), settings, weights)
    return {(row["better"], row["worse"], row["user_group"]): row["weight"] for row in result.to_dicts()}


def test_what_is_clicked_is_preferred_to_what_was_skipped_above(settings: FeedbackSettings) -> None:
    result = found(settings, events((5, ["a", "b", "c"], ["b"])))
    assert set(result) == {("b", "a", None)}  # c was below: nobody knows whether it was seen
    assert result["b", "a", None] == pytest.approx(2 * (1 - 0.5**6) - 1)


def test_one_click_is_not_enough(settings: FeedbackSettings) -> None:
    assert found(settings, events((1, ["a", "b"], ["b"]))) == {}
    assert set(found(settings, events((2, ["a", "b"], ["b"])))) == {("b", "a", None)}


def test_clicks_on_the_upper_one_speak_against_it(settings: FeedbackSettings) -> None:
    """At rank 2 a click counts twice: 10 clicks beside 19 at rank 1 are no preference, beside 5 they are."""
    assert found(settings, events((10, ["a", "b"], ["b"]), (19, ["a", "b"], ["a"]))) == {}
    assert set(found(settings, events((10, ["a", "b"], ["b"]), (5, ["a", "b"], ["a"])))) == {("b", "a", None)}


def test_a_click_on_both_is_no_contradiction(settings: FeedbackSettings) -> None:
    assert found(settings, events((9, ["a", "b"], ["a", "b"]))) == {}


def share_right(pairs: pl.DataFrame, log: ClickLog) -> float:
    """Of (query_id, better, worse): how often the better one attracts more."""
    truth = log.truth.select("query_id", "passage_id", "rate")
    better = pairs.join(truth, left_on=["query_id", "better"], right_on=["query_id", "passage_id"])
    both = better.join(truth, left_on=["query_id", "worse"], right_on=["query_id", "passage_id"], suffix="_worse")
    assert both.height == pairs.height
    return float((both["rate"] > both["rate_worse"]).mean())  # type: ignore[arg-type]


def skipped_above(shown: pl.DataFrame) -> pl.DataFrame:
    """The plain rule: every passage that was clicked below one that was not, at least three times."""
    clicked = shown.filter("clicked").select("event", "query_id", "rank", better="passage_id")
    above = shown.filter(~pl.col("clicked")).select("event", above="rank", worse="passage_id")
    pairs = clicked.join(above, on="event").filter(pl.col("above") < pl.col("rank"))
    counted = pairs.group_by("query_id", "better", "worse").len().filter(pl.col("len") >= 3)
    return counted.cast({"query_id": pl.String, "better": pl.String, "worse": pl.String})


def test_a_good_passage_that_is_always_first_is_not_contradicted(settings: FeedbackSettings) -> None:
    """Clicked over skipped above, taken alone, contradicts a ranker the more, the better it is."""
    log = simulate(30_000, seed=31, noise=(0.3,), queries=100)
    shown = examinable(impressions(log.events, max_rank=8), list(log.propensity))
    result = preferences(shown, corrections(log.events), settings, {})
    assert result.height > 100
    assert share_right(skipped_above(shown), log) < 0.5
    assert share_right(result, log) > 0.85


def test_preferences_are_right_as_often_as_they_say(settings: FeedbackSettings) -> None:
    log = simulate(60_000, seed=32)
    shown = examinable(impressions(log.events, max_rank=8), list(log.propensity))
    result = preferences(shown, corrections(log.events), settings, {})
    assert result.height > 1000
    claimed = float((result["weight"].mean() + 1) / 2)  # type: ignore[operator]
    assert share_right(result, log) == pytest.approx(claimed, abs=0.03)


def test_a_correction_counts_as_several_clicks(settings: FeedbackSettings) -> None:
    result = found(settings, events((1, ["a", "b", "c"], []), preferred_passage_id="c"))
    assert set(result) == {("c", "a", None), ("c", "b", None)}
    assert result["c", "a", None] == pytest.approx(1 - 2 * 0.5 ** (settings.correction_clicks + 1))
    weak = settings.model_copy(update={"correction_clicks": 1.0})
    assert found(weak, events((1, ["a", "b", "c"], []), preferred_passage_id="c")) == {}


def test_groups_have_preferences_of_their_own_beside_those_of_all(settings: FeedbackSettings) -> None:
    dealers = events((6, ["a", "b"], ["b"]), user_group="dealers")
    owners = events((20, ["b", "a"], ["a"]), user_group="owners")
    everyone = found(settings, dealers + owners)
    assert set(everyone) == {("b", "a", "dealers"), ("a", "b", "owners"), ("a", "b", None)}
    weighted = found(settings, dealers + owners, dealers=9.0)
    assert set(weighted) == {("b", "a", "dealers"), ("a", "b", "owners"), ("b", "a", None)}
    assert weighted["b", "a", "dealers"] == pytest.approx(everyone["b", "a", "dealers"])


def test_without_propensities_only_corrections_speak(settings: FeedbackSettings) -> None:
    rows = QueryEvent.table(events((9, ["a", "b"], ["b"])) + events((1, ["b", "a"], []), preferred_passage_id="a"))
    shown = examinable(impressions(rows, max_rank=3), [])
    result = preferences(shown, corrections(rows), settings, {})
    assert result.select("better", "worse").rows() == [("a", "b")]


def test_no_clicks_make_no_preferences(settings: FeedbackSettings) -> None:
    assert found(settings, events((50, ["a", "b"], []))) == {}
    empty = preferences(
        examinable(impressions(QueryEvent.empty(), max_rank=3), PROPENSITY),
        corrections(QueryEvent.empty()),
        settings,
        {},
    )
    assert empty.height == 0
    assert empty.schema["user_group"] == pl.String
