"""A person between the gate and the champion: who is asked, what, and what an answer does to a real registry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from passed_decision import REASON, decided, here

from rerankops.errors import PromotionRefused
from rerankops.pipeline import approval, models, promotion
from rerankops.pipeline.context import Context
from rerankops.pipeline.incumbent import registry

AT = "2026-09-01T08:00:00+00:00"
NO_ANSWER = {"approved": False, "by": None, "reason": "", "at": AT}
YES = {"approved": True, "by": "li", "reason": "looked at the won questions", "at": AT}
NO = {"approved": False, "by": "li", "reason": "the gold set has aged", "at": AT}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("approval")


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


@pytest.fixture
def at(folder: Path, tmp_path: Path, name: str) -> Context:
    """promotion.approval is human. A model of its own a test, in one database: creating its tables takes seconds."""
    return context_with(folder, tmp_path, name)


def context_with(folder: Path, tmp_path: Path, name: str, ui_url: str | None = None, **promotion: Any) -> Context:
    settings = {"approval": "human", "approval_timeout_hours": 48} | promotion
    tree = {"promotion": settings, "registry": {"model_name": name, "ui_url": ui_url}}
    return here(tmp_path / "overlay.yaml", folder, tree)


def champion(at: Context) -> str | None:
    now = registry(at).champion()
    return now.version if now else None


def test_registering_a_winner_moves_no_serving_alias(at: Context, name: str) -> None:
    decision = decided(at, name)
    registered = promotion.register(decision, context=at)
    assert (registered["promoted"], registered["system"], registered["version"]) == (False, "tuned_fusion", "1")
    assert champion(at) is None
    assert promotion.register(decision, context=at) == registered


def test_a_person_decides_where_the_settings_say_so_and_the_gate_elsewhere(
    at: Context, folder: Path, tmp_path: Path, name: str
) -> None:
    registered = promotion.register(decided(at, name), context=at)
    assert approval.who_decides(registered, context=at) == "person"
    alone = context_with(folder, tmp_path, name, approval="none")
    assert approval.who_decides(registered, context=alone) == "gate"


def test_nobody_is_asked_about_a_refusal(at: Context, name: str) -> None:
    registered = promotion.register(decided(at, name, promote=False), context=at)
    assert registered["system"] is None
    assert approval.who_decides(registered, context=at) is None


def test_the_question_holds_the_reasons_the_rules_and_the_report(
    at: Context, folder: Path, tmp_path: Path, name: str
) -> None:
    decision = decided(at, name)
    registered = promotion.register(decision, context=at)
    asked = approval.question(decision, registered, context=at)
    assert asked["subject"] == f"Promote version 1 (tuned_fusion) of {name}?"
    assert (asked["hours"], asked["approvers"]) == (48, [])
    assert f"- {REASON}" in asked["body"]
    assert f"- passed: {REASON}" in asked["body"]
    assert "within 48 hours" in asked["body"]
    assert "no champion yet" in asked["body"]
    (report,) = [line for line in asked["body"].splitlines() if line.startswith("Report: ")]
    assert Path(report.removeprefix("Report: ").strip("`")).is_file()
    served = context_with(folder, tmp_path, name, ui_url="https://mlflow.example/", approvers=["li", "wang"])
    asked = approval.question(decision, registered, context=served)
    assert f"(https://mlflow.example/#/runs/{registered['run_id']})" in asked["body"]
    assert asked["approvers"] == ["li", "wang"]


def test_nothing_is_promoted_past_the_person(at: Context, name: str) -> None:
    decision = decided(at, name)
    with pytest.raises(PromotionRefused, match="nobody approved version 1"):
        promotion.promote(decision, context=at)
    with pytest.raises(PromotionRefused, match="li rejected version 1"):
        promotion.promote(decision, approval=NO, context=at)
    assert champion(at) is None


def test_an_approval_promotes_once_and_says_who(at: Context, name: str) -> None:
    decision = decided(at, name)
    promoted = promotion.promote(decision, approval=YES, context=at)
    assert (promoted["promoted"], champion(at)) == (True, "1")
    (move,) = registry(at).audit()
    assert move["action"] == "promote"
    assert move["actor"] == f"li, approving decision {decision}"
    assert move["reason"].startswith("looked at the won questions")
    assert promotion.promote(decision, approval=YES, context=at) == promoted
    assert len(registry(at).audit()) == 1
    assert approval.who_decides(promotion.register(decision, context=at), context=at) == "gate"  # not asked again


def test_a_rejection_stands_and_says_who_and_why(at: Context, name: str) -> None:
    decision = decided(at, name)
    rejected = approval.reject(decision, NO, context=at)
    assert rejected == {"promoted": False, "version": "1", "by": "li", "reason": "the gold set has aged"}
    assert approval.reject(decision, NO, context=at) == rejected
    (move,) = registry(at).audit()
    assert (move["action"], move["version"], move["champion"]) == ("reject", "1", "")
    assert (move["actor"], move["reason"]) == ("li", "the gold set has aged")
    assert champion(at) is None
    assert approval.who_decides(promotion.register(decision, context=at), context=at) is None
    with pytest.raises(PromotionRefused, match="turned down by li"):
        promotion.promote(decision, approval=YES, context=at)


def test_silence_promotes_nobody_and_is_asked_about_again(at: Context, name: str) -> None:
    decision = decided(at, name)
    silent = approval.reject(decision, NO_ANSWER, context=at)
    assert silent == {"promoted": False, "version": "1", "by": None, "reason": "nobody answered within 48 hours"}
    assert champion(at) is None
    assert approval.reject(decision, NO_ANSWER, context=at) == silent
    (move,) = registry(at).audit()
    assert (move["action"], move["version"], move["champion"], move["reason"]) == ("lapse", "1", "", silent["reason"])
    assert registry(at).resolve("challenger").version == "1"
    assert approval.who_decides(promotion.register(decision, context=at), context=at) == "person"
    assert promotion.promote(decision, approval=YES, context=at)["promoted"]


def test_an_approval_is_not_a_rejection(at: Context, name: str) -> None:
    with pytest.raises(PromotionRefused, match="li approved"):
        approval.reject(decided(at, name), YES, context=at)


def test_an_approval_of_what_was_measured_against_another_champion_is_refused(at: Context, name: str) -> None:
    first, late = decided(at, name), decided(at, f"{name}, late")
    promotion.promote(first, approval=YES, context=at)
    with pytest.raises(PromotionRefused, match="expected was none"):
        promotion.promote(late, approval=YES, context=at)
    assert champion(at) == "1"


@pytest.fixture
def reign(at: Context, name: str) -> Context:
    """Three champions, one after the other: the third serves."""
    for number in (None, "1", "2"):
        promotion.promote(decided(at, f"{name} {number}", champion_version=number), approval=YES, context=at)
    return at


def test_rolling_back_twice_by_mistake_is_refused_when_the_champion_was_named(reign: Context) -> None:
    assert models.roll_back("worse", actor="li", expected_champion="3", context=reign)["version"] == "2"
    with pytest.raises(PromotionRefused, match="expected was version 3"):
        models.roll_back("worse", actor="li", expected_champion="3", context=reign)
    assert champion(reign) == "2"


def test_an_earlier_champion_comes_back_by_its_number(reign: Context, name: str) -> None:
    assert models.roll_back("worse", actor="li", to="1", context=reign)["version"] == "1"
    assert champion(reign) == "1"
    promotion.register(decided(reign, f"{name}, never", champion_version="1"), context=reign)
    for version, words in {"1": "champion already", "4": "never was champion", "99": "never was champion"}.items():
        with pytest.raises(PromotionRefused, match=words):
            models.roll_back("worse", actor="li", to=version, context=reign)
    with pytest.raises(PromotionRefused, match="expected was version 3"):
        models.roll_back("worse", actor="li", to="2", expected_champion="3", context=reign)
    assert champion(reign) == "1"
