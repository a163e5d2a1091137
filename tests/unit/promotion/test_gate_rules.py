"""Every rule of the gate: what it measures, its verdict and words, and that without its evidence nobody is promoted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import MISSING, fields, replace
from typing import Any

import numpy as np
import pytest
from test_gate import ALONE, BASE, STRATA, Asked, changed, evidence, gate, rule, strata

from rerankops.promotion.evidence import OPTIONAL, Evidence
from rerankops.records import RULE_VERDICTS

NAN, INF = math.nan, math.inf
REFUSED = changed(np.zeros(200), 120, 0, seed=4)
"""The incumbent's reader refuses 120 of 200 questions without an answer."""
NUMERIC, PLACES = np.asarray(strata(500)) == "numeric", np.arange(500)
STRICT = Asked(max_latency_ms=100.0, max_memory_mb=2048.0)
"""Every rule is asked for."""


def sound(**changes: Any) -> Evidence:
    """Evidence on which every rule of STRICT passes: the challenger is 8 points better and refuses as often."""
    challenger = changed(BASE, 50, 10)
    complete: dict[str, Any] = {
        "contenders": ALONE,
        "values": {"champion": BASE, "challenger": challenger},
        "latency_ms": {"champion": 30.0, "challenger": 40.0},
        "memory_mb": {"champion": 400.0, "challenger": 500.0},
        "refused": {"champion": REFUSED, "challenger": changed(REFUSED, 3, 3, seed=5)},
        "judged_by_llm": True,
        "judge_agreement": 0.95,
        "judge_interval": (0.92, 0.97),
    }
    return evidence(**{**complete, **changes})


def measured(case: Evidence, where: str) -> Any:
    return case.values["accuracy"] if where == "values" else getattr(case, where)


def given_measured(case: Evidence, where: str, systems: Any) -> Evidence:
    return replace(case, **{where: {"accuracy": systems} if where == "values" else systems})


def columns(name: str, change: Callable[[np.ndarray], Any]) -> Callable[[Evidence], Evidence]:
    """Evidence with one array of the challenger or the champion changed."""
    where, system = name.split(".")

    def changing(case: Evidence) -> Evidence:
        held = dict(measured(case, where))
        return given_measured(case, where, {**held, system: change(np.asarray(held[system], dtype=float))})

    return changing


def without(where: str, system: str) -> Callable[[Evidence], Evidence]:
    def removing(case: Evidence) -> Evidence:
        return given_measured(case, where, {k: v for k, v in measured(case, where).items() if k != system})

    return removing


def given(**changes: Any) -> Callable[[Evidence], Evidence]:
    return lambda case: replace(case, **changes)


