"""The gate as a table of cases: what is promoted, and above all what is not."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pytest

from rerankops.promotion.gate import Evidence, decide
from rerankops.records import PromotionDecision


@dataclass(frozen=True)
class Asked:
    metrics: tuple[str, ...] = ("accuracy", "ndcg@10")
    first_metric_share: float = 0.8
    inferiority_margin: float = 0.03
    alpha: float = 0.05
    min_level: float = 0.0001
    min_questions: int = 100
    min_stratum_questions: int = 20
    stratum_alpha: float = 0.10
    max_unnoticed_stratum_loss: float = 0.15
    max_unnoticed_refusal_loss: float | None = 0.15
    cheaper_margin: float = 0.005
    max_latency_ms: float | None = None
    blend_alpha: float = 0.01
    max_missing_share: float = 0.0
    smallest_effect: float = 0.01
    max_memory_mb: float | None = None
    min_judge_agreement: float = 0.9


STRATA = ("numeric", "procedure", "summary")


def answers(n: int, right: float, seed: int = 0) -> np.ndarray:
    """n verdicts, a share of them right, in a fixed random order."""
    values = np.zeros(n)
    values[: round(n * right)] = 1
    return np.random.default_rng(seed).permutation(values)


def changed(base: np.ndarray, won: int, lost: int, seed: int = 1, within: np.ndarray | None = None) -> np.ndarray:
    """The same verdicts after `won` wrong ones became right and `lost` right ones wrong."""
    rng = np.random.default_rng(seed)
    within = np.ones(base.size, bool) if within is None else within
    values = base.copy()
    values[rng.choice(np.flatnonzero((base == 0) & within), won, replace=False)] = 1
    values[rng.choice(np.flatnonzero((base == 1) & within), lost, replace=False)] = 0
    return values


def strata(n: int) -> list[str]:
    return [STRATA[i % 3] for i in range(n)]


def superior(n: int) -> dict[str, np.ndarray]:
    champion = answers(n, 0.8)
    return {
        "champion": champion,
        "tuned_fusion": changed(champion, n // 50, n // 50, seed=2),
        "challenger": changed(champion, round(0.1 * n), round(0.02 * n)),
    }


def evidence(n: int = 500, **changes: Any) -> Evidence:
    """A challenger that is 8 points better than the champion; tuned fusion is as good as the champion."""
    sound = Evidence(
        values={"accuracy": superior(n)},
        strata=strata(n),
        incumbent="champion",
        contenders=("tuned_fusion", "challenger"),
        leaks=(),
        data_validated=True,
        champion_expected="3",
        champion_now="3",
        blend_p_value=1e-9,
        unseen=[True] * n,
        level=0.025,
        refused={},
        judged_by_llm=False,
    )
    if not set(changes.get("values", {"accuracy": 0})) & {"accuracy", "mrr@10"}:
        changes["values"] = {"accuracy": changes["values"]}
    if "strata" in changes and "unseen" not in changes:
        changes["unseen"] = [True] * len(changes["strata"])
    return replace(sound, **changes)


def gate(case: Evidence, asked: Asked | None = None) -> PromotionDecision:
    return decide(case, asked or Asked())


def rule(decision: PromotionDecision, name: str) -> Any:
    return next(r for r in decision.rules if r.name == name)


def test_a_superior_challenger_is_promoted_with_numbers_in_the_reason() -> None:
    decision = gate(evidence())
    assert (decision.promote, decision.system) == (True, "challenger")
    assert (
        "challenger: +8.0 points of accuracy (88.0 % against 80.0 % of champion, 500 questions" in decision.reasons[0]
    )


BASE = answers(500, 0.8)
SUPERIOR = superior(500)
NOTHING = {system: np.empty(0) for system in SUPERIOR}


def against_base(challenger: np.ndarray, **changes: Any) -> Evidence:
    return evidence(values={"champion": BASE, "tuned_fusion": BASE, "challenger": challenger}, **changes)


def one_missing(system: str) -> Evidence:
    holed = SUPERIOR[system].copy()
    holed[3] = np.nan
    return evidence(values={**SUPERIOR, system: holed})


ALONE = ("challenger",)
# what is wrong: evidence, thresholds, words of the reason
REFUSED = {
    "a null challenger": (against_base(changed(BASE, 12, 12)), Asked(), "not shown to be better"),
    "an identical challenger": (against_base(BASE), Asked(), "not shown to be better"),
    "a worse challenger": (against_base(changed(BASE, 5, 40)), Asked(), "not shown to be better"),
    "a gain that noise explains": (against_base(changed(BASE, 20, 15)), Asked(), "not shown to be better"),
    "a leak": (
        evidence(leaks=("q17", "q18")),
        Asked(),
        "leaks: 2 gold question(s) are in the training data (q17, q18)",
    ),
    "a champion that changed": (
        evidence(champion_now="4"),
        Asked(),
        "was version 3 when measured and is version 4 now",
    ),
    "a champion that appeared": (evidence(champion_expected=None), Asked(), "was none when measured"),
    "a comparison that passes over the champion": (
        evidence(incumbent="retrieval_only", values={**SUPERIOR, "retrieval_only": BASE}),
        Asked(),
        "version 3 is in production, but the comparison is with retrieval_only",
    ),
    "a champion nobody registered": (
        evidence(champion_expected=None, champion_now=None),
        Asked(),
        "the registry does not have",
    ),
    "too few questions": (evidence(n=60), Asked(), "(of 60), at least 100 are asked for"),
    "no gold": (evidence(n=0, values=NOTHING), Asked(), "no gold questions"),
    "no gold and no minimum": (evidence(n=0, values=NOTHING), Asked(min_questions=0), "no gold questions"),
    "a missing verdict": (one_missing("challenger"), Asked(), "1 of 500 questions lack a verdict"),
    "a missing verdict of the incumbent": (one_missing("champion"), Asked(), "1 of 500 questions lack a verdict"),
    "shuffled labels": (evidence(blend_p_value=0.4), Asked(), "is not better than chance"),
    "labels of unknown worth": (evidence(blend_p_value=None), Asked(), "is not known"),
    "labels of undefined worth": (evidence(blend_p_value=float("nan")), Asked(), "is not known"),
    "a system without values": (evidence(contenders=("tuned_fusion", "base")), Asked(), "base has no values"),
    "arrays of another length": (
        evidence(values={**SUPERIOR, "challenger": np.ones(7)}),
        Asked(),
        "challenger has no values for the 500",
    ),
    "no contender": (evidence(contenders=()), Asked(), "no contender"),
    "a slow challenger": (
        evidence(contenders=ALONE, latency_ms={"challenger": 310.0}),
        Asked(max_latency_ms=200),
        "310.0 ms a query, at most 200 ms",
    ),
    "an unmeasured latency": (evidence(contenders=ALONE), Asked(max_latency_ms=200), "latency is not known"),
    "a large challenger": (
        evidence(contenders=ALONE, memory_mb={"challenger": 2300.0}),
        Asked(max_memory_mb=2048),
        "challenger, memory: 2300.0 MB, at most 2048 MB",
    ),
    "an unmeasured memory": (evidence(contenders=ALONE), Asked(max_memory_mb=2048), "memory is not known"),
    "data that failed validation": (
        evidence(data_validated=False),
        Asked(),
        "data: what the contenders were trained on failed",
    ),
    "a judge that people contradict": (
        evidence(judged_by_llm=True, judge_agreement=0.85, judge_interval=(0.78, 0.91)),
        Asked(),
        "agrees with people on 85.0 % of a labelled sample (95 % interval 78.0 to 91.0), at least 90.0 % must be sure; "
        "use another model or prompt",
    ),
    "a judge that was asked too little": (
        evidence(judged_by_llm=True, judge_agreement=0.95, judge_interval=(0.72, 0.99)),
        Asked(),
        "(95 % interval 72.0 to 99.0), at least 90.0 % must be sure; have people judge more",
    ),
    "a teacher as the only contender": (
        evidence(contenders=("teacher",), values={**SUPERIOR, "teacher": np.ones(500)}),
        Asked(),
        "teacher is shown in the ladder and never promoted",
    ),
    "a threshold that is no number": (
        evidence(),
        Asked(stratum_alpha=float("nan")),
        "promotion.stratum_alpha is nan",
    ),
    "a threshold out of its range": (evidence(), Asked(alpha=1.5), "promotion.alpha is 1.5"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_gate_stays_closed_for(name: str) -> None:
    case, asked, words = REFUSED[name]
    decision = gate(case, asked)
    assert not decision.promote
    assert decision.system is None
    assert any(words in reason for reason in decision.reasons), decision.reasons


def test_a_challenger_that_breaks_one_stratum_is_refused() -> None:
    numeric = np.asarray(strata(500)) == "numeric"
    challenger = changed(changed(BASE, 60, 2, within=~numeric), 0, 15, within=numeric)
    decision = gate(evidence(contenders=ALONE, values={"champion": BASE, "challenger": challenger}))
    assert rule(decision, "challenger: superiority").passed
    assert not rule(decision, "challenger: stratum numeric").passed
    assert not decision.promote
    assert any("stratum numeric: -9.0 points on 167 questions" in reason for reason in decision.reasons)


def rare(n: int, lost: int, won: int = 0, **changes: Any) -> Evidence:
    """A challenger that gains 50 questions elsewhere, and in `rare`, the first n of 600, wins and loses some."""
    base = answers(600, 0.8)
    here = np.arange(600) < n
    challenger = changed(changed(base, 50, 2, within=~here), won, lost, within=here)
    labels = ["rare" if at else "common" for at in here]
    return evidence(
        600, strata=labels, contenders=ALONE, values={"champion": base, "challenger": challenger}, **changes
    )


def test_a_stratum_the_gold_set_cannot_tell_about_is_never_a_silent_yes() -> None:
    decision = gate(rare(30, 0))
    assert not decision.promote
    assert (decision.outcome, decision.cannot_tell_about) == ("cannot tell with this gold set", ("rare",))
    [words] = decision.reasons
    assert "cannot tell about rare: a loss of" in words
    assert re.search(r"that takes [1-9]\d* more questions, or a person who accepts 'rare' by name", words)


def test_a_person_may_accept_by_name_what_the_gate_cannot_tell_about() -> None:
    decision = gate(rare(30, 0, accepted_strata={"rare": "Ada: read all thirty answers"}))
    assert decision.system == "challenger"
    assert rule(decision, "challenger: stratum rare").verdict == "accepted"
    assert any("Accepted by name: Ada: read all thirty answers" in reason for reason in decision.reasons)
    assert not gate(rare(30, 0, accepted_strata={"common": "Ada: fine"})).promote


def test_what_is_shown_to_be_worse_cannot_be_accepted() -> None:
    decision = gate(rare(30, 8, accepted_strata={"rare": "Ada: never mind"}))
    assert decision.outcome == "refused"
    assert decision.cannot_tell_about == ()
    assert rule(decision, "challenger: stratum rare").verdict == "failed"


def test_the_questions_that_it_is_said_to_take_would_do() -> None:
    told = rule(gate(rare(30, 0)), "challenger: stratum rare").words
    more = int(re.search(r"that takes ([\d,]+) more", told).group(1).replace(",", ""))
    grown = gate(rare(30 + more + 20, 0))
    assert rule(grown, "challenger: stratum rare").verdict == "passed"


def test_small_strata_are_tested_together() -> None:
    base = answers(600, 0.8)
    labels = [f"rare {i % 4}" if i < 60 else "common" for i in range(600)]
    here = np.arange(600) < 60
    harmed = changed(changed(base, 50, 2, within=~here), 0, 12, within=here)
    decision = gate(
        evidence(600, strata=labels, contenders=ALONE, values={"champion": base, "challenger": harmed}),
    )
    told = rule(decision, "challenger: stratum small strata")
    assert told.verdict == "failed"
    assert "small strata (rare 0, rare 1, rare 2, rare 3): -20.0 points on 60 questions" in told.words


def test_tuned_fusion_is_preferred_when_the_cross_encoder_adds_nothing_measurable() -> None:
    fusion = changed(BASE, 45, 8)
    case = evidence(values={"champion": BASE, "tuned_fusion": fusion, "challenger": changed(fusion, 6, 3)})
    decision = gate(case)
    assert decision.system == "tuned_fusion"
    assert any(
        "tuned_fusion is preferred" in r and "challenger would have bought +0.6 points" in r for r in decision.reasons
    )


def test_a_cross_encoder_that_beats_tuned_fusion_clearly_is_promoted() -> None:
    fusion = changed(BASE, 30, 6)
    case = evidence(values={"champion": BASE, "tuned_fusion": fusion, "challenger": changed(fusion, 30, 4)})
    decision = gate(case)
    assert decision.system == "challenger"
    assert any("challenger is worth more than tuned_fusion" in reason for reason in decision.reasons)


def test_a_significant_gain_below_the_cheaper_margin_is_not_worth_its_latency() -> None:
    fusion = changed(BASE, 45, 8)
    case = evidence(values={"champion": BASE, "tuned_fusion": fusion, "challenger": changed(fusion, 8, 0)})
    assert gate(case).system == "challenger"
    assert gate(case, Asked(cheaper_margin=0.02)).system == "tuned_fusion"


def test_the_first_champion_is_measured_against_retrieval_only() -> None:
    case = evidence()
    first = replace(
        case,
        incumbent="retrieval_only",
        champion_expected=None,
        champion_now=None,
        values={"accuracy": {**SUPERIOR, "retrieval_only": SUPERIOR["champion"]}},
    )
    assert gate(first).system == "challenger"


def test_tolerated_missing_verdicts_count_against_the_contender() -> None:
    fusion, challenger = BASE, changed(BASE, 16, 2)
    case = evidence(values={"champion": BASE, "tuned_fusion": fusion, "challenger": challenger})
    assert gate(case).promote
    holes = challenger.copy()
    holes[np.flatnonzero(challenger == 1)[:10]] = np.nan
    asked = Asked(max_missing_share=0.05)
    assert not gate(replace(case, values={"accuracy": {**case.values["accuracy"], "challenger": holes}}), asked).promote
    champion = BASE.copy()
    champion[np.flatnonzero(BASE == 0)[:10]] = np.nan
    assert not gate(
        replace(case, values={"accuracy": {**case.values["accuracy"], "champion": champion}}), asked
    ).promote


def test_graded_metrics_are_gated_alike() -> None:
    rng = np.random.default_rng(3)
    base = rng.choice([1, 1 / 2, 1 / 3, 0], 600)
    better = np.minimum(1, base + (rng.random(600) < 0.2) * 0.5)
    asked = Asked(metrics=("mrr@10",))
    case = evidence(600, contenders=ALONE, values={"mrr@10": {"champion": base, "challenger": better}})
    assert gate(case, asked).system == "challenger"
    assert not gate(replace(case, values={"mrr@10": {"champion": better, "challenger": base}}), asked).promote


# -- several metrics -------------------------------------------------------------------------------------------------


def both(accuracy: np.ndarray, ranking: np.ndarray, base: np.ndarray, order: np.ndarray) -> Evidence:
    values = {
        "accuracy": {"champion": base, "challenger": accuracy},
        "ndcg@10": {"champion": order, "challenger": ranking},
    }
    return evidence(base.size, values=values, contenders=ALONE)


ORDER = np.random.default_rng(9).choice([1, 0.63, 0.5, 0.43, 0], 1000)
BETTER_ORDER = np.minimum(1, ORDER + (np.random.default_rng(10).random(1000) < 0.15) * 0.4)
LONG = answers(1000, 0.8)


def test_a_gain_in_ranking_promotes_when_accuracy_is_shown_not_to_fall() -> None:
    decision = gate(both(changed(LONG, 25, 20), BETTER_ORDER, LONG, ORDER))
    assert decision.system == "challenger"
    assert "of ndcg@10" in decision.reasons[0]
    assert "accuracy (+0.5 points) losing 3 points or more: p < 0.001" in decision.reasons[0]


def test_a_gain_in_ranking_does_not_promote_what_may_lose_accuracy() -> None:
    decision = gate(both(changed(LONG, 15, 40), BETTER_ORDER, LONG, ORDER))
    assert not rule(decision, "challenger: superiority").passed


def test_questions_without_relevant_passages_are_left_out_of_ranking_metrics_alone() -> None:
    unranked = np.arange(1000) % 50 == 0
    ranking, order = (np.where(unranked, np.nan, values) for values in (BETTER_ORDER, ORDER))
    decision = gate(both(changed(LONG, 25, 20), ranking, LONG, order))
    assert decision.system == "challenger"
    assert "980 questions" in decision.reasons[0]


def test_a_gain_in_accuracy_promotes_alone() -> None:
    assert gate(both(changed(LONG, 60, 15), ORDER, LONG, ORDER)).system == "challenger"


def test_the_other_metrics_share_of_the_level_is_not_lost_where_they_are_not_known() -> None:
    gain = changed(LONG, 32, 16)  # mid-p .011 of at most .0125 alone, and of at most .010 beside another metric
    unknown = np.full(1000, np.nan)
    asked = Asked(alpha=0.025)
    assert gate(replace(both(gain, unknown, LONG, unknown), level=0.0125), asked).promote
    assert not gate(replace(both(gain, ORDER, LONG, ORDER), level=0.0125), asked).promote


# -- looks -----------------------------------------------------------------------------------------------------------


def test_a_decision_rests_on_what_no_report_has_shown() -> None:
    shown = np.arange(1000) < 400
    fitted = np.where(shown, 1.0, LONG)  # every shown question is learnt by heart
    case = evidence(1000, contenders=ALONE, values={"champion": LONG, "challenger": fitted})
    assert gate(case).promote
    unseen = gate(replace(case, unseen=(~shown).tolist()))
    assert not unseen.promote
    assert "600 questions that no report has shown yet (of 1000)" in rule(unseen, "gold").words


def test_when_every_question_was_shown_new_ones_are_asked_for() -> None:
    decision = gate(evidence(unseen=[False] * 500))
    assert not decision.promote
    assert "a report has shown the results of all 500 questions; new ones are needed" in decision.reasons[0]


def test_a_later_look_asks_for_more() -> None:
    gain = evidence(1000, contenders=ALONE, values={"champion": LONG, "challenger": changed(LONG, 40, 20)})
    assert gate(replace(gain, level=0.025)).promote
    assert not gate(replace(gain, level=0.0004)).promote


def test_a_decision_is_the_same_every_time() -> None:
    assert gate(evidence()) == gate(evidence())


def test_two_equal_systems_are_rarely_promoted() -> None:
    """The false promotion rate stays below the level although two contenders try."""
    rng = np.random.default_rng(11)
    promoted = 0
    for _ in range(300):
        champion = (rng.random(300) < 0.8).astype(float)
        case = evidence(
            strata=["all"] * 300,
            values={
                "champion": champion,
                **{
                    name: np.where(rng.random(300) < 0.15, (rng.random(300) < 0.8).astype(float), champion)
                    for name in ("tuned_fusion", "challenger")
                },
            },
        )
        promoted += gate(case).promote
    assert promoted <= 300 * 0.05


def degenerate() -> list[tuple[str, Evidence]]:
    rng = np.random.default_rng(5)
    cases = []
    pools = ([0.0, 1.0], [np.nan], [0.0], [1.0], [0.5, np.nan, 1.0], [np.inf, -np.inf, 0.0], [-5.0, 7.0])
    for index in range(120):
        n = int(rng.choice([0, 1, 2, 3, 20, 130]))
        pick = {
            s: rng.choice(pools[int(rng.integers(len(pools)))], n) for s in ("champion", "tuned_fusion", "challenger")
        }
        if index % 7 == 0:
            pick["challenger"] = np.ones(n + 1)
        if index % 11 == 0:
            del pick["champion"]
        labels = [str(rng.choice(["a", "b", ""])) for _ in range(n)]
        cases.append((str(index), evidence(values=pick, strata=labels)))
    return cases


@pytest.mark.parametrize(("name", "case"), degenerate())
@pytest.mark.parametrize(
    "asked",
    [
        Asked(),
        Asked(**{f.name: 0.0 for f in fields(Asked) if f.name != "metrics"}),
        Asked(**{f.name: 1.0 for f in fields(Asked) if f.name != "metrics"}),
    ],
    ids=["usual", "all zero", "all one"],
)
def test_degenerate_evidence_never_raises(name: str, case: Evidence, asked: Asked) -> None:
    decision = decide(case, asked)
    assert isinstance(decision, PromotionDecision)
    assert decision.reasons
    assert decision.promote == (decision.system is not None)
    if not len(case.strata) or "champion" not in case.values["accuracy"]:
        assert not decision.promote


@pytest.mark.parametrize(
    ("level", "passed"), [(0.05, True), (0.0001, True), (0.00009, False), (0.051, False), (0.0, False), (None, False)]
)
def test_a_look_is_made_at_the_level_that_is_left(level: float | None, passed: bool) -> None:
    champion = answers(600, 0.7)
    values = {"champion": champion, "challenger": changed(champion, 120, 6)}
    decision = gate(evidence(600, values=values, contenders=ALONE, level=level))
    assert rule(decision, "gold budget").passed is passed
    assert decision.promote is passed
    assert not decision.cannot_tell


def test_a_spent_budget_says_what_new_questions_buy() -> None:
    words = rule(gate(evidence(level=0.00005)), "gold budget").words
    assert "it is spent: freeze a new version with new questions" in words
    assert re.search(
        r"\d+ new ones beside these buy a look at 0.0063, which notices a gain of about [\d.]+ points", words
    )


def test_only_levels_that_pass_and_are_not_there_already_are_offered() -> None:
    words = rule(gate(evidence(level=0.0125), Asked(min_level=0.02)), "gold budget").words
    assert "below 0.02 it is spent" in words
    assert "buy a look" not in words, "half of alpha/2 is the most that new questions buy, and it is below 0.02"


def test_a_gain_that_matters_but_is_not_shown_is_cannot_tell() -> None:
    champion = answers(200, 0.8)
    values = {"champion": champion, "tuned_fusion": champion.copy(), "challenger": changed(champion, 8, 4)}
    decision = gate(evidence(200, values=values))
    assert not decision.promote
    assert decision.cannot_tell
    assert decision.outcome == "cannot tell with this gold set"
    [words] = [reason for reason in decision.reasons if reason.startswith("challenger")]
    assert "this gold set cannot tell: about" in words
    assert "questions would notice 2 points four times in five" in words


def test_a_gain_that_is_ruled_out_is_refused() -> None:
    champion = answers(3000, 0.8)
    same = {"champion": champion, "tuned_fusion": champion.copy(), "challenger": changed(champion, 10, 10)}
    decision = gate(evidence(3000, values=same))
    assert decision.outcome == "refused"
    assert any("a gain of 1 points or more is ruled out" in reason for reason in decision.reasons)


def test_harm_in_a_stratum_is_refused_not_undecided() -> None:
    champion = answers(300, 0.8)
    within = np.asarray([stratum == "numeric" for stratum in strata(300)])
    harmed = changed(changed(champion, 0, 10, within=within), 12, 0, within=~within)
    decision = gate(evidence(300, values={"champion": champion, "challenger": harmed}, contenders=("challenger",)))
    assert decision.outcome == "refused"


def test_evidence_that_is_not_sound_is_refused_not_undecided() -> None:
    champion = answers(200, 0.8)
    values = {"champion": champion, "challenger": changed(champion, 8, 4)}
    decision = gate(evidence(200, values=values, contenders=("challenger",), leaks=("q1",)))
    assert decision.outcome == "refused"
