"""The gate's rules about a contender: better than the incumbent, within its budgets, and worth more than a cheaper one.

The strata are in strata.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rerankops.evaluation import significance
from rerankops.promotion import words
from rerankops.promotion.evidence import Case, Difference, amount
from rerankops.records import Rule

# -- against the incumbent -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """A way in which one system may be better than another.

    difference: in the metric that is said to gain. p: of the claim, weighted by the metric's share, so that a claim
    with p <= level may be made at that level. kept: p of "the first metric loses its margin or more", for a gain in
    another one.
    """

    difference: Difference
    p: float
    kept: float | None = None


def claims(case: Case, of: str, against: str) -> list[Claim]:
    """One a metric, the first metric's first.

    Together they are wrong at most as often as the smallest p says. Neither metric gains: the shares add up to 1
    (Bonferroni's weighted test). The first one loses its margin: both parts of every other claim have to be rejected
    (Berger, "Multiparameter hypothesis testing and acceptance sampling", 1982, the intersection-union test), and a
    first metric shown to gain is shown not to lose.
    """
    others = [metric for metric in case.metrics if metric != case.first and case.usable(metric, of, against)]
    share = case.asked.first_metric_share if others else 1.0
    first = case.difference(of, against)
    found = [Claim(first, _weighted(first.p, share))]
    if others:
        margin = case.asked.inferiority_margin
        kept = significance.p_non_inferior(case.differences(of, against), margin=margin)
        for metric in others:
            difference = case.difference(of, against, metric)
            p = _weighted(difference.p, (1 - share) / len(others))
            found.append(Claim(difference, max(p, kept), kept))
    return found


def _weighted(p: float, share: float) -> float:
    return min(1.0, p / share) if share > 0 else 1.0


def superiority(case: Case, names: Sequence[str]) -> dict[str, Rule]:
    """A rule a contender, Holm-corrected over them."""
    against = case.evidence.incumbent
    made = {name: claims(case, name, against) for name in names}
    adjusted = significance.holm([min(claim.p for claim in made[name]) for name in names])
    return {name: _superior(case, name, made[name], p) for name, p in zip(names, adjusted, strict=True)}


def undecided(case: Case, name: str) -> bool:
    """Whether a gain of the first metric that matters is neither shown nor ruled out."""
    return case.difference(name, case.evidence.incumbent).high >= case.asked.smallest_effect


def _superior(case: Case, name: str, made: Sequence[Claim], p: float) -> Rule:
    against, level = case.evidence.incumbent, case.level
    passed = level > 0 and p <= level
    best = next((claim for claim in made if claim.p <= level), made[0])
    told = f"{name}: {_claimed(case, name, against, best)}"
    if not passed:
        told += "".join(f"; {_claimed(case, name, against, claim)}" for claim in made[1:])
    if (cost := case.cost(name, against)) is not None:
        told += f", for {cost}"
    told += f"; corrected {words.p(p)}, the level of this look is {level:.2g}"
    if not passed:
        told += _unshown(case, name, level * (case.asked.first_metric_share if len(made) > 1 else 1.0))
    verdict = "passed" if passed else "cannot tell" if undecided(case, name) else "failed"
    bounds = (best.difference.low, best.difference.high)
    return Rule(f"{name}: superiority", 0.0, best.difference.mean, bounds, passed, told, verdict)


def _claimed(case: Case, name: str, against: str, claim: Claim) -> str:
    told = case.told(name, against, claim.difference.p, claim.difference.metric)
    if claim.kept is None:
        return told
    margin = words.points(case.asked.inferiority_margin, sign=False)
    first = case.difference(name, against)
    return f"{told}, {case.first} ({words.points(first.mean)}) losing {margin} or more: {words.p(claim.kept)}"


def _unshown(case: Case, name: str, level: float) -> str:
    difference = case.difference(name, case.evidence.incumbent)
    detectable = case.detectable(name, case.evidence.incumbent, level)
    told = (
        f"; not shown to be better. With these {case.n} questions a true difference of about "
        f"{words.points(min(detectable, 1.0), sign=False)} of {case.first} would be noticed four times in five"
    )
    matters = words.points(case.asked.smallest_effect, sign=False)
    if not undecided(case, name):
        return f"{told}, and a gain of {matters} or more is ruled out"
    if difference.mean > 0 and math.isfinite(detectable):
        sought = max(difference.mean, case.asked.smallest_effect)
        needed = math.ceil(case.n * (detectable / sought) ** 2)
        return (
            f"{told}; whether it gains {matters} or more, this gold set cannot tell: about {needed:,} questions "
            f"would notice {words.points(sought, sign=False)} four times in five"
        )
    return f"{told}; a gain of {matters} is not ruled out either"


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
    margin = case.asked.cheaper_margin
    made = claims(case, dearer, cheaper)
    enough = [claim for claim in made if claim.p < case.asked.alpha and claim.difference.mean > margin]
    passed, difference = bool(enough), (enough or made)[0].difference
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
    return f"{case.told(dearer, cheaper, difference.p, difference.metric)}, for {cost or 'a cost that is not known'}"
