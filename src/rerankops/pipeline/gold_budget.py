"""The budget of the gold questions in force: what looks spent, what is left, and what new questions would buy."""

from __future__ import annotations

from dataclasses import dataclass

from rerankops.pipeline.context import Context, step
from rerankops.pipeline.corpus import GOLD
from rerankops.pipeline.looks import looks, standing
from rerankops.promotion import budget
from rerankops.workspace import Address


@dataclass(frozen=True)
class Made:
    """A look. number: 0 when it was made before looks were stored. finished: whether its evaluation is there.
    overlap: the share of the questions which the next decision rests on that this one rested on too. cost: its level
    times that."""

    number: int
    at: str
    evaluation: Address
    finished: bool
    level: float
    overlap: float
    cost: float


@dataclass(frozen=True)
class GoldBudget:
    """made: every look, in order. questions: of the gold version. unseen: those that no report has shown, which the
    next decision rests on. held_back: those that its report will not show. alpha, spent: of promotion.alpha, on the
    unseen ones. level: of the next look. bought: level to the number of new questions that it takes."""

    gold: Address
    made: tuple[Made, ...]
    questions: int
    unseen: int
    held_back: int
    alpha: float
    spent: float
    level: float
    bought: dict[float, int]


@step
def gold_budget(context: Context) -> GoldBudget:
    """Of the gold questions in force, under the settings of now; what was spent stays as it was stored."""
    workspace, alpha = context.workspace, context.settings.promotion.alpha
    gold = workspace.require(GOLD, "run refresh_corpus_index first; there are no gold questions")
    earlier = looks(context)
    now = standing(context, gold, earlier)
    unseen = int(now.questions["decided"].sum())
    wanted = (alpha / 2**halvings for halvings in (2, 3, 4))
    bought = {level: budget.new_questions(now.level, level, unseen, alpha) for level in wanted if level > now.level}
    return GoldBudget(
        gold,
        tuple(
            Made(
                look.number,
                look.at,
                look.evaluation,
                workspace.exists(look.evaluation),
                look.level,
                overlap,
                look.level * overlap,
            )
            for look, overlap in zip(earlier, now.overlaps, strict=True)
        ),
        questions=now.questions.height,
        unseen=unseen,
        held_back=now.questions.height - int(now.questions["shown"].sum()),
        alpha=alpha,
        spent=now.spent,
        level=now.level,
        bought={level: count for level, count in bought.items() if count},
    )
