"""The gate: does the evidence justify another ranker in production? Pure, and closed unless every rule says open.

Rules about the evidence itself; one that fails refuses everybody:

| rule         | passes when                                                                       |
|--------------|-----------------------------------------------------------------------------------|
| thresholds   | each is a number in its range; asked only when one is not                          |
| gold         | at least `min_questions` questions, and every system was asked all of them        |
| verdicts     | the share of questions lacking any system's verdict is at most `max_missing_share` |
| leaks        | the training data were searched for gold questions and hold none                  |
| data         | what the contenders were trained on passed validation                             |
| champion     | the champion is the one that the evidence compares with                           |
| labels       | the fit to development labels beats chance (`blend_p_value` <= `blend_alpha`)      |
| judge        | no language model judged, or it surely agrees with people in `min_judge_agreement`|
| gold budget  | this comparison and the earlier ones on the same gold spend at most               |
|              | `gold_error_budget`, `alpha` each; see below                                      |

Rules about each contender against the incumbent:

| rule         | passes when                                                                       |
|--------------|-----------------------------------------------------------------------------------|
| superiority  | the one-sided lower bound of the paired difference is above 0, and its p-value,   |
|              | Holm-corrected over the contenders, below `alpha`                                 |
| stratum NAME | not shown to be worse; see below                                                  |
| refusals     | not shown to make the reader bolder: the share of unanswerable questions that it  |
|              | refuses, with the verdicts of a stratum at `refusal_margin`, when that is set     |
| latency      | the median is known and at most `max_latency_ms`, when that is set                |
| memory       | that of model and working arrays is known and at most `max_memory_mb`, when set   |

What is not known never passes: a rule that is asked for and whose evidence is missing, or out of its range, refuses.

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
one that passes only when it is worth its latency: better by more than `cheaper_margin`, and significantly so. The
decision says what every dearer system would have bought and at what cost, chosen or not, the teacher included, which is
never promoted.

A missing verdict that is tolerated counts as wrong for the contender and right for what it is compared with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rerankops.promotion import contest, rules
from rerankops.promotion.evidence import Case, Evidence, Thresholds
from rerankops.records import PromotionDecision, Rule

__all__ = ["NEVER_PROMOTED", "Evidence", "Thresholds", "decide"]

NEVER_PROMOTED = "teacher"
"""Shown in the ladder for what a larger model would buy."""


def decide(evidence: Evidence, thresholds: Thresholds, *, bootstrap_samples: int, seed: int) -> PromotionDecision:
    """Promote one contender or nobody, with every rule's measurement and the reasons as sentences. Never raises on
    thin, odd or missing evidence: it refuses."""
    unusable = rules.unusable(thresholds)
    if unusable is not None:
        return PromotionDecision(False, None, (unusable,), (unusable.words,))
    case = Case(evidence, thresholds, bootstrap_samples, seed)
    shared = rules.about_the_evidence(case)
    names = [name for name in evidence.contenders if name != NEVER_PROMOTED and case.comparable(name)]
    superiority = contest.superiority(case, names)
    asked = {
        name: [
            superiority[name],
            *contest.strata(case, name),
            *contest.refusals(case, name),
            *contest.budgets(case, name),
        ]
        for name in names
    }
    everything = shared + [rule for name in names for rule in asked[name]]
    sound = all(rule.passed for rule in shared)
    passing = [name for name in names if all(rule.passed for rule in asked[name])]
    if not sound or not passing:
        refusal = tuple(_refusal(everything, evidence, names))
        failing = {name: [rule for rule in asked[name] if not rule.passed] for name in names}
        undecided = any(failing[name] == [superiority[name]] and contest.undecided(case, name) for name in names)
        told = everything + _forgone(case, evidence.incumbent, [])
        return PromotionDecision(False, None, tuple(told), refusal, cannot_tell=sound and undecided)

    chosen, preferences = passing[0], []
    for dearer in passing[1:]:
        worth = contest.worth(case, dearer, chosen)
        preferences.append(worth)
        chosen = dearer if worth.passed else chosen
    dearer_still = names[names.index(chosen) + 1 :]
    preferences += _forgone(case, chosen, [name for name in dearer_still if name not in passing])
    reasons = [superiority[chosen].words, *(rule.words for rule in preferences)]
    reasons += [rule.words for rule in asked[chosen] if rule.verdict == "cannot tell"]
    for name in names:
        if name not in passing:
            reasons += [f"not promoted: {rule.words}" for rule in asked[name] if not rule.passed]
    return PromotionDecision(True, chosen, tuple(everything + preferences), tuple(reasons))


def _forgone(case: Case, kept: str, refused: Sequence[str]) -> list[Rule]:
    """What every dearer system that is not to be had would have bought over the one that is kept."""
    rules_ = [contest.forgone(case, name, kept, "which was refused") for name in refused]
    if case.has(NEVER_PROMOTED) and case.has(kept):
        rules_.append(contest.forgone(case, NEVER_PROMOTED, kept, "which is never promoted"))
    return rules_


def _refusal(told: Iterable[Rule], evidence: Evidence, compared: Sequence[str]) -> list[str]:
    reasons = [rule.words for rule in told if not rule.passed]
    reasons += [
        f"{name} is shown in the ladder and never promoted"
        if name == NEVER_PROMOTED
        else f"{name} was not compared: no values aligned with the questions"
        for name in evidence.contenders
        if name not in compared
    ]
    if not evidence.contenders:
        reasons.append("there is no contender to promote")
    return reasons
