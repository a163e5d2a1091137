"""The budget of the gold questions in force: what was spent, what is left, what new questions would buy."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from gold_looks import TEXTS, compared_before_looks_were_stored, gold, here, labels, look

from rerankops import cli
from rerankops.pipeline.context import Context
from rerankops.pipeline.corpus import GOLD
from rerankops.pipeline.gold_budget import gold_budget
from rerankops.pipeline.judgments import JUDGMENTS

ALPHA = 0.05


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return here(tmp_path, alpha=ALPHA)


def told(
    folder: Path, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0
) -> str:
    patch.setenv("RERANKOPS__WORKSPACE__ROOT", str(folder / "workspace"))
    patch.setenv("RERANKOPS__PROMOTION__ALPHA", str(ALPHA))
    patch.setattr(sys, "argv", ["rerankops", "gate", *arguments])
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert (end.value.code or 0) == code
    return capsys.readouterr().out


def test_before_any_look_half_of_alpha_is_to_be_had(context: Context) -> None:
    context.workspace.point(GOLD, gold(context))
    found = gold_budget(context=context)
    assert (found.made, found.spent, found.level, found.bought) == ((), 0, ALPHA / 2, {})
    assert (found.questions, found.unseen) == (len(TEXTS), len(TEXTS))


def test_after_looks_it_says_what_each_cost_and_what_new_questions_buy(context: Context) -> None:
    questions = gold(context)
    context.workspace.point(GOLD, questions)
    first, second = (look(context, questions, name) for name in ("one", "two"))
    found = gold_budget(context=context)
    assert [(each.number, each.level, each.overlap) for each in found.made] == [(1, 0.025, 1), (2, 0.0125, 1)]
    assert not any(each.finished for each in found.made)
    assert (found.unseen, found.held_back) == (len(second.decided), len(TEXTS) - len(first.shown))
    assert found.level == pytest.approx(ALPHA / 8)
    assert list(found.bought) == [ALPHA / 4]
    fresh = {f"n{number}": f"新的问题，第{number}个" for number in range(found.bought[ALPHA / 4])}
    context.workspace.point(GOLD, gold(context, TEXTS | fresh))
    assert gold_budget(context=context).level >= ALPHA / 4


def test_the_command_tells_it_in_a_table_and_in_words(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = gold(context)
    context.workspace.point(GOLD, questions)
    then = labels(context, [("q1", "p1", 3)])
    compared_before_looks_were_stored(context, gold(context, {"a1": "只在旧的一套里的问题"}), "old", judgments=then)
    look(context, questions, judgments=then)
    context.workspace.point(JUDGMENTS, labels(context, [("q1", "p1", 3), ("q2", "p1", 0)]))
    shown = " ".join(told(tmp_path, monkeypatch, capsys, "looks").split())
    assert "evaluations/one (not finished)" in shown
    assert "before" in shown
    assert "The next look is made at 0.0125, half of what is left of 0.05 (promotion.alpha)" in shown
    assert "Retraining: 1 new or changed labels since the last retraining, 100 make one due" in shown
    data = json.loads(told(tmp_path, monkeypatch, capsys, "looks", "--json"))
    assert [(each["number"], each["overlap"]) for each in data["made"]] == [(0, 0.0), (1, 1.0)]


def test_when_every_question_was_shown_it_says_that_new_ones_are_needed(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = gold(context)
    context.workspace.point(GOLD, questions)
    compared_before_looks_were_stored(context, questions, "old")
    assert "nothing can be decided until there are new ones" in told(tmp_path, monkeypatch, capsys, "looks")


def test_power_begins_with_what_is_left(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    context.workspace.point(GOLD, gold(context))
    shown = told(tmp_path, monkeypatch, capsys, "power", code=2)  # nothing was measured that a power could come from
    assert shown.startswith(f"{len(TEXTS)} gold questions")
    assert "The next look is made at 0.025, half of what is left of 0.05" in shown
