"""The gate's rules about a contender: against the incumbent, against its budgets, and against a cheaper contender."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from rerankops.evaluation import significance
from rerankops.promotion import words
from rerankops.promotion.evidence import Case, Difference, Floats, amount, shares
from rerankops.records import Rule

# -- against the incumbent -------------------------------------------------------------------------------------------


def superiority(case: Case, names: Sequence[str]) -> dict[str, Rule]:
    """A rule a contender, Holm-corrected over them."""
    found = [case.difference(name, case.evidence.incumbent) for name in names]
    adjusted = significance.holm([difference.p for difference in found])
    return {
        name: _superior(case, name, difference, p) for name, difference, p in zip(names, found, adjusted, strict=True)
    }


def undecided(case: Case, name: str) -> bool:
    """Whether a gain that matters is neither shown nor ruled out."""
    return case.difference(name, case.evidence.incumbent).high >= case.asked.smallest_effect


def _superior(case: Case, name: str, difference: Difference, p: float) -> Rule:
    against = case.evidence.incumbent
    passed = difference.low > 0 and p < case.asked.alpha
    told = f"{name}: {case.told(name, against, p)}"
    if (cost := case.cost(name, against)) is not None:
        told += f", for {cost}"
    if not passed:
        told += (
            f"; not shown to be better. With these {case.n} questions a true difference of about "
            f"{words.points(difference.detectable, sign=False)} would be noticed four times in five"
        )
        matters = words.points(case.asked.smallest_effect, sign=False)
        if not undecided(case, name):
            told += f", and a gain of {matters} or more is ruled out"
        elif difference.mean > 0 and math.isfinite(difference.detectable):
            sought = max(difference.mean, case.asked.smallest_effect)
            needed = math.ceil(case.n * (difference.detectable / sought) ** 2)
            told += (
                f"; whether it gains {matters} or more, this gold set cannot tell: about {needed:,} questions "
                f"would notice {words.points(sought, sign=False)} four times in five"
            )
        else:
            told += f"; a gain of {matters} is not ruled out either"
    verdict = "passed" if passed else "cannot tell" if undecided(case, name) else "failed"
    return Rule(f"{name}: superiority", 0.0, difference.mean, (difference.low, difference.high), passed, told, verdict)


def strata(case: Case, name: str) -> list[Rule]:
    """Non-inferiority in each stratum, Holm-corrected over those that have enough questions."""
    differences = case.differences(name, case.evidence.incumbent)
    labels = np.asarray([str(stratum) for stratum in case.evidence.strata], dtype=object)
    parts = {stratum: differences[labels == stratum] for stratum in sorted(set(labels.tolist()))}
    gated = [stratum for stratum, part in parts.items() if part.size >= case.asked.min_stratum_questions]
    margin = case.asked.stratum_margin
    p_values = significance.holm([significance.p_non_inferior(parts[s], margin=margin) for s in gated])
    adjusted = dict(zip(gated, p_values, strict=True))
    return [
        _no_worse(case, f"{name}: stratum {stratum}", f"{name}, stratum {stratum}", part, margin, adjusted.get(stratum))
        for stratum, part in parts.items()
    ]


def refusals(case: Case, name: str) -> list[Rule]:
    """Non-inferiority of the share of unanswerable questions that the reader refuses behind the contender."""
    margin, measured = case.asked.refusal_margin, case.evidence.refused
    title, told = f"{name}: refusals", f"{name}, refusals"
    if margin is None:
        return []
    if measured is not None and not measured:
        reason = f"{told}: the reader cannot refuse, so nothing is asked"
        return [Rule(title, -margin, None, None, True, reason, "not gated")]
    of, against = (_column(measured, system) for system in (name, case.evidence.incumbent))
    least = max(1, case.asked.min_stratum_questions)
    if of is None or against is None or of.size != against.size or of.size < least:
        reason = (
            f"{told}: not known on {least} questions without an answer, the same for {name} and "
            f"{case.evidence.incumbent}; measure them, or set promotion.refusal_margin to null"
        )
        return [Rule(title, -margin, None, None, False, reason, "unknown")]
    missing = float(np.mean(np.isnan(of) | np.isnan(against)))
    if missing > case.asked.max_missing_share:
        reason = (
            f"{told}: {words.percent(missing)} of {of.size} questions without an answer lack a verdict, "
            f"{words.percent(case.asked.max_missing_share)} are tolerated"
        )
        return [Rule(title, -margin, None, None, False, reason, "unknown")]
    part = np.nan_to_num(of, nan=0.0) - np.nan_to_num(against, nan=1.0)
    p = significance.p_non_inferior(part, margin=margin)
    told += f" ({words.percent(float(np.nanmean(of)))} against {words.percent(float(np.nanmean(against)))})"
    return [_no_worse(case, title, told, part, margin, p)]


def _no_worse(case: Case, title: str, told: str, part: Floats, margin: float, p: float | None) -> Rule:
    """Not worse, worse, or cannot tell; p None: too few questions, told only."""
    alpha = case.asked.alpha
    mean = float(part.mean())
    interval = (
        significance.non_inferiority_lower_bound(part, alpha=alpha),
        -significance.non_inferiority_lower_bound(-part, alpha=alpha),
    )
    told = f"{told}: {words.points(mean)} on {part.size} questions ({words.interval(interval, alpha)})"
    allowed = words.points(margin, sign=False)
    if p is None:
        verdict, reason = "not gated", f"reported only, gated from {case.asked.min_stratum_questions} questions"
    elif p < alpha:
        verdict, reason = "passed", f"shown not to be worse by {allowed} or more"
    elif mean < -margin and part.sum() < -1:
        verdict, reason = "failed", f"worse by more than the {allowed} allowed"
    else:
        verdict = "cannot tell"
        reason = f"this gold set cannot tell whether it is worse by {allowed}; more questions would"
    return Rule(title, -margin, mean, interval, verdict != "failed", f"{told}: {reason}", verdict)


def _column(measured: Mapping[str, ArrayLike] | None, name: str) -> Floats | None:
    """Refusals of a system; what is neither 0 nor 1 is no verdict."""
    if measured is None or name not in measured:
        return None
    values = shares(measured[name])
    return np.where(np.isin(values, (0.0, 1.0)), values, np.nan)


# -- against a budget ------------------------------------------------------------------------------------------------


def budgets(case: Case, name: str) -> list[Rule]:
    """Latency and memory; a budget that is set and a cost that is not known refuse."""
    found = [
        _budget(name, "latency", case.asked.max_latency_ms, case.evidence.latency_ms.get(name), "ms", " a query"),
        _budget(name, "memory", case.asked.max_memory_mb, case.evidence.memory_mb.get(name), "MB", ""),
    ]
    return [rule for rule in found if rule is not None]


def _budget(name: str, what: str, asked: float | None, found: float | None, unit: str, a: str) -> Rule | None:
    if asked is None:
        return None
    measured = amount(found)
    allowed = f"at most {asked:g} {unit} are allowed"
    if measured is None:
        told = f"{name}, {what}: its {what} is not known, {allowed}"
        return Rule(f"{name}: {what}", asked, None, None, False, told, "unknown")
    passed = measured <= asked
    told = f"{name}, {what}: {measured:.1f} {unit}{a}, {allowed}"
    return Rule(f"{name}: {what}", asked, measured, None, passed, told, "passed" if passed else "failed")


# -- a dearer system against a cheaper one ---------------------------------------------------------------------------


def worth(case: Case, dearer: str, cheaper: str) -> Rule:
    """Of two contenders that both may be promoted."""
    difference, margin = case.difference(dearer, cheaper), case.asked.cheaper_margin
    passed = difference.low > 0 and difference.p < case.asked.alpha and difference.mean > margin
    told = _bought(case, dearer, cheaper, difference)
    told = (
        f"{dearer} is worth more than {cheaper}: {told}"
        if passed
        else f"{cheaper} is preferred, being cheaper and as good: {dearer} would have bought {told}; more than "
        f"{words.points(margin, sign=False)}, shown at {case.asked.alpha:g}, would have been worth its latency"
    )
    bounds = (difference.low, difference.high)
    verdict = "passed" if passed else "failed"
    return Rule(f"{dearer}: worth more than {cheaper}", margin, difference.mean, bounds, passed, told, verdict)


def forgone(case: Case, dearer: str, kept: str, why: str) -> Rule:
    """What a dearer system that cannot be promoted would have bought over the one that is kept. Told only."""
    difference = case.difference(dearer, kept)
    told = f"{dearer}, {why}, would have bought {_bought(case, dearer, kept, difference)}"
    bounds = (difference.low, difference.high)
    return Rule(f"{dearer}: over {kept}", None, difference.mean, bounds, True, told, "not gated")


def _bought(case: Case, dearer: str, cheaper: str, difference: Difference) -> str:
    cost = case.cost(dearer, cheaper)
    return f"{case.told(dearer, cheaper, difference.p)}, for {cost or 'a cost that is not known'}"
