"""The last steps: a decision into the registry, the winner to champion; and back again."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from rerankops.errors import PromotionRefused
from rerankops.pipeline.context import Context, log, step
from rerankops.pipeline.evaluation import read_decision
from rerankops.pipeline.gold_in_force import refuse_changed_gold
from rerankops.pipeline.incumbent import registry
from rerankops.pipeline.reporting import full_ladder
from rerankops.pipeline.reports import lineage, render_report
from rerankops.pipeline.training import read_plan
from rerankops.workspace import Address, room


@step
def register(context: Context, decision: Address) -> dict[str, Any]:
    """Logs the decision with its report to MLflow and, when it promotes, registers the winner. No serving alias moves.

    Everything that the decision came from is read through first: nothing is registered that rests on a damaged file.
    Run again it finds what it did before. Returns promoted (whether the winner has become champion already),
    rejected_by (who turned it down, else None), system (None: the gate promotes nobody), version, run_id and the
    report's address.
    """
    workspace = context.workspace
    workspace.read_through(decision)
    plan, contenders, evaluation = workspace.manifest(decision).inputs
    planned = read_plan(context, plan)
    verdict = read_decision(context, decision)
    report = render_report(decision, context=context)
    address = workspace.read_document(contenders)["rankers"].get(verdict.system) if verdict.system else None
    book = registry(context)
    with ExitStack() as folders, room("the decision and its ranker in MLflow"):
        reported = folders.enter_context(workspace.local_folder(report))
        recorded = book.record(
            verdict,
            full_ladder(context, evaluation, decision),
            params=planned.context.settings.model_dump(
                mode="json", include={"training", "scoring", "retrieval", "encoder"}
            ),
            report_html=(reported / "report.html").read_text(encoding="utf-8"),
            ranker_dir=folders.enter_context(workspace.local_folder(address)) if address else None,
            ranker_address=address,
            lineage=lineage(context, decision),
            key=decision,
        )
    if recorded.version is None:
        log.info("not promoted: %s", "; ".join(verdict.reasons))
    moves = [move for move in book.audit() if move["version"] == recorded.version] if recorded.version else []
    last = next((move for move in reversed(moves) if move["action"] in {"promote", "reject"}), None)
    return {
        "promoted": any(move["action"] == "promote" for move in moves),
        "rejected_by": last["actor"] if last and last["action"] == "reject" else None,
        "system": verdict.system,
        "version": recorded.version,
        "run_id": recorded.run_id,
        "report": report,
    }


@step
def promote(context: Context, decision: Address, approval: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Registers a decision as `register` does and, when it promotes, makes the winner champion.

    Run again it changes nothing, also when another champion has come since. approval: the answer of the person who was
    asked (approved, by, reason, at). Returns what `register` does.
    Raises PromotionRefused when the champion is no longer the one that the decision was made against, or when
    promotion.approval is human and nobody approved.
    """
    registered = register(decision, context=context)
    version = registered["version"]
    if registered["system"] is None:
        return registered
    if registered["promoted"]:
        log.info("version %s was promoted before; nothing moves", version)
        return registered
    name = context.settings.registry.model_name
    if approval is None and context.settings.promotion.approval == "human":
        raise PromotionRefused(
            f"setting promotion.approval is human and nobody approved version {version} of {name!r}; it stays "
            "challenger until somebody does in Airflow (retrain_reranker asks), or promotes it by hand"
        )
    if approval is not None and not approval["approved"]:
        raise PromotionRefused(f"{approval['by'] or 'nobody'} rejected version {version} of {name!r}")
    reason = "; ".join(read_decision(context, decision).reasons)
    actor = f"gate, decision {decision}"
    if approval is not None:
        actor = f"{approval['by']}, approving decision {decision}"
        reason = f"{approval['reason']} (approved); {reason}" if approval["reason"] else f"approved; {reason}"
    planned = read_plan(context, context.workspace.manifest(decision).inputs[0])
    registry(context).promote(
        version,
        planned.champion_version,
        reason,
        actor=actor,
        key=decision,
        check=lambda: refuse_changed_gold(planned),
    )
    return {**registered, "promoted": True}
