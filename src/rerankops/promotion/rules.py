"""The gate's rules about the evidence itself. One that fails refuses everybody."""

from __future__ import annotations

import math

import numpy as np

from rerankops.promotion import budget, words
from rerankops.promotion.evidence import AMOUNTS, OPTIONAL, SHARES, Case, Thresholds, amount
from rerankops.records import Rule


def unusable(asked: Thresholds) -> Rule | None:
    """A threshold that is no number in its range: nothing can be asked of the evidence. None when all are usable."""
    for name in (*SHARES, *AMOUNTS):
        value = getattr(asked, name, math.nan)
        if value is None and name in OPTIONAL:
            continue
        most = 1.0 if name in SHARES else math.inf
        if value is None or not math.isfinite(value) or not 0 <= value <= most:
            told = f"thresholds: promotion.{name} is {value}, so nothing can be measured by it; set it"
            return Rule("thresholds", None, None, None, False, told, "unknown")
    if not asked.metrics or len(set(asked.metrics)) < len(asked.metrics):
        told = f"thresholds: promotion.metrics is {list(asked.metrics)}, so nothing can be measured by it; set it"
        return Rule("thresholds", None, None, None, False, told, "unknown")
    return None


def about_the_evidence(case: Case) -> list[Rule]:
    """Every rule of this module, in the order in which they are told."""
    each = (gold, verdicts, leaks, data, champion, labels, judge, gold_budget)
    return [rule(case) for rule in each]


def gold(case: Case) -> Rule:
    asked, evidence = case.asked.min_questions, case.evidence
    odd = [name for name in (evidence.incumbent, *evidence.contenders) if not case.has(name)]
    known = case.aligned and case.n > 0
    if case.given == 0:
        told = f"there are no gold questions with {case.first}, so nothing can be shown"
    elif not case.aligned:
        told = "which of the gold questions no report has shown yet is not known"
    elif case.n == 0:
        told = f"a report has shown the results of all {case.given} questions; new ones are needed"
    elif odd:
        told = f"{odd[0]} has no values for the {case.given} gold questions, so nothing can be compared"
    else:
        told = f"{case.n} questions that no report has shown yet (of {case.given}), at least {asked} are asked for"
    verdict = "unknown" if odd or not known else _verdict(case.n >= asked)
    return Rule("gold", float(asked), float(case.n), None, verdict == "passed", f"gold: {told}", verdict)


def verdicts(case: Case) -> Rule:
    asked = case.asked.max_missing_share
    names = dict.fromkeys((case.evidence.incumbent, *case.evidence.contenders))
    involved = [case.values[case.first][name] for name in names if case.has(name)]
    missing = np.any([np.isnan(values) for values in involved], axis=0) if involved else np.ones(1)
    share = float(np.mean(missing))
    told = (
        f"verdicts: {int(np.sum(missing))} of {case.n} questions lack a verdict ({words.percent(share)}), "
        f"{words.percent(asked)} are tolerated"
    )
    return Rule("verdicts", asked, share, None, share <= asked, told, _verdict(share <= asked))


def leaks(case: Case) -> Rule:
    found = case.evidence.leaks
    if found is None:
        told = "leaks: whether gold questions are in the training data is not known"
        return Rule("leaks", 0.0, None, None, False, told, "unknown")
    shown = ", ".join(str(leak) for leak in found[:3]) + (" …" if len(found) > 3 else "")
    told = (
        f"leaks: {len(found)} gold question(s) are in the training data ({shown}); remove them and train again"
        if found
        else "leaks: no gold question is in the training data"
    )
    return Rule("leaks", 0.0, float(len(found)), None, not found, told, _verdict(not found))


def data(case: Case) -> Rule:
    validated = case.evidence.data_validated
    if validated is True:
        told = "data: what the contenders were trained on passed validation"
        return Rule("data", 1.0, 1.0, None, True, told, "passed")
    if validated is False:
        told = "data: what the contenders were trained on failed validation; mend it and train again"
        return Rule("data", 1.0, 0.0, None, False, told, "failed")
    told = "data: whether what the contenders were trained on was validated is not known"
    return Rule("data", 1.0, None, None, False, told, "unknown")


