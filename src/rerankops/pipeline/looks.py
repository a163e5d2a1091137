"""Looks at gold: what each evaluation used up of its questions, recorded before anybody can read its results.

A look is a document `{evaluation, plan, gold, at, alpha, level, questions}` under the reference `looks/000001`,
`looks/000002`, …, which is claimed once. So looks stand in one order, also those of two retrainings at once, and the
price of a look follows from those before it. It is set when the look is recorded and stays: neither another
`promotion.alpha` nor another version of the gold questions changes what was spent. An evaluation is one look, however
often it is started; one that was killed after its look was recorded finds that look when it is retried.

`questions` has a row for each gold question of that moment: question_id, text, `decided` (the decision rests on it) and
`shown` (the report shows its results, so no later decision rests on it). A question is the same as an earlier one when
its id is the same or its text nearly so, whatever its answers or passages are. A text that an earlier gold set had word
for word is compared by its text alone, so that questions may be renumbered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from rerankops.config import QuerySettings
from rerankops.pipeline.context import Context, log
from rerankops.promotion import budget
from rerankops.queries.normalise import near_to, normalised, similar_pairs
from rerankops.records import GoldQuestion
from rerankops.workspace import Address

if TYPE_CHECKING:
    from rerankops.pipeline.training import Plan

LOOKS = "looks"
"""References: one a look, in the order in which they were made."""
COMPARISONS = "comparisons"
"""References of workspaces from before looks were stored: one an evaluation."""
_WITHOUT = (
    "freeze new gold questions (rerankops gold): which of the old ones that look showed, and what it spent of "
    "promotion.alpha, would be forgotten"
)
"""What it means to go on without a look."""
_QUESTION = {"question_id": pl.String, "text": pl.String, "decided": pl.Boolean, "shown": pl.Boolean}


@dataclass(frozen=True)
class Look:
    """number: from 1, 0 when it was made before looks were stored. level: what it spent of promotion.alpha.
    questions: question_id, text, decided, shown. at: ISO 8601."""

    number: int
    evaluation: Address
    plan: Address
    gold: Address
    at: str
    level: float
    questions: pl.DataFrame

    @property
    def decided(self) -> frozenset[str]:
        return frozenset(self.questions.filter("decided")["question_id"])

    @property
    def shown(self) -> frozenset[str]:
        return frozenset(self.questions.filter("shown")["question_id"])


@dataclass(frozen=True)
class Standing:
    """What gold questions are still good for. questions: question_id, text, stratum, decided, shown of a look that is
    made now. overlaps: the share of the questions decided upon that each earlier look decided upon as well.
    spent: of alpha, on these. level: what a look costs now."""

    questions: pl.DataFrame
    overlaps: tuple[float, ...]
    spent: float
    level: float


def looks(context: Context) -> list[Look]:
    """Every look there was, in order, those from before looks were stored first."""
    workspace = context.workspace
    stored = []
    for name in workspace.refs(LOOKS):
        document = workspace.record(name, without=_WITHOUT)
        questions = pl.DataFrame(document.pop("questions"), schema=_QUESTION)
        del document["alpha"]
        stored.append(Look(number=int(name.split("/")[1]), questions=questions, **document))
    known = {look.evaluation for look in stored}
    before = {workspace.require(name, "") for name in workspace.refs(COMPARISONS)} - known
    return sorted((_unpriced(context, evaluation) for evaluation in before), key=lambda look: look.at) + stored


def record(planned: Plan, evaluation: Address) -> Look:
    """The look that an evaluation is; made now unless it was before. The evaluation need not be there yet."""
    context, workspace = planned.context, planned.context.workspace
    while True:
        earlier = looks(context)
        found = next((look for look in earlier if look.evaluation == evaluation), None)
        if found is not None:
            return found
        number = 1 + max((look.number for look in earlier), default=0)
        now = standing(context, planned.gold, earlier)
        document = {
            "evaluation": evaluation,
            "plan": planned.address,
            "gold": planned.gold,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "alpha": context.settings.promotion.alpha,
            "level": now.level,
            "questions": now.questions.select(list(_QUESTION)).to_dict(as_series=False),
        }
        address = workspace.publish_document(
            "looks",
            document,
            step="look",
            inputs=[planned.address],
            settings={"evaluation": evaluation, "number": number},
        )
        if workspace.claim(f"{LOOKS}/{number:06d}", address) == address:
            _tell(context, earlier, now)


def standing(context: Context, gold: Address, earlier: Sequence[Look]) -> Standing:
    """What the questions of a gold version are good for after these looks."""
    settings = context.settings
    today = _normal(pl.DataFrame(pl.from_arrow(context.workspace.read(gold, GoldQuestion))))
    seen, known, rested = set[str](), set[str](), []
    for look in earlier:
        then = _normal(look.questions)
        wanted = {name: then.filter(name) for name in ("shown", "decided")}
        same = _same(today, then, [wanted["shown"], wanted["decided"], then], settings.queries)
        seen |= same[0]
        rested.append(same[1])
        known |= same[2]
    ids = today["question_id"].to_list()
    fresh = _together(today.filter(~pl.col("question_id").is_in(list(known))), settings.queries)
    reserved = budget.reserve(list(fresh.values()), settings.promotion.reserve_share, settings.evaluation.seed)
    shown = seen | {name for name, kept in zip(fresh, reserved.tolist(), strict=True) if not kept}
    unseen = set(ids) - seen
    overlaps = tuple(len(unseen & there) / max(1, len(unseen)) for there in rested)
    spent = budget.spent((look.level, overlap) for look, overlap in zip(earlier, overlaps, strict=True))
    questions = today.select(
        "question_id",
        "text",
        "stratum",
        decided=pl.col("question_id").is_in(list(unseen)),
        shown=pl.col("question_id").is_in(list(shown)),
    )
    return Standing(questions, overlaps, spent, budget.level(spent, settings.promotion.alpha))


def _same(
    today: pl.DataFrame, then: pl.DataFrame, parts: Sequence[pl.DataFrame], settings: QuerySettings
) -> list[set[str]]:
    """Today's questions that are the same as one of each part of an earlier look's. Frames of question_id, normal."""
    verbatim = today.join(then, on="normal", how="semi")
    rest = today.join(then, on="normal", how="anti")
    queries = rest.select(id="question_id", normal="normal")
    found = []
    for part in parts:
        same = set(verbatim.join(part, on="normal", how="semi")["question_id"])
        same |= set(rest.join(part, on="question_id", how="semi")["question_id"])
        if queries.height and part.height:
            asked = part.select(id="question_id", normal="normal")
            threshold, synonyms = settings.gold_distance_threshold, settings.synonyms
            same |= near_to(queries, asked, threshold=threshold, synonyms=synonyms)
        found.append(same)
    return found


def _together(questions: pl.DataFrame, settings: QuerySettings) -> dict[str, str]:
    """Question to the id that stands for it and those that are nearly the same, by way of others too: they are shown or
    held back together, since the result of one tells that of the other."""
    frame = questions.select(id="question_id", normal="normal")
    stands_for = {name: name for name in sorted(frame["id"])}

    def root(name: str) -> str:
        while stands_for[name] != name:
            name = stands_for[name]
        return name

    if stands_for:
        pairs = similar_pairs(frame, frame, threshold=settings.gold_distance_threshold, synonyms=settings.synonyms)
        for pair in pairs.select("left_id", "right_id").iter_rows():
            first, second = sorted(map(root, pair))
            stands_for[second] = first
    return {name: root(name) for name in stands_for}


def _normal(questions: pl.DataFrame) -> pl.DataFrame:
    return questions.with_columns(normal=normalised(pl.col("text")))


def _unpriced(context: Context, evaluation: Address) -> Look:
    """A comparison from before looks were stored: it cost the alpha that its plan was made with, its decision rested on
    all gold questions, and its report may have shown any of them."""
    workspace = context.workspace
    manifest = workspace.manifest(evaluation)
    plan: dict[str, Any] = workspace.read_document(manifest.inputs[0])
    gold = pl.DataFrame(pl.from_arrow(workspace.read(plan["gold"], GoldQuestion)))
    return Look(
        number=0,
        evaluation=evaluation,
        plan=manifest.inputs[0],
        gold=plan["gold"],
        at=manifest.created_at,
        level=float(plan["settings"]["promotion"]["alpha"]),
        questions=gold.select("question_id", "text", decided=pl.lit(True), shown=pl.lit(True)),
    )


def _tell(context: Context, earlier: Sequence[Look], now: Standing) -> None:
    unpriced = [look for look in earlier if not look.number]
    if unpriced:
        levels = ", ".join(f"{level:g}" for level in sorted({look.level for look in unpriced}))
        log.info(
            "%d comparison(s) from before looks were stored count at the alpha of their own settings (%s), and as "
            "having shown every question",
            len(unpriced),
            levels,
        )
    decided, shown = (int(now.questions[name].sum()) for name in ("decided", "shown"))
    log.info(
        "look at gold: the decision rests on %d of %d questions at level %.3g; the report shows the results of %d",
        decided,
        now.questions.height,
        now.level,
        shown,
    )
