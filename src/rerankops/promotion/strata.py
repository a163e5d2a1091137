"""The gate's rules about parts of the questions: a loss in a stratum, or in the refusals of a reader that can refuse.

One family of tests of the hypothesis "nothing is lost here", see gate.py. The arithmetic is in evaluation.significance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rerankops.evaluation import significance
from rerankops.promotion import words
from rerankops.promotion.evidence import POWER, REFUSALS, SMALL, Case, Floats, Thresholds, interval, shares
from rerankops.records import Rule


@dataclass(frozen=True)
class Group:
    """Questions that are tested as one. name: what a person accepts. told: in words. differences: of the contender and
    the incumbent. churn: the share of such questions that fall to either side when the two are equally good.
    allowed: the loss that must be noticed."""

    name: str
    told: str
    differences: Floats
    churn: float
    allowed: float

    def noticed(self, level: float) -> float | None:
        """The loss that a test at this level notices four times in five; None: not even all."""
        n = int(self.differences.size)
        return significance.noticeable_loss(n, churn=round(self.churn, 3), level=level, power=POWER)

    def needed(self, level: float) -> int | None:
        """How many questions like these notice the allowed loss four times in five; None: not even a million."""
        return significance.questions_noticing(self.allowed, churn=round(self.churn, 3), level=level, power=POWER)


def rules(case: Case, name: str) -> list[Rule]:
    """A rule a group, Holm-corrected over the strata and the refusals."""
    found, unknown = _refusals(case, name)
    groups = [*groups_of(case, name), *found]
    p_values = significance.holm([significance.p_better(-group.differences) for group in groups])
    each = level(len(groups), case.asked)
    told = [_lost(case, name, group, p, each) for group, p in zip(groups, p_values, strict=True)]
    return [*told, *unknown]


def level(groups: int, asked: Thresholds) -> float:
    """Of the first step of Holm's procedure: a loss in one group alone has to be shown at it."""
    return asked.stratum_alpha / max(1, groups)


def part(rule: Rule) -> str:
    """The name of the group that a rule is about, by which a person accepts it."""
    return rule.name.partition(": ")[2].removeprefix("stratum ")


def groups_of(case: Case, name: str) -> list[Group]:
    """The strata that have enough questions, and one of all others."""
    differences = case.differences(name, case.evidence.incumbent)
    labels = case.strata
    parts = {label: differences[labels == label] for label in sorted(set(labels.tolist()))}
    least = case.asked.min_stratum_questions
    small = [label for label, part in parts.items() if part.size < least]
    tested = {label: (f"stratum {label}", part) for label, part in parts.items() if label not in small}
    if small:
        told = f"{SMALL} ({', '.join(small)})"
        tested[SMALL] = (told, np.concatenate([parts[label] for label in small]))
    churns = churn([part for _, part in tested.values()])
    allowed = case.asked.max_unnoticed_stratum_loss
    return [
        Group(label, told, part, share, allowed)
        for (label, (told, part)), share in zip(tested.items(), churns, strict=True)
    ]


def churn(parts: Sequence[Floats]) -> list[float]:
    """The share of each group's questions that two equally good systems would answer differently, estimated together.

    What the net difference has beyond its standard deviation under equality is no churn but gain or loss, and is taken
    off. Shares of small groups are then drawn towards the common one, the more so the less they vary beyond chance (the
    moment estimator of the intraclass correlation of a beta-binomial distribution: Kleinman, "Proportions with
    extraneous variance", 1973). Of graded differences it is the variance, which plays the same part.
    """
    sizes = np.asarray([part.size for part in parts], dtype=np.float64)
    if not sizes.sum():
        return [1.0] * len(parts)
    counts = np.asarray([_unexplained(part) for part in parts])
    common = (float(counts.sum()) + 1) / (float(sizes.sum()) + 2)
    own = np.divide(counts, sizes, out=np.full_like(counts, common), where=sizes > 0)
    spare = float(sizes.sum() - (sizes**2).sum() / sizes.sum())
    weight = math.inf
    if len(parts) > 1 and spare > 0 and 0 < common < 1:
        beyond = float(sizes @ (own - common) ** 2) / (common * (1 - common)) - (len(parts) - 1)
        alike = min(1.0, max(0.0, beyond / spare))
        weight = (1 - alike) / alike if alike > 0 else math.inf
    if math.isinf(weight):
        return [common] * len(parts)
    drawn: list[float] = ((counts + weight * common) / (sizes + weight)).tolist()
    return drawn


