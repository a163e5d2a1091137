"""A person between the gate and the champion, where promotion.approval says so: whom to ask, what, and a refusal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rerankops.errors import PromotionRefused
from rerankops.pipeline.context import Context, log, step
from rerankops.pipeline.evaluation import read_decision
from rerankops.pipeline.incumbent import registry
from rerankops.pipeline.promotion import register
from rerankops.pipeline.training import read_plan
from rerankops.plain import in_markdown
from rerankops.workspace import Address

GATE, PERSON = "gate", "person"


@step
def who_decides(context: Context, registered: Mapping[str, Any]) -> str | None:
    """GATE: the decision is carried out; PERSON: somebody is asked first; None: there is nothing to promote.

    registered: what promotion.register returned. What was promoted or rejected before is not asked about again; what
    nobody answered is.
    """
    if registered["system"] is None:
        return None
    if registered["rejected_by"]:
        log.info("version %s was rejected by %s", registered["version"], registered["rejected_by"])
        return None
    return GATE if registered["promoted"] or context.settings.promotion.approval == "none" else PERSON


@step
def question(context: Context, decision: Address, registered: Mapping[str, Any]) -> dict[str, Any]:
    """What a person is asked: subject and body (Markdown), hours to answer, and approvers (ids; empty: anybody)."""
    settings = context.settings
    verdict = read_decision(context, decision)
    version, name = registered["version"], settings.registry.model_name
    serving = read_plan(context, context.workspace.manifest(decision).inputs[0]).champion_version
    instead = f"version {serving}" if serving else "retrieval's own order, as there is no champion yet"
    lines = [
        f"**{verdict.system}**, registered as version {version} of `{name}`, would serve in place of {instead}.",
        "",
        *(f"- {in_markdown(reason)}" for reason in verdict.reasons),
        "",
        f"Report: {_report(context, registered)}",
        "",
        f"**The gate's rules** (decision `{decision}`)",
        "",
        *(f"- {'passed' if rule.passed else 'not passed'}: {in_markdown(rule.words)}" for rule in verdict.rules),
        "",
        f"Without an answer within {settings.promotion.approval_timeout_hours:g} hours nothing is promoted.",
    ]
    return {
        "subject": f"Promote version {version} ({verdict.system}) of {name}?",
        "body": "\n".join(lines),
        "hours": settings.promotion.approval_timeout_hours,
        "approvers": list(settings.promotion.approvers or ()),
    }


@step
def reject(context: Context, decision: Address, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Keeps with the registered model that nobody is promoted, who said so and why; the champion stays.

    A person's rejection stands: the version is not promoted later. When nobody answered it stays challenger.
    answer: approved (False), by (None: nobody answered), reason, at (ISO 8601). Returns promoted
    (False), version, by and reason. Run again with the same answer it changes nothing.
    """
    if answer["approved"]:
        raise PromotionRefused(f"{answer['by']} approved decision {decision}; there is nothing to reject")
    registered = register(decision, context=context)
    version, who = registered["version"], answer["by"]
    if who:
        reason = answer["reason"] or "no reason given"
        registry(context).reject(version, reason, actor=who, key=decision)
    else:
        reason = f"nobody answered within {context.settings.promotion.approval_timeout_hours:g} hours"
        registry(context).lapse(version, reason, key=f"{decision} {answer['at']}")
    log.info("version %s is not promoted: %s", version, reason)
    return {"promoted": False, "version": version, "by": who, "reason": reason}


def _report(context: Context, registered: Mapping[str, Any]) -> str:
    """Where the report is: its run in MLflow when people can open that, and the file."""
    settings = context.settings.registry
    file = f"`{context.workspace.place(registered['report'], 'report.html')}`"
    served = (settings.ui_url or settings.tracking_uri or "").rstrip("/")
    if not served.startswith(("http://", "https://")):
        return file
    run = registered["run_id"]
    return f"[MLflow run {run[:8]}]({served}/#/runs/{run}), artefact report.html; as a file, {file}"
