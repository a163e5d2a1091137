"""Whether enough judgments came for a retraining, since each retraining is a look at gold and uses some of it up."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from rerankops.pipeline.context import Context, log, step
from rerankops.pipeline.judgments import JUDGMENTS
from rerankops.pipeline.looks import looks
from rerankops.records import Judgment
from rerankops.workspace import Address

_LABEL = ["query_id", "passage_id", "grade", "origin"]
"""What makes a label: one that changed its grade, or that people gave where only users had, is a new one."""


@dataclass(frozen=True)
class Due:
    """new: labels since the judgments that were last looked at gold with; None when they never were. wanted: how many
    a retraining takes."""

    new: int | None
    wanted: int

    @property
    def now(self) -> bool:
        return self.new is None or self.new >= self.wanted

    @property
    def words(self) -> str:
        if self.new is None:
            return "no retraining has looked at gold yet: one is due"
        came = f"{self.new:,} new or changed labels since the last retraining, {self.wanted:,} make one due"
        return f"{came} (training.min_new_labels)" + ("" if self.now else f": {self.wanted - self.new:,} to go")


@step
def retraining_due(context: Context) -> Due:
    """Compares the judgments in force with those of the newest look at gold that came to results. Retrainings on
    permuted labels taught nothing and count for nothing here."""
    workspace, wanted = context.workspace, context.settings.training.min_new_labels
    finished = (look for look in reversed(looks(context)) if workspace.exists(look.evaluation))
    plans = (workspace.read_document(look.plan) for look in finished)
    last = next((plan for plan in plans if plan["settings"]["training"]["shuffle_labels_seed"] is None), None)
    if last is None:
        return Due(None, wanted)
    now = workspace.require(JUDGMENTS, "run ingest_annotations first; there are no judgments to train on")
    fresh = _labels(context, now).join(_labels(context, last["judgments"]), on=_LABEL, how="anti")
    return Due(fresh.height, wanted)


@step
def later_judgments(context: Context, plan: Address | None) -> Address | None:
    """The judgments in force, when they are not those that a retraining was planned with and make another one due.
    plan: None for a retraining that was not planned after all."""
    if plan is None:
        return None
    now = context.workspace.ref(JUDGMENTS)
    if now is None or now == context.workspace.read_document(plan)["judgments"]:
        return None
    found = retraining_due(context=context)
    log.info("judgments came meanwhile: %s", found.words)
    return now if found.now else None


def _labels(context: Context, judgments: Address) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(context.workspace.read(judgments, Judgment).select(_LABEL))).unique()
