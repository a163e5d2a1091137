"""What the gate cannot tell about, accepted by a person by its name."""

from __future__ import annotations

from pathlib import Path

import pytest
from passed_decision import decided, here

from rerankops.errors import InputError
from rerankops.pipeline.acceptance import ACCEPTED, accept, acceptances
from rerankops.pipeline.context import Context
from rerankops.pipeline.evaluation import DECISIONS
from rerankops.pipeline.training import read_plan


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return here(tmp_path / "overlay.yaml", tmp_path, {})


def gold_of(context: Context, decision: str) -> str:
    return read_plan(context, context.workspace.manifest(decision).inputs[0]).gold


def keep(context: Context, gold: str, stratum: str, reason: str, at: str) -> None:
    document = {"stratum": stratum, "reason": reason, "by": "Ada", "at": at, "gold": gold}
    kept = context.workspace.publish_document("acceptances", document, step="accept")
    context.workspace.point(f"{ACCEPTED}/{kept.split('/')[1]}", kept)


def test_an_acceptance_holds_for_its_gold_version_and_names_who_and_why(context: Context) -> None:
    gold = gold_of(context, decided(context, "first"))
    keep(context, gold, "summary", "thirty answers read", "2026-11-30T10:00:00+00:00")
    keep(context, gold, "summary", "again", "2026-12-01T10:00:00+00:00")
    keep(context, "gold_questions/other", "numeric", "not here", "2026-11-30T10:00:00+00:00")
    assert acceptances(context, gold) == {"summary": "Ada on 2026-11-30: thirty answers read"}


def test_only_what_the_newest_decision_cannot_tell_about_is_accepted(context: Context) -> None:
    with pytest.raises(InputError, match="no decision was made yet"):
        accept("summary", "why not", "Ada", context=context)
    decision = decided(context, "first", promote=False)
    context.workspace.point(f"{DECISIONS}/{decision.split('/')[1]}", decision)
    with pytest.raises(InputError, match=r"'summary' cannot be accepted: .* nothing that a person could accept"):
        accept("summary", "why not", "Ada", context=context)
    with pytest.raises(InputError, match="needs a reason"):
        accept("summary", "  ", "Ada", context=context)
    assert acceptances(context, gold_of(context, decision)) == {}
