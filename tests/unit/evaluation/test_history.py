"""The learning history: rows from decision documents, and what many of them come to."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from rerankops.evaluation.history import entry, incumbent, learning, subject
from rerankops.evaluation.report.chronicle import DRAWN, chronicle
from rerankops.records import SYSTEMS, PromotionDecision

LADDER: dict[str, Any] = {
    "systems": [
        {"name": "retrieval_only", "n": 96, "accuracy": 0.6},
        {"name": "tuned_fusion", "n": 96, "accuracy": 0.7},
        {"name": "champion", "n": 96, "accuracy": 0.65},
        {"name": "challenger", "n": 96, "accuracy": 0.75},
        {"name": "teacher", "n": 96, "accuracy": 0.8},
    ],
    "comparisons": [
        {"of": of, "against": against, "metric": metric, "difference": difference, "interval": [0.0, 0.2], "n": 90}
        for of, against, metric, difference in (
            ("challenger", "champion", "hit@1", 0.9),
            ("challenger", "tuned_fusion", "accuracy", 0.05),
            ("challenger", "champion", "accuracy", 0.1),
            ("tuned_fusion", "champion", "accuracy", 0.04),
        )
    ],
}
DECISION = asdict(PromotionDecision(True, "challenger", (), ("better",)))


def row(
    promoted: bool, accuracy: float | None, before: float | None, gold: str | None = "g", **more: Any
) -> dict[str, Any]:
    return {
        "promoted": promoted,
        "accuracy": accuracy,
        "incumbent_accuracy": before,
        "difference": None if accuracy is None or before is None else accuracy - before,
        "gold": gold,
        **more,
    }


def test_a_row_says_what_was_compared_with_what_was_in_production() -> None:
    made = entry(DECISION, LADDER, at="2026-11-21T19:33:39+00:00", version="3", gold="gold_questions/a", run_id="r")
    assert json.loads(json.dumps(made, allow_nan=False)) == {
        "at": "2026-11-21T19:33:39+00:00",
        "version": "3",
        "system": "challenger",
        "promoted": True,
        "cannot_tell": False,
        "accuracy": 0.75,
        "incumbent_accuracy": 0.65,
        "difference": 0.1,
        "interval": [0.0, 0.2],
        "gold": "gold_questions/a",
        "n": 90,
        "run_id": "r",
    }


def test_a_row_is_about_the_promoted_system_else_the_challenger() -> None:
    fusion = entry({**DECISION, "system": "tuned_fusion"}, LADDER, at=None)
    assert (fusion["system"], fusion["accuracy"], fusion["difference"]) == ("tuned_fusion", 0.7, 0.04)
    refused = entry({"promote": False, "system": None, "cannot_tell": True}, LADDER, at=None)
    assert (refused["system"], refused["promoted"], refused["cannot_tell"]) == ("challenger", False, True)


@pytest.mark.parametrize("ladder", [{}, {"systems": [], "comparisons": None}, {"systems": [{"name": "champion"}]}])
def test_what_a_ladder_does_not_say_is_none(ladder: dict[str, Any]) -> None:
    made = entry({"promote": False, "system": None}, ladder, at=None)
    assert (made["accuracy"], made["difference"], made["interval"], made["n"]) == (None, None, None, None)


def test_the_incumbent_is_the_champion_where_there_is_one() -> None:
    assert incumbent(SYSTEMS) == "champion"
    assert incumbent(["retrieval_only", "challenger"]) == "retrieval_only"
    assert incumbent(["challenger"]) is None
    assert subject(None, ["retrieval_only", "tuned_fusion", "teacher"]) == "tuned_fusion"
    assert subject(None, []) is None


def test_learning_counts_outcomes_and_follows_what_was_in_production() -> None:
    read = learning(
        [
            row(True, 0.60, 0.50),
            row(False, 0.58, 0.60),
            row(False, 0.62, 0.60, cannot_tell=True),
            row(True, 0.66, 0.57, "h"),
            row(False, None, None, "h"),
        ]
    )
    assert (read.promoted, read.refused, read.undecided) == (2, 2, 1)
    assert read.gained == pytest.approx(0.19)
    assert [step.served for step in read.steps] == [0.60, 0.60, 0.60, 0.66, None]
    assert [step.fresh_gold for step in read.steps] == [False, False, False, True, False]
    assert [step.outcome for step in read.steps] == ["promoted", "refused", "cannot tell", "promoted", "refused"]


def test_nothing_promoted_gained_nothing_that_is_known() -> None:
    assert learning([]).gained is None
    assert learning([row(False, 0.5, 0.6)]).gained is None


def test_the_line_steps_at_a_promotion_and_breaks_at_new_gold() -> None:
    told = chronicle([row(True, 0.6, 0.5), row(False, 0.5, 0.6), row(True, 0.7, 0.6), row(False, 0.4, 0.5, "h")])
    assert len(told.served) == 1, "one decision on new gold makes no line"
    points = [tuple(map(float, point.split(","))) for point in told.served[0].split()]
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert [y for _, y in points][:3] == [points[0][1]] * 3, "level while nothing is promoted"
    assert points[-2][0] == points[-1][0], "upright where something is"
    assert points[-1][1] < points[-2][1], "better is higher up, which is a smaller y"
    assert len(told.fresh) == 1
    assert [point.latest for point in told.points] == [False, False, False, True]


def test_a_long_history_is_drawn_from_its_latest_decisions_and_counted_whole() -> None:
    told = chronicle([row(place % 2 == 0, 0.5, 0.5) for place in range(DRAWN + 40)])
    assert (len(told.points), told.earlier) == (DRAWN, 40)
    assert told.learning.promoted == (DRAWN + 40) // 2
    assert told.points[0].step.number == 41


def test_accuracies_that_are_not_known_leave_gaps() -> None:
    told = chronicle([row(True, 0.5, 0.4), row(False, None, None), row(False, 0.5, 0.5), row(False, 0.5, 0.5)])
    assert [point.y is None for point in told.points] == [False, True, False, False]
    assert len(told.served) == 1