def _unexplained(part: Floats) -> float:
    squares, net = float(part @ part), abs(float(part.sum()))
    if np.all(np.isin(part, (-1.0, 0.0, 1.0))):
        return squares - max(0.0, net - math.sqrt(squares))
    return max(0.0, squares - net**2 / max(1, part.size))


def _lost(case: Case, name: str, group: Group, p: float, level: float) -> Rule:
    part, n = group.differences, int(group.differences.size)
    mean = float(part.mean()) if n else 0.0
    bounds = interval(part, case.asked.alpha)
    noticed = group.noticed(level)
    told = (
        f"{name}, {group.told}: {words.points(mean)} on {n} questions ({words.interval(bounds, case.asked.alpha)}, "
        f"{words.p(p)} of no loss)"
    )
    seen = "no loss would be noticed" if noticed is None else f"a loss of {words.points(noticed, sign=False)} would be"
    allowed = words.points(group.allowed, sign=False)
    accepted = case.evidence.accepted_strata.get(group.name)
    if p <= case.asked.stratum_alpha and mean < 0:
        verdict, reason = "failed", "shown to be worse"
    elif noticed is not None and noticed <= group.allowed:
        verdict, reason = "passed", f"not shown to be worse; {seen} noticed four times in five"
    else:
        often = "" if noticed is None else " noticed four times in five"
        reason = f"cannot tell about {group.name}: {seen}{often}, {allowed} must be"
        enough = group.needed(level)
        takes = (
            f"that takes {max(1, enough - n):,} more questions" if enough else "no number of questions like these does"
        )
        reason += f"; {takes}"
        verdict = "accepted" if accepted else "cannot tell"
        reason += f". Accepted by name: {accepted}" if accepted else f", or a person who accepts {group.name!r} by name"
    title = f"{name}: {REFUSALS}" if group.name == REFUSALS else f"{name}: stratum {group.name}"
    passed = verdict in ("passed", "accepted")
    return Rule(title, -group.allowed, mean, bounds, passed, f"{told}: {reason}", verdict)


# -- refusals --------------------------------------------------------------------------------------------------------


def _refusals(case: Case, name: str) -> tuple[list[Group], list[Rule]]:
    """The questions without an answer as a group, or the rule that says why they are none."""
    allowed, measured = case.asked.max_unnoticed_refusal_loss, case.evidence.refused
    title, told = f"{name}: {REFUSALS}", f"{name}, {REFUSALS}"
    if allowed is None:
        return [], []
    if measured is not None and not measured:
        reason = f"{told}: the reader cannot refuse, so nothing is asked"
        return [], [Rule(title, -allowed, None, None, True, reason, "not gated")]
    of, against = (_column(measured, system) for system in (name, case.evidence.incumbent))
    if of is None or against is None or of.size != against.size or not of.size:
        reason = (
            f"{told}: not known on the same questions without an answer for {name} and {case.evidence.incumbent}; "
            "measure them, or set promotion.max_unnoticed_refusal_loss to null"
        )
        return [], [Rule(title, -allowed, None, None, False, reason, "unknown")]
    missing = float(np.mean(np.isnan(of) | np.isnan(against)))
    if missing > case.asked.max_missing_share:
        reason = (
            f"{told}: {words.percent(missing)} of {of.size} questions without an answer lack a verdict, "
            f"{words.percent(case.asked.max_missing_share)} are tolerated"
        )
        return [], [Rule(title, -allowed, None, None, False, reason, "unknown")]
    part = np.nan_to_num(of, nan=0.0) - np.nan_to_num(against, nan=1.0)
    told = f"{REFUSALS} ({words.percent(float(np.nanmean(of)))} against {words.percent(float(np.nanmean(against)))})"
    return [Group(REFUSALS, told, part, churn([part])[0], allowed)], []


def _column(measured: Mapping[str, ArrayLike] | None, name: str) -> NDArray[np.float64] | None:
    """Refusals of a system; what is neither 0 nor 1 is no verdict."""
    if measured is None or name not in measured:
        return None
    values = shares(measured[name])
    return np.where(np.isin(values, (0.0, 1.0)), values, np.nan)