def spoilt(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def spoiling(array: np.ndarray) -> np.ndarray:
        spoilt_ = array.copy()
        spoilt_[7] = value
        return spoilt_

    return spoiling


# rule -> ways in which its evidence goes missing or bad
DAMAGES: dict[str, list[Callable[[Evidence], Evidence]]] = {
    "gold": [
        given(strata=()),
        given(strata=["a"] * 499),
        given(unseen=None),
        given(unseen=[True] * 499),
        given(unseen=[False] * 500),
        given(unseen=[True] * 99 + [False] * 401),
        given(values={}),
        given(values={"accuracy": {}}),
        without("values", "champion"),
        without("values", "challenger"),
        columns("values.challenger", lambda a: a[:-1]),
        columns("values.champion", lambda a: np.empty(0)),
        columns("values.champion", lambda a: None),
    ],
    "verdicts": [
        columns(f"values.{system}", spoilt(value))
        for system in ("champion", "challenger")
        for value in (NAN, INF, -INF, -1.0, 1.01)
    ],
    "leaks": [given(leaks=None), given(leaks=("q1",))],
    "data": [given(data_validated=None), given(data_validated=False)],
    "champion": [
        given(champion_expected=None),
        given(champion_now=None),
        given(champion_expected=None, champion_now=None),
        given(champion_now="4"),
    ],
    "labels": [given(blend_p_value=value) for value in (None, NAN, INF, -0.1, 1.1, 0.5)],
    "judge": [
        given(judged_by_llm=None),
        *[given(judge_agreement=value) for value in (None, NAN, INF, -INF, -0.5, 1.01, 0.89)],
        *[given(judge_interval=value) for value in (None, (NAN, 1.0), (0.92, NAN), (0.96, 0.99), (0.89, 0.99))],
    ],
    "gold budget": [given(level=value) for value in (None, NAN, INF, -1.0, 0.0, 0.06, 0.00001)],
    "challenger: superiority": [columns("values.challenger", change) for change in (lambda a: BASE, np.zeros_like)],
    "challenger: stratum numeric": [
        columns("values.challenger", lambda a: np.where(NUMERIC, BASE * (PLACES > 90), 1.0))
    ],
    "challenger: refusals": [
        given(refused=None),
        without("refused", "champion"),
        without("refused", "challenger"),
        columns("refused.challenger", lambda a: a[:-1]),
        columns("refused.champion", lambda a: np.empty(0)),
        given(refused={"champion": np.empty(0), "challenger": np.empty(0)}),
        given(refused={"champion": np.ones(5), "challenger": np.ones(5)}),
        columns("refused.challenger", lambda a: 0 * a),
        *[
            columns(f"refused.{system}", spoilt(value))
            for system in ("champion", "challenger")
            for value in (NAN, INF, 0.5, 2.0, -1.0)
        ],
    ],
    "challenger: latency": [
        given(latency_ms={}),
        *[given(latency_ms={"challenger": value}) for value in (None, NAN, INF, -INF, -1.0, 101.0)],
    ],
    "challenger: memory": [
        given(memory_mb={}),
        *[given(memory_mb={"challenger": value}) for value in (None, NAN, INF, -INF, -1.0, 2049.0)],
    ],
}  # fmt: skip


def test_sound_evidence_passes_every_rule_and_every_rule_is_told_whole() -> None:
    decision = gate(sound(), STRICT)
    assert decision.system == "challenger"
    told = {r.name: r for r in decision.rules}
    assert set(DAMAGES) <= set(told)
    assert all(r.passed and r.words and r.verdict in RULE_VERDICTS for r in told.values())
    for name in ("challenger: superiority", "challenger: stratum numeric", "challenger: refusals"):
        low, high = told[name].interval
        assert low <= told[name].measurement <= high
    measured = ("gold", "verdicts", "leaks", "data", "labels", "judge", "gold budget")
    for name in (*measured, "challenger: latency", "challenger: memory"):
        assert told[name].threshold is not None
        assert told[name].measurement is not None


@pytest.mark.parametrize(
    ("name", "damage"), [(name, n) for name, damages in DAMAGES.items() for n in range(len(damages))]
)
def test_without_its_evidence_a_rule_refuses(name: str, damage: int) -> None:
    decision = gate(DAMAGES[name][damage](sound()), STRICT)
    assert not decision.promote
    assert decision.reasons
    found = [r for r in decision.rules if r.name == name]
    # evidence that cannot even be aligned leaves no comparison to ask further rules of
    assert [r.passed for r in found] == [False] or (not found and not rule(decision, "gold").passed)


@pytest.mark.parametrize("field", fields(Evidence), ids=lambda f: f.name)
def test_evidence_that_is_not_given_refuses(field: Any) -> None:
    """A field added to the evidence whose default lets a ranker pass would show here."""
    if field.default is MISSING and field.default_factory is MISSING:
        return  # whoever makes the evidence has to give it
    if field.name == "accepted_strata":
        return  # nothing accepted is what sound evidence says
    default = field.default if field.default is not MISSING else field.default_factory()
    assert not gate(replace(sound(), **{field.name: default}), STRICT).promote


@pytest.mark.parametrize("name", [f.name for f in fields(Asked) if f.name != "metrics"])
@pytest.mark.parametrize("value", [NAN, INF, -0.01, None])
def test_a_threshold_that_is_missing_refuses_unless_it_may_be(name: str, value: float | None) -> None:
    decision = gate(sound(), replace(STRICT, **{name: value}))
    assert decision.promote is (value is None and name in OPTIONAL)
    if not decision.promote:
        assert f"promotion.{name} is {value}" in decision.reasons[0]


def test_what_is_not_asked_for_is_not_needed() -> None:
    asked = replace(STRICT, max_latency_ms=None, max_memory_mb=None, max_unnoticed_refusal_loss=None)
    decision = gate(sound(latency_ms={}, memory_mb={}, refused=None), asked)
    assert decision.promote
    assert not any("latency" in r.name or "memory" in r.name or "refusals" in r.name for r in decision.rules)


# -- refusals --------------------------------------------------------------------------------------------------------


def refusals(won: int, lost: int, n: int = 200) -> Any:
    base = np.zeros(n)
    base[: n // 2] = 1
    of = changed(base, won, lost, seed=6)
    return rule(gate(sound(refused={"champion": base, "challenger": of}), STRICT), "challenger: refusals")


@pytest.mark.parametrize(
    ("won", "lost", "n", "verdict"),
    [
        (0, 0, 200, "passed"),
        (12, 4, 200, "passed"),
        (5, 6, 200, "passed"),
        (2, 6, 200, "passed"),
        (2, 12, 200, "failed"),
        (0, 30, 200, "failed"),
        (0, 1, 24, "cannot tell"),
        (0, 8, 24, "failed"),
    ],
)
def test_a_bolder_reader_has_the_verdicts_of_a_stratum(won: int, lost: int, n: int, verdict: str) -> None:
    found = refusals(won, lost, n)
    assert found.verdict == verdict
    assert found.passed is (verdict == "passed")
    assert found.measurement == pytest.approx((won - lost) / n)


def test_a_bolder_reader_is_refused_in_words() -> None:
    found = refusals(0, 30)
    assert found.words.startswith("challenger, refusals (35.0 % against 50.0 %): -15.0 points on 200 questions")
    assert found.words.endswith("shown to be worse")


def test_a_reader_that_cannot_refuse_is_not_gated_and_says_so() -> None:
    found = rule(gate(sound(refused={}), STRICT), "challenger: refusals")
    assert (found.passed, found.verdict) == (True, "not gated")
    assert "the reader cannot refuse" in found.words


def test_tolerated_missing_refusals_count_against_the_contender() -> None:
    base = np.ones(200)
    holed = base.copy()
    holed[:10] = NAN
    case = sound(refused={"champion": base, "challenger": holed})
    found = rule(gate(case, replace(STRICT, max_missing_share=0.05)), "challenger: refusals")
    assert found.measurement == pytest.approx(-0.05)
    assert found.verdict == "failed"


# -- what the dearer one would have bought ---------------------------------------------------------------------------

COSTS: dict[str, Any] = {
    "latency_ms": {"champion": 30.0, "tuned_fusion": 1.2, "challenger": 41.3, "teacher": 800.0},
    "memory_mb": {"champion": 400.0, "tuned_fusion": 3.0, "challenger": 412.0, "teacher": 2300.0},
}
FUSION = changed(BASE, 45, 8)


def between(challenger: np.ndarray, **changes: Any) -> Evidence:
    values = {"champion": BASE, "tuned_fusion": FUSION, "challenger": challenger}
    return evidence(**{"values": values, **COSTS, **changes})


def test_a_dearer_one_that_is_not_worth_it_is_told_with_gain_interval_and_cost() -> None:
    decision = gate(between(changed(FUSION, 6, 3)))
    assert decision.system == "tuned_fusion"
    [words] = [reason for reason in decision.reasons if "is preferred" in reason]
    assert "challenger would have bought +0.6 points of accuracy" in words
    assert "90 % interval" in words
    assert "for 41.3 ms a query against 1.2 and 412.0 MB against 3.0" in words


def test_a_dearer_one_that_is_worth_it_is_told_with_its_cost_too() -> None:
    decision = gate(between(changed(FUSION, 30, 2)))
    assert decision.system == "challenger"
    [words] = [reason for reason in decision.reasons if "is worth more" in reason]
    assert "for 41.3 ms a query against 1.2 and 412.0 MB against 3.0" in words


def test_a_dearer_one_that_was_refused_is_told_with_what_it_would_have_bought() -> None:
    asked = Asked(max_latency_ms=20.0)
    decision = gate(between(changed(FUSION, 30, 2)), asked)
    assert decision.system == "tuned_fusion"
    assert any(
        reason.startswith("challenger, which was refused, would have bought +5.6 points of accuracy")
        and reason.endswith("for 41.3 ms a query against 1.2 and 412.0 MB against 3.0")
        for reason in decision.reasons
    ), decision.reasons
    over = rule(decision, "challenger: over tuned_fusion")
    assert over.verdict == "not gated"
    assert over.interval[0] < over.measurement < over.interval[1]
    assert any("not promoted: challenger, latency" in reason for reason in decision.reasons)


def test_what_the_teacher_would_buy_is_told_whoever_wins_and_it_never_wins() -> None:
    teacher = changed(FUSION, 40, 0)
    values = {"champion": BASE, "tuned_fusion": FUSION, "challenger": changed(FUSION, 6, 3), "teacher": teacher}
    for contenders in (("tuned_fusion", "challenger"), ("tuned_fusion", "challenger", "teacher")):
        decision = gate(evidence(values=values, contenders=contenders, **COSTS))
        assert decision.system == "tuned_fusion"
        [words] = [reason for reason in decision.reasons if reason.startswith("teacher")]
        assert words.startswith("teacher, which is never promoted, would have bought +8.0 points")
        assert words.endswith("for 800.0 ms a query against 1.2 and 2300.0 MB against 3.0")
    nobody = gate(evidence(values={**values, "tuned_fusion": BASE, "challenger": BASE}, **COSTS))
    assert not nobody.promote
    assert rule(nobody, "teacher: over champion").measurement == pytest.approx(float((teacher - BASE).mean()))


def test_a_refused_gain_is_told_with_what_it_would_cost() -> None:
    decision = gate(between(changed(BASE, 12, 8), contenders=ALONE))
    assert not decision.promote
    assert "for 41.3 ms a query against 30.0 and 412.0 MB against 400.0" in decision.reasons[0]


def test_an_unknown_cost_is_said_to_be_unknown() -> None:
    decision = gate(between(changed(FUSION, 6, 3), latency_ms={}, memory_mb={}))
    assert any("for a cost that is not known" in reason for reason in decision.reasons)
    half = gate(between(changed(FUSION, 6, 3), latency_ms={}, memory_mb={"challenger": 412.0}))
    assert any("for 412.0 MB;" in reason for reason in half.reasons)


def test_a_stratum_tells_its_verdict() -> None:
    told = gate(sound(), STRICT).rules
    found = {r.name: r.verdict for r in told if "stratum" in r.name}
    assert set(found) == {f"challenger: stratum {name}" for name in STRATA}
    rare = sound(strata=["rare" if i < 19 else "common" for i in range(500)])
    assert rule(gate(rare, STRICT), "challenger: stratum small strata").verdict == "cannot tell"