def champion(case: Case) -> Rule:
    expected, now = case.evidence.champion_expected, case.evidence.champion_now
    against = case.evidence.incumbent
    passed = False
    if expected != now:
        told = f"it was {words.version(expected)} when measured and is {words.version(now)} now; evaluate again"
    elif now is not None and against != "champion":
        told = f"{words.version(now)} is in production, but the comparison is with {against}; evaluate again"
    elif now is None and against == "champion":
        told = "the comparison is with a champion that the registry does not have; evaluate again"
    else:
        passed = True
        told = f"the comparison is with {words.version(now) if now else against}, still in production"
    return Rule("champion", None, None, None, passed, f"champion: {told}", _verdict(passed))


def labels(case: Case) -> Rule:
    asked, measured = case.asked.blend_alpha, case.evidence.blend_p_value
    if measured is None or not 0 <= measured <= 1:
        told = "labels: whether the fit to development labels beats chance is not known"
        return Rule("labels", asked, None, None, False, told, "unknown")
    passed = measured <= asked
    verdict = "beats chance" if passed else "is not better than chance, so the labels teach nothing"
    told = f"labels: the fit to development labels {verdict} ({words.p(measured)}, at most {asked:g} is asked for)"
    return Rule("labels", asked, measured, None, passed, told, _verdict(passed))


def judge(case: Case) -> Rule:
    asked, measured = case.asked.min_judge_agreement, case.evidence.judge_agreement
    used = case.evidence.judged_by_llm
    if used is False:
        return Rule("judge", asked, None, None, True, "judge: no language model judged the answers", "passed")
    low, high = interval = case.evidence.judge_interval or (math.nan, math.nan)
    if used is None or measured is None or not 0 <= low <= measured <= high <= 1:
        told = (
            "whether a language model judged the answers is not known"
            if used is None
            else "how far the language model that judged agrees with people is not known; have people judge a sample"
        )
        return Rule("judge", asked, None, None, False, f"judge: {told}", "unknown")
    passed = low >= asked
    told = (
        f"judge: the language model agrees with people on {words.percent(measured)} of a labelled sample (95 % "
        f"interval {100 * low:.1f} to {100 * high:.1f}), at least {words.percent(asked)} must be sure"
    )
    if not passed:
        told += "; use another model or prompt" if high < asked or measured < asked else "; have people judge more"
    return Rule("judge", asked, measured, interval, passed, told, _verdict(passed))


def gold_budget(case: Case) -> Rule:
    asked, level, alpha = case.asked.min_level, amount(case.evidence.level), case.asked.alpha
    if level is None or level > alpha:
        told = f"gold budget: at which level, of at most {alpha:g}, this look may be made is not known"
        return Rule("gold budget", asked, None, None, False, told, "unknown")
    passed = level > 0 and level >= asked
    told = (
        f"gold budget: this look is made at {level:.2g}, half of what earlier ones left of {alpha:g}, the chance that "
        "any ranker that is no better is ever promoted on these questions"
    )
    if not passed:
        told += f"; below {asked:g} it is spent: freeze a new version with new questions"
        bought = [
            _bought(case, level, wanted) for wanted in (alpha / 8, alpha / 4) if wanted > level and wanted >= asked
        ]
        told += "".join(text for text in bought if text)
    return Rule("gold budget", asked, level, None, passed, told, _verdict(passed))


def _bought(case: Case, level: float, wanted: float) -> str | None:
    """What a look at a level takes, and what it would notice of the dearest contender."""
    more = budget.new_questions(level, wanted, case.n, case.asked.alpha)
    if more is None:
        return None
    told = f"; {more:,} new ones beside these buy a look at {wanted:.2g}"
    names = [name for name in case.evidence.contenders if case.comparable(name)]
    if not names:
        return told
    share = case.asked.first_metric_share if len(case.metrics) > 1 else 1.0
    gain = case.detectable(names[-1], case.evidence.incumbent, wanted * share) * math.sqrt(case.n / (case.n + more))
    return f"{told}, which notices a gain of about {words.points(gain, sign=False)} four times in five"


def _verdict(passed: bool) -> str:
    return "passed" if passed else "failed"
