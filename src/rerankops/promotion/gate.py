"""The gate: does the evidence justify another ranker in production? Pure, and it refuses unless every rule passes.

Rules about the evidence itself; one that fails refuses everybody:

| rule         | passes when                                                                       |
|--------------|-----------------------------------------------------------------------------------|
| thresholds   | each is a number in its range; asked only when one is not                          |
| gold         | at least `min_questions` questions whose results no report has shown yet, and      |
|              | every system was asked all of them                                                 |
| verdicts     | the share of questions lacking any system's verdict is at most `max_missing_share` |
| leaks        | the training data were searched for gold questions and hold none                  |
| data         | what the contenders were trained on passed validation                             |
| champion     | the champion is the one that the evidence compares with                           |
| labels       | the fit to development labels beats chance (`blend_p_value` <= `blend_alpha`)      |
| judge        | no language model judged, or it surely agrees with people in `min_judge_agreement`|
| gold budget  | the level of this look at the gold questions is known and at least `min_level`     |

Rules about each contender against the incumbent:

| rule         | passes when                                                                       |
|--------------|-----------------------------------------------------------------------------------|
| superiority  | shown at this look's level to be better, in one of the ways below; Holm-corrected |
|              | over the contenders                                                               |
| stratum NAME | not shown to be worse, and a loss of `max_unnoticed_stratum_loss` would have been  |
|              | noticed, or a person accepted by name that the gate cannot tell                    |
| refusals     | the same of the share of unanswerable questions that the reader refuses behind it, |
|              | with `max_unnoticed_refusal_loss`, when that is set and the reader can refuse      |
| latency      | the median is known and at most `max_latency_ms`, when that is set                |
| memory       | that of model and working arrays is known and at most `max_memory_mb`, when set   |

What is not known never passes: a rule that is asked for and whose evidence is missing, or out of its range, refuses.
Nothing is drawn at random: the same evidence gives the same decision to the last digit.

**Better.** `metrics` are asked in their order. A contender is better when it gains in the first one, shown at
`first_metric_share` of the level; or when it gains in another one, shown at the rest, and the first one is shown at the
whole level not to lose `inferiority_margin`. The first metric says what users get; with a deterministic reader it moves
little when the order improves, and a finer metric shows the gain that it cannot. Two promises hold together, without
any assumption on how the metrics depend on each other. A contender that gains in no metric is promoted at most as often
as the level says (Bonferroni's weights). So is one that loses the margin in the first metric, whatever it gains
elsewhere (both parts of the second way have to be rejected, and one of them is false).
Right-or-wrong metrics are tested by McNemar's mid-p, graded ones by the permutation test's saddlepoint
(`significance.p_better`), the margin by Bonett and Price's adjusted Wald test.

**Strata.** For each stratum the first metric is asked "is anything lost here?", one-sided, by the same test, Holm-
corrected over the strata and the refusals at `stratum_alpha`. Both errors are stated. A contender that is as good
everywhere is refused for any of its parts with a chance of at most `stratum_alpha`. And each rule says which loss it
would have noticed four times in five, with the stratum's questions and with the share of them on which two equally good
systems differ (`strata.churn`, the only thing that strata estimate together: shrinking the differences themselves, or
pooling the variance in the test, notices little more at equal error and breaks the first promise where strata differ;
see benchmarks/results/strata_tests.md). Three verdicts:
- "shown to be worse": refused;
- "passed": not shown to be worse, and a loss of `max_unnoticed_stratum_loss` would have been noticed;
- "cannot tell about NAME": not shown to be worse, but such a loss could have gone unnoticed. Not promoted, with how
  many more questions it takes, until a person accepts it by name; the acceptance stands in the decision.
Strata below `min_stratum_questions` are pooled and tested as one, "small strata".

**One gold set, many looks.** `alpha` is the chance that any ranker that is no better is ever promoted on the same gold
questions. Each look has a level of its own, half of what is left, which is stored with it and stays; an earlier look
counts by the share of today's questions that it rested on too (`promotion.budget` says why half).
Later contenders may have been fitted to published results, so a decision rests on questions that no report has shown:
all of them at the first look, later the reserve and what is new. When the level falls below `min_level` the budget is
spent, and the rule says how many new questions buy which level and which gain that notices.

**Cannot tell.** A contender whose interval reaches from no gain to `smallest_effect` or more is neither shown to be
better nor shown not to be. When nothing but that, or strata that the gate cannot tell about, stands in the way, the
outcome is "cannot tell with this gold set": nobody is promoted, and the reasons say how many questions would tell.

**The cheapest that is as good.** Contenders come cheapest first. A dearer one that passes is preferred to a cheaper
one that passes only when it is worth its latency: better in one of the ways above, at `alpha`, and by more than
`cheaper_margin`. The decision says what every dearer system would have bought and at what cost, chosen or not, the
teacher included, which is never promoted.

A missing verdict that is tolerated counts as wrong for the contender and right for what it is compared with. A further
metric that more questions lack than are tolerated is left out, and its share goes to the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rerankops.promotion import contest, rules, strata
from rerankops.promotion.evidence import Case, Evidence, Thresholds
from rerankops.records import PromotionDecision, Rule

__all__ = ["NEVER_PROMOTED", "Evidence", "Thresholds", "decide"]

NEVER_PROMOTED = "teacher"
"""Shown in the ladder for what a larger model would buy."""


def decide(evidence: Evidence, thresholds: Thresholds) -> PromotionDecision:
    """Promote one contender or nobody, with every rule's measurement and the reasons as sentences. Never raises on
    thin, odd or missing evidence: it refuses."""
    unusable = rules.unusable(thresholds)
    if unusable is not None:
        return PromotionDecision(False, None, (unusable,), (unusable.words,))
    case = Case(evidence, thresholds)
    shared = rules.about_the_evidence(case)
    names = [name for name in evidence.contenders if name != NEVER_PROMOTED and case.comparable(name)]
    superiority = contest.superiority(case, names)
    asked = {name: [superiority[name], *strata.rules(case, name), *contest.budgets(case, name)] for name in names}
    everything = shared + [rule for name in names for rule in asked[name]]
    sound = all(rule.passed for rule in shared)
    passing = [name for name in names if all(rule.passed for rule in asked[name])]
    if not sound or not passing:
        failing = [[rule for rule in asked[name] if not rule.passed] for name in names] if sound else []
        undecided = [open_ for open_ in failing if all(rule.verdict == "cannot tell" for rule in open_)]
        better = [open_ for open_ in undecided if open_[0] not in superiority.values()]
        return PromotionDecision(
            False,
            None,
            tuple(everything + _forgone(case, evidence.incumbent, [])),
            tuple(_refusal(everything, evidence, names)),
            cannot_tell=bool(undecided),
            cannot_tell_about=tuple(dict.fromkeys(strata.part(rule) for open_ in better for rule in open_)),
        )

    chosen, preferences = passing[0], []
    for dearer in passing[1:]:
        worth = contest.worth(case, dearer, chosen)
        preferences.append(worth)
        chosen = dearer if worth.passed else chosen
    dearer_still = names[names.index(chosen) + 1 :]
    preferences += _forgone(case, chosen, [name for name in dearer_still if name not in passing])
    reasons = [superiority[chosen].words, *(rule.words for rule in preferences)]
    reasons += [rule.words for rule in asked[chosen] if rule.verdict == "accepted"]
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
