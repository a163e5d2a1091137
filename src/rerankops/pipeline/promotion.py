"""The last steps: a decision into the registry, the winner to champion; and back again."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rerankops.errors import PromotionRefused
from rerankops.pipeline.context import Context, log, step
from rerankops.pipeline.evaluation import read_decision, read_outcomes, write_json
from rerankops.pipeline.incumbent import champion, registry
from rerankops.pipeline.reporting import full_ladder
from rerankops.pipeline.training import read_plan
from rerankops.records import GoldQuestion, Passage
from rerankops.workspace import Address


@step
def promote(context: Context, decision: Address) -> dict[str, Any]:
    """Logs the decision with its report to MLflow and, when it promotes, registers the winner and makes it champion.

    Run again it finds what it did before and changes nothing, also when another champion has come since.
    Returns promoted, system, version, run_id and the report's address. Raises PromotionRefused when the champion is no
    longer the one that the decision was made against.
    """
    workspace = context.workspace
    plan, contenders, evaluation = workspace.manifest(decision).inputs
    planned = read_plan(context, plan)
    verdict = read_decision(context, decision)
    report = render_report(decision, context=context)
    address = workspace.read_document(contenders)["rankers"].get(verdict.system) if verdict.system else None
    book = registry(context)
    with ExitStack() as folders:
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
    result = {
        "promoted": verdict.promote,
        "system": verdict.system,
        "version": recorded.version,
        "run_id": recorded.run_id,
        "report": report,
    }
    if recorded.version is None:
        log.info("not promoted: %s", "; ".join(verdict.reasons))
    elif any(move["action"] == "promote" and move["champion"] == recorded.version for move in book.audit()):
        log.info("version %s was promoted before; nothing moves", recorded.version)
    else:
        reason = "; ".join(verdict.reasons)
        book.promote(recorded.version, planned.champion_version, reason, actor=f"gate, decision {decision}")
    return result


@step
def roll_back(context: Context, reason: str, actor: str | None = None) -> dict[str, Any]:
    """Champion and previous change places. Raises PromotionRefused when there is no previous champion."""
    if champion(context) is None:  # asked first, so that no registry is made to find that out
        name = context.settings.registry.model_name
        raise PromotionRefused(f"model {name!r} has no champion, so there is nothing to roll back")
    version = registry(context).rollback(reason, actor=actor or getpass.getuser())
    log.info("rolled back to version %s", version.version)
    return {"version": version.version, "ranker": version.ranker_address, "reason": reason}


@step
def render_report(context: Context, decision: Address) -> Address:
    """The report of a decision: a folder with report.html and ladder.json."""
    workspace = context.workspace
    plan, _, evaluation = workspace.manifest(decision).inputs
    planned = read_plan(context, plan)

    def build(folder: Path) -> Mapping[str, float]:
        from rerankops.evaluation.report import render

        document = full_ladder(context, evaluation, decision)
        write_json(folder / "ladder.json", document)
        page = render(
            document,
            read_decision(context, decision),
            read_outcomes(context, evaluation),
            workspace.read(planned.gold, GoldQuestion),
            workspace.read(planned.corpus, Passage),
            title=f"Reranker decision {decision.split('/')[1][:12]}",
            lineage=lineage(context, decision),
        )
        (folder / "report.html").write_text(page, encoding="utf-8")
        return {}

    return workspace.publish_folder("reports", build, step="render_report", inputs=[decision])


def lineage(context: Context, decision: Address) -> dict[str, str]:
    """What a decision came from, by kind; of several artefacts of a kind the nearest."""
    found: dict[str, str] = {}
    for address, manifest in context.workspace.lineage(decision).items():
        found.setdefault(manifest.kind, address)
    return found
