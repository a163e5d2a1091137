"""The gate: does the evidence justify another ranker in production? Pure, and closed unless every rule says open.

Rules about the evidence itself; one that fails refuses everybody:

| rule         | passes when                                                                       |
|--------------|-----------------------------------------------------------------------------------|
| gold         | at least `min_questions` questions, and every system was asked all of them        |
| verdicts     | the share of questions lacking any system's verdict is at most `max_missing_share` |
| leaks        | no gold question is known in the training data                                    |
| champion     | the champion is the one that the evidence compares with                           |
| labels       | the fit to development labels beats chance (`blend_p_value` <= `blend_alpha`)      |
| gold budget  | this comparison and the earlier ones on the same gold spend at most               |
|              | `gold_error_budget`, `alpha` each; see below                                      |

Rules about each contender against the incumbent:

| rule         | passes when                                                                       |
|--------------|-----------------------------------------------------------------------------------|
| superiority  | the one-sided lower bound of the paired difference is above 0, and its p-value,   |
|              | Holm-corrected over the contenders, below `alpha`                                 |
| stratum NAME | not shown to be worse; see below                                                  |
| latency      | the median is known and at most `max_latency_ms`, when that is set                |

**Strata.** Requiring non-inferiority to be *shown* in each stratum would refuse nearly every good ranker: with 150
questions of which a tenth tell two equal systems apart, the lower bound lies about 4 points below zero, so a margin of
3 can never be shown. Requiring only that harm be not *shown* would let a small gold set approve anything. A stratum
therefore has three verdicts:
- "not worse": the test of H0 "difference <= -margin" (Bonett-Price, Holm-corrected over the gated strata) rejects;
- "worse": not shown, and the difference itself lies below -margin and costs more than one question: refused, although
  that may be bad luck, since the best estimate is harm beyond what was allowed;
- "cannot tell": not shown, but the difference itself is within the margin: passes, and the reasons say that this gold
  set cannot tell.
With 150 questions an equal ranker is refused by one stratum about one time in eight, one that is 3 points worse one
time in two and one that is 6 points worse seven times in eight; more gold sharpens all three. What is promoted is in
any case better overall. A stratum below `min_stratum_questions` is reported, not gated.

**One gold set, many comparisons.** Each comparison promotes a ranker that is no better with a chance of at most
`alpha`, so k of them are expected to cost at most k times alpha false promotions, however they depend on one another
(the union bound). `gold_error_budget` says how much the same gold questions may cost; when it is spent, the gate asks
for new ones. Deciding again about the same evaluation is not another comparison; one on an earlier version of the gold
set counts by the share of today's questions that it used.

**Cannot tell.** A contender whose interval reaches from no gain to `smallest_effect` or more is neither shown to be
better nor shown not to be. When nothing but that stands in the way, the outcome is "cannot tell with this gold set",
and the reasons say how many questions would tell.

**The cheapest that is as good.** Contenders come cheapest first. A dearer one that passes is preferred to a cheaper
one that passes only when it is worth its latency: better by more than `cheaper_margin`, and significantly so.

A missing verdict that is tolerated counts as wrong for the contender and right for what it is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rerankops.evaluation import significance
from rerankops.records import PromotionDecision, Rule

Floats = NDArray[np.float64]

_POWER = 0.8
"""A difference reported as detectable is noticed four times in five."""


class Thresholds(Protocol):
    """What the gate asks for; `settings.promotion` is one."""

    @property
    def alpha(self) -> float: ...
    @property
    def min_questions(self) -> int: ...
    @property
    def min_stratum_questions(self) -> int: ...
    @property
    def stratum_margin(self) -> float: ...
    @property
    def cheaper_margin(self) -> float: ...
    @property
    def max_latency_ms(self) -> float | None: ...
    @property
    def blend_alpha(self) -> float: ...
    @property
    def max_missing_share(self) -> float: ...
    @property
    def smallest_effect(self) -> float: ...
    @property
    def gold_error_budget(self) -> float: ...


@dataclass(frozen=True)
class Evidence:
    """What is known when the gate decides.

    metric: the primary metric, in [0, 1]. values: it, question by question, a system; nan where there is no verdict.
    strata: each question's stratum, in the same order.
    incumbent: the system in production: "champion", or "retrieval_only" when there is none yet.
    contenders: who may be promoted, cheapest first.
    leaks: what was found of gold in the training data, in words or identifiers.
    champion_expected: the registry's champion that `values` were measured against; champion_now: the registry's now.
    blend_p_value: of the likelihood-ratio test that the blend fits the development labels better than chance; None when
    it is not known, which refuses.
    latency_ms: median per query of each system.
    comparisons_before: other evaluations made on these gold questions, one that shared only a part of them counted by
    that part; None: not known, which refuses.
    """

    metric: str
    values: Mapping[str, ArrayLike]
    strata: Sequence[str]
    incumbent: str
    contenders: tuple[str, ...]
    leaks: tuple[str, ...] = ()
    champion_expected: str | None = None
    champion_now: str | None = None
    blend_p_value: float | None = None
    latency_ms: Mapping[str, float | None] = field(default_factory=dict)
    comparisons_before: float | None = None


def decide(evidence: Evidence, thresholds: Thresholds, *, bootstrap_samples: int, seed: int) -> PromotionDecision:
    """Promote one contender or nobody, with every rule's measurement and the reasons as sentences. Never raises on
    thin, odd or missing evidence: it refuses."""
    case = _Case(evidence, thresholds, bootstrap_samples, seed)
    shared = [case.gold(), case.verdicts(), case.leaks(), case.champion(), case.labels(), case.gold_budget()]
    names = [name for name in evidence.contenders if case.comparable(name)]
    superiority = dict(zip(names, case.superiority(names), strict=True))
    rules: dict[str, list[Rule]] = {
        name: [superiority[name], *case.strata(name), *case.latency(name)] for name in names
    }
    everything = shared + [rule for name in names for rule in rules[name]]
    sound = all(rule.passed for rule in shared)
    passing = [name for name in names if all(rule.passed for rule in rules[name])]
    if not sound or not passing:
        refusal = tuple(_refusal(everything, evidence, names))
        failing = {name: [rule for rule in rules[name] if not rule.passed] for name in names}
        open_ = [name for name, failed in failing.items() if failed == [superiority[name]] and case.undecided(name)]
        return PromotionDecision(False, None, tuple(everything), refusal, cannot_tell=sound and bool(open_))

    chosen, preferences = passing[0], []
    for dearer in passing[1:]:
        worth = case.worth(dearer, chosen)
        preferences.append(worth)
        chosen = dearer if worth.passed else chosen
    reasons = [superiority[chosen].words, *(rule.words for rule in preferences)]
    reasons += [rule.words for rule in rules[chosen] if "cannot tell" in rule.words]
    for name in names:
        if name not in passing:
            reasons += [f"not promoted: {rule.words}" for rule in rules[name] if not rule.passed]
    return PromotionDecision(True, chosen, tuple(everything + preferences), tuple(reasons))


def _refusal(rules: Iterable[Rule], evidence: Evidence, compared: Sequence[str]) -> list[str]:
    reasons = [rule.words for rule in rules if not rule.passed]
    reasons += [
        f"{name} was not compared: no values aligned with the questions"
        for name in evidence.contenders
        if name not in compared
    ]
    if not evidence.contenders:
        reasons.append("there is no contender to promote")
    return reasons


class _Case:
    """Evidence with its arrays in shape, and one method a rule."""

    def __init__(self, evidence: Evidence, thresholds: Thresholds, samples: int, seed: int) -> None:
        self.evidence, self.asked = evidence, thresholds
        self.samples, self.seed = samples, seed
        self.values = {name: _floats(values) for name, values in evidence.values.items()}
        self.n = len(evidence.strata)

    def comparable(self, name: str) -> bool:
        """Whether contender and incumbent have a value, or a nan, for each of at least one question."""
        both = (self.values.get(name), self.values.get(self.evidence.incumbent))
        return self.n > 0 and name != self.evidence.incumbent and all(v is not None and v.size == self.n for v in both)

    # -- the evidence itself ------------------------------------------------------------------------------------

    def gold(self) -> Rule:
        asked = self.asked.min_questions
        involved = (self.evidence.incumbent, *self.evidence.contenders)
        odd = [name for name in involved if name not in self.values or self.values[name].size != self.n]
        passed = self.n >= asked and self.n > 0 and not odd
        if odd:
            words = f"gold: {odd[0]} has no values for the {self.n} gold questions, so nothing can be compared"
        elif self.n == 0:
            words = "gold: there are no gold questions with the primary metric, so nothing can be shown"
        else:
            words = f"gold: {self.n} questions, at least {asked} are asked for"
        return Rule("gold", float(asked), float(self.n), None, passed, words)

    def verdicts(self) -> Rule:
        asked = self.asked.max_missing_share
        involved = [self.values[name] for name in self._involved() if self.values[name].size == self.n]
        missing = np.any([np.isnan(values) for values in involved], axis=0) if involved and self.n else np.ones(1)
        share = float(np.mean(missing))
        words = (
            f"verdicts: {int(np.sum(missing))} of {self.n} questions lack a verdict ({_percent(share)}), "
            f"{_percent(asked)} are tolerated"
        )
        return Rule("verdicts", asked, share, None, share <= asked, words)

    def leaks(self) -> Rule:
        found = self.evidence.leaks
        shown = ", ".join(str(leak) for leak in found[:3]) + (" …" if len(found) > 3 else "")
        words = (
            f"leaks: {len(found)} gold question(s) are in the training data ({shown}); remove them and train again"
            if found
            else "leaks: no gold question is in the training data"
        )
        return Rule("leaks", 0.0, float(len(found)), None, not found, words)

    def champion(self) -> Rule:
        expected, now = self.evidence.champion_expected, self.evidence.champion_now
        against = self.evidence.incumbent
        if expected != now:
            passed = False
            words = f"champion: it was {_version(expected)} when measured and is {_version(now)} now; evaluate again"
        elif now is not None and against != "champion":
            passed = False
            words = f"champion: {_version(now)} is in production, but the comparison is with {against}; evaluate again"
        elif now is None and against == "champion":
            passed = False
            words = "champion: the comparison is with a champion that the registry does not have; evaluate again"
        else:
            passed, words = (
                True,
                f"champion: the comparison is with {_version(now) if now else against}, still in production",
            )
        return Rule("champion", None, None, None, passed, words)

    def labels(self) -> Rule:
        asked, measured = self.asked.blend_alpha, self.evidence.blend_p_value
        known = measured is not None and not math.isnan(measured)
        passed = known and measured is not None and measured <= asked
        if not known:
            words = "labels: whether the fit to development labels beats chance is not known"
        else:
            verdict = "beats chance" if passed else "is not better than chance, so the labels teach nothing"
            words = f"labels: the fit to development labels {verdict} ({_p(measured)}, at most {asked:g} is asked for)"
        return Rule("labels", asked, measured if known else None, None, passed, words)

    def gold_budget(self) -> Rule:
        asked, before = self.asked.gold_error_budget, self.evidence.comparisons_before
        if before is None:
            words = "gold budget: how often these gold questions were used is not known"
            return Rule("gold budget", asked, None, None, False, words)
        spent = (before + 1) * self.asked.alpha
        passed = spent <= asked + 1e-9
        words = (
            f"gold budget: comparison {before + 1:.3g} on these gold questions; together they are expected to "
            f"cost at most {spent:.2g} false promotions, {asked:.2g} are allowed"
        )
        if not passed:
            words += "; it is spent: freeze a new version with new questions"
        return Rule("gold budget", asked, spent, None, passed, words)

    def undecided(self, name: str) -> bool:
        """Whether a gain that matters is neither shown nor ruled out."""
        return self._difference(name, self.evidence.incumbent).high >= self.asked.smallest_effect

    def _involved(self) -> list[str]:
        return [n for n in dict.fromkeys((self.evidence.incumbent, *self.evidence.contenders)) if n in self.values]

    # -- a contender against the incumbent ----------------------------------------------------------------------

    def superiority(self, names: Sequence[str]) -> list[Rule]:
        found = [self._difference(name, self.evidence.incumbent) for name in names]
        adjusted = significance.holm([difference.p for difference in found])
        return [self._superior(*each) for each in zip(names, found, adjusted, strict=True)]

    def _superior(self, name: str, difference: _Difference, p: float) -> Rule:
        passed = difference.low > 0 and p < self.asked.alpha
        words = f"{name}: {self._told(name, self.evidence.incumbent, difference, p)}"
        if not passed:
            words += (
                f"; not shown to be better. With these {self.n} questions a true difference of about "
                f"{_points(difference.detectable, sign=False)} would be noticed four times in five"
            )
            matters = _points(self.asked.smallest_effect, sign=False)
            if difference.high < self.asked.smallest_effect:
                words += f", and a gain of {matters} or more is ruled out"
            elif difference.mean > 0 and math.isfinite(difference.detectable):
                sought = max(difference.mean, self.asked.smallest_effect)
                needed = math.ceil(self.n * (difference.detectable / sought) ** 2)
                words += (
                    f"; whether it gains {matters} or more, this gold set cannot tell: about {needed:,} questions "
                    f"would notice {_points(sought, sign=False)} four times in five"
                )
            else:
                words += f"; a gain of {matters} is not ruled out either"
        return Rule(f"{name}: superiority", 0.0, difference.mean, (difference.low, difference.high), passed, words)

    def strata(self, name: str) -> list[Rule]:
        differences = self._differences(name, self.evidence.incumbent)
        labels = np.asarray([str(stratum) for stratum in self.evidence.strata], dtype=object)
        parts = {stratum: differences[labels == stratum] for stratum in sorted(set(labels.tolist()))}
        gated = [stratum for stratum, part in parts.items() if part.size >= self.asked.min_stratum_questions]
        margin = self.asked.stratum_margin
        p_values = significance.holm([significance.p_non_inferior(parts[s], margin=margin) for s in gated])
        adjusted = dict(zip(gated, p_values, strict=True))
        return [self._stratum(name, stratum, part, adjusted.get(stratum)) for stratum, part in parts.items()]

    def _stratum(self, name: str, stratum: str, part: Floats, p: float | None) -> Rule:
        margin, alpha = self.asked.stratum_margin, self.asked.alpha
        mean = float(part.mean())
        interval = (
            significance.non_inferiority_lower_bound(part, alpha=alpha),
            -significance.non_inferiority_lower_bound(-part, alpha=alpha),
        )
        told = f"{name}, stratum {stratum}: {_points(mean)} on {part.size} questions ({_range(interval, alpha)})"
        if p is None:
            passed, verdict = True, f"reported only, gated from {self.asked.min_stratum_questions} questions"
        elif p < alpha:
            passed, verdict = True, f"shown not to be worse by {_points(margin, sign=False)} or more"
        elif mean < -margin and part.sum() < -1:
            passed, verdict = False, f"worse by more than the {_points(margin, sign=False)} allowed"
        else:
            passed = True
            verdict = (
                f"this gold set cannot tell whether it is worse by {_points(margin, sign=False)}; more questions would"
            )
        return Rule(f"{name}: stratum {stratum}", -margin, mean, interval, passed, f"{told}: {verdict}")

    def latency(self, name: str) -> list[Rule]:
        asked = self.asked.max_latency_ms
        if asked is None:
            return []
        measured = self.evidence.latency_ms.get(name)
        known = measured is not None and not math.isnan(measured)
        passed = known and measured is not None and measured <= asked
        told = f"{measured:.1f} ms a query" if known else "its latency is not known"
        words = f"{name}, latency: {told}, at most {asked:g} ms are allowed"
        return [Rule(f"{name}: latency", asked, measured if known else None, None, passed, words)]

    # -- a dearer contender against a cheaper one -----------------------------------------------------------------

    def worth(self, dearer: str, cheaper: str) -> Rule:
        difference = self._difference(dearer, cheaper)
        margin = self.asked.cheaper_margin
        passed = difference.low > 0 and difference.p < self.asked.alpha and difference.mean > margin
        told = self._told(dearer, cheaper, difference, difference.p)
        words = (
            f"{dearer} is worth more than {cheaper}: {told}"
            if passed
            else f"{cheaper} is preferred, being cheaper and as good: {dearer} would have bought {told}; more than "
            f"{_points(margin, sign=False)}, shown at {self.asked.alpha:g}, would have been worth its latency"
        )
        name = f"{dearer}: worth more than {cheaper}"
        return Rule(name, margin, difference.mean, (difference.low, difference.high), passed, words)

    # -- arithmetic -----------------------------------------------------------------------------------------------

    def _differences(self, of: str, against: str) -> Floats:
        difference: Floats = np.nan_to_num(self.values[of], nan=0.0) - np.nan_to_num(self.values[against], nan=1.0)
        return difference

    def _difference(self, of: str, against: str) -> _Difference:
        values = self._differences(of, against)
        alpha = self.asked.alpha
        low, high = significance.bootstrap_interval(
            values, confidence=1 - 2 * alpha, samples=self.samples, seed=self.seed
        )
        p = significance.p_greater(values, samples=self.samples, seed=self.seed)
        detectable = significance.detectable_difference(values, alpha=alpha, power=_POWER)
        return _Difference(float(values.mean()), low, high, p, detectable)

    def _told(self, of: str, against: str, difference: _Difference, p: float) -> str:
        metric = self.evidence.metric
        shares = [float(np.nanmean(self.values[name])) if self._any(name) else math.nan for name in (of, against)]
        return (
            f"{_points(difference.mean)} of {metric} ({_percent(shares[0])} against {_percent(shares[1])} of "
            f"{against}, {self.n} questions; {_range((difference.low, difference.high), self.asked.alpha)}, {_p(p)})"
        )

    def _any(self, name: str) -> bool:
        return bool(np.any(~np.isnan(self.values[name])))


@dataclass(frozen=True)
class _Difference:
    """mean with its central 1 - 2 alpha interval, one-sided p-value, and what a gold set like this would notice."""

    mean: float
    low: float
    high: float
    p: float
    detectable: float


def _floats(values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64).ravel()
    finite: Floats = np.where(np.isfinite(array), array, np.nan)
    return finite


def _points(share: float, *, sign: bool = True) -> str:
    """0.02 as "+2.0 points"."""
    return f"{100 * share:+.1f} points" if sign else f"{100 * share:.2g} points"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _range(interval: tuple[float, float], alpha: float) -> str:
    low, high = interval
    return f"{100 * (1 - 2 * alpha):.0f} % interval {100 * low:+.1f} to {100 * high:+.1f}"


def _p(value: float | None) -> str:
    return "p unknown" if value is None else "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _version(version: str | None) -> str:
    return f"version {version}" if version is not None else "none"
