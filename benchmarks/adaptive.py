"""An analyst whose contenders are never better, and who uses everything that is published about a gold set.

A contender is a set of questions that it changes: on these it has the outcome of a second real system, on all others
that of the champion. Which of the two systems is the champion is drawn for each question, so a contender is better only
by luck on these very questions. At each look the analyst submits two contenders: one changes a block of questions that
were never changed before, to learn how that comes out, and one combines all changes that came out well.
- **before**: reports show every question. From the second look on the analyst changes what is won by it and nothing
  else.
- **verdicts**: reports show a share of the questions, from the second look on the decision rests on the others, and
  nothing is learnt of those but yes or no.
- **figures over the reserve**: the same, and the analyst also learns each contender's exact difference over all
  questions that a decision rests on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rerankops.evaluation import significance
from rerankops.promotion import budget
from rerankops.promotion.evidence import SMALL, Evidence
from rerankops.promotion.power import Population
from rerankops.records import PromotionDecision

LOOKS = 10


def analyst(
    population: Population,
    asked: Any,
    policy: str,
    before: Callable[..., tuple[bool, bool]],
    decide: Callable[..., PromotionDecision],
    *,
    seed: int,
) -> int:
    """The look, from 1, at which a contender is first promoted; 0 when none of ten is."""
    rng = np.random.default_rng([31, seed])
    chosen = population.resized(population.n, rng)
    strata, swap = population.strata[chosen], rng.random(chosen.size) < 0.5
    champion, gains = {}, {}
    for metric, (one, other) in population.values.items():
        champion[metric] = np.where(swap, other[chosen], one[chosen])
        gains[metric] = np.where(swap, one[chosen], other[chosen]) - champion[metric]
    first = next(iter(gains))
    shown = ~budget.reserve([f"{seed} {place}" for place in range(chosen.size)], asked.reserve_share, 1)
    blocks = rng.integers(0, LOOKS, chosen.size)
    learnt: dict[int, tuple[float, float]] = {}
    spent = 0.0
    for look in range(1, LOOKS + 1):
        seen = np.zeros(chosen.size, bool) if look == 1 else np.ones(chosen.size, bool) if policy == "before" else shown
        exploring = blocks == look - 1
        composed = np.isin(blocks, _best(learnt)) if learnt else rng.random(chosen.size) < 0.5
        better = np.sum(list(gains.values()), axis=0) > 0
        sent = [np.where(seen, better, changed) for changed in (exploring, composed)]
        unseen = ~seen if policy != "before" else np.ones(chosen.size, bool)
        if policy == "before":
            passed = [before(np.where(changed, gains[first], 0.0), strata, seed) for changed in sent]
            # two contenders were corrected by Holm; the larger of two is a little stricter here than it was
            promoted = any(superior and fine for superior, fine in passed)
        else:
            level = budget.level(spent, asked.alpha)
            promoted = _promoted(champion, gains, strata, sent, unseen, level, asked, decide)
            spent += level
        if promoted:
            return look
        if policy == "figures over the reserve":
            block = gains[first][exploring & unseen]
            learnt[look - 1] = (float(block.sum()), float(block @ block))
    return 0


def _best(learnt: dict[int, tuple[float, float]]) -> list[int]:
    """The blocks that together lie the most standard errors above nothing."""
    order = sorted(learnt, key=lambda block: learnt[block][0] / max(1e-9, learnt[block][1]) ** 0.5, reverse=True)
    gained, varied = (np.cumsum([learnt[block][part] for block in order]) for part in (0, 1))
    return order[: 1 + int(np.argmax(gained / np.sqrt(np.maximum(varied, 1e-9))))]


def _promoted(
    champion: dict[str, np.ndarray],
    gains: dict[str, np.ndarray],
    strata: np.ndarray,
    sent: list[np.ndarray],
    unseen: np.ndarray,
    level: float,
    asked: Any,
    decide: Callable[..., PromotionDecision],
) -> bool:
    found = [significance.p_better(np.where(changed, gain, 0)[unseen]) for gain in gains.values() for changed in sent]
    if min(found) > level:
        return False  # no way of being better can be shown at a level that none of its parts reaches
    values = {
        metric: {
            "champion": champion[metric],
            **{
                name: champion[metric] + np.where(changed, gains[metric], 0)
                for name, changed in zip(("tuned_fusion", "challenger"), sent, strict=True)
            },
        }
        for metric in gains
    }
    evidence = Evidence(
        values=values,
        strata=strata.tolist(),
        incumbent="champion",
        contenders=("tuned_fusion", "challenger"),
        unseen=unseen.tolist(),
        level=level,
        accepted_strata=dict.fromkeys([*np.unique(strata).tolist(), SMALL], "as assumed"),
        leaks=(),
        data_validated=True,
        champion_expected="1",
        champion_now="1",
        blend_p_value=0.0,
        refused={},
        judged_by_llm=False,
    )
    return decide(evidence, asked).promote
