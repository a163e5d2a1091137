"""Acceptances: a person accepts by name what the gate cannot tell about, a stratum, "small strata" or "refusals".

An acceptance says that a loss in these few questions may go unnoticed. It holds for one gold version, whoever the
contender is; another version has other questions. It leads to a new decision about the same evaluation, which quotes
it. It never lets pass what is shown to be worse.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from rerankops.errors import InputError
from rerankops.pipeline.context import Context, step
from rerankops.pipeline.models import signed
from rerankops.pipeline.training import read_plan
from rerankops.privacy import Redactor
from rerankops.workspace import Address

ACCEPTED = "accepted"
"""References: every acceptance, a document {stratum, reason, by, at, gold}."""


def acceptances(context: Context, gold: Address) -> dict[str, str]:
    """Who accepted which stratum of a gold version, and why; of several the first."""
    workspace = context.workspace
    without = "accept again what it accepted (rerankops gate accept)"
    given = [workspace.record(name, without=without) for name in workspace.refs(ACCEPTED)]
    held = sorted((one["at"], one["stratum"], one) for one in given if one["gold"] == gold)
    found: dict[str, str] = {}
    for _, stratum, one in held:
        found.setdefault(stratum, f"{one['by']} on {one['at'][:10]}: {one['reason']}")
    return found


@step
def accept(context: Context, stratum: str, reason: str, by: str | None = None) -> Address:
    """Keeps that a person accepts what the newest decision cannot tell about, and decides again about the same
    evaluation. by: a name, kept beside the account that runs this. Returns the new decision.

    Raises InputError when there is no decision, no reason, or the newest decision does not name the stratum.
    """
    from rerankops.pipeline.evaluation import decide, newest_decision, read_decision

    workspace = context.workspace
    if not reason.strip():
        raise InputError("an acceptance needs a reason; it stands in the decision")
    newest = newest_decision(context)
    if newest is None:
        raise InputError("no decision was made yet, so there is nothing to accept; retrain first")
    about = read_decision(context, newest).cannot_tell_about
    if stratum not in about:
        named = ", ".join(map(repr, about)) or "nothing that a person could accept"
        raise InputError(f"{stratum!r} cannot be accepted: the newest decision, {newest}, cannot tell about {named}")
    plan, contenders, evaluation = workspace.manifest(newest).inputs
    document: Mapping[str, str] = {
        "stratum": stratum,
        "reason": Redactor(context.settings.queries).text(" ".join(reason.split())),
        "by": signed(by),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "gold": read_plan(context, plan).gold,
    }
    kept = workspace.publish_document("acceptances", document, step="accept", inputs=[newest], settings=dict(document))
    workspace.point(f"{ACCEPTED}/{kept.split('/')[1]}", kept)
    return decide(plan, contenders, evaluation, context=context)
