"""The report of a decision, and what all decisions before it taught."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rerankops.evaluation.history import entry
from rerankops.pipeline import looks
from rerankops.pipeline.context import Context, step
from rerankops.pipeline.evaluation import DECISIONS, read_decision, read_json, read_outcomes, write_json
from rerankops.pipeline.incumbent import registry
from rerankops.pipeline.ranking import read_rankings
from rerankops.pipeline.reporting import full_ladder
from rerankops.pipeline.training import read_plan
from rerankops.records import GoldQuestion, Passage
from rerankops.workspace import Address

_SHOWN = ("training", "scoring", "retrieval", "encoder", "reader", "judge", "evaluation", "promotion")
"""Sections of the settings that the report tells."""


@step
def render_report(context: Context, decision: Address) -> Address:
    """The report of a decision: a folder with report.html and ladder.json. Of the questions in reserve it holds nothing
    but what they add to a mean."""
    workspace = context.workspace
    plan, _, evaluation = workspace.manifest(decision).inputs
    planned = read_plan(context, plan)

    def build(folder: Path) -> Mapping[str, float]:
        from rerankops.evaluation.report import render

        document = full_ladder(context, evaluation, decision)
        write_json(folder / "ladder.json", document)
        settings = planned.context.settings
        earlier = history(context, decision)
        gold = workspace.read(planned.gold, GoldQuestion)
        shown = looks.record(planned, evaluation).shown
        page = render(
            document,
            read_decision(context, decision),
            {name: _of(table, shown) for name, table in read_outcomes(context, evaluation).items()},
            _of(gold, shown),
            workspace.read(planned.corpus, Passage),
            title=f"Reranker decision {decision.split('/')[1][:12]}",
            lineage=lineage(context, decision),
            metric=settings.promotion.metrics[0],
            decided_at=workspace.manifest(decision).created_at,
            history=earlier,
            settings=settings.model_dump(mode="json", include=set(_SHOWN)),
            orders=read_rankings(context, workspace.manifest(evaluation).inputs[2]).gold,
            awaits_approval=context.settings.promotion.approval == "human",
            held_back=gold.num_rows - len(shown),
        )
        (folder / "report.html").write_text(page, encoding="utf-8")
        return {"earlier_decisions": len(earlier)}

    return workspace.publish_folder("reports", build, step="render_report", inputs=[decision])


def history(context: Context, decision: Address) -> list[dict[str, Any]]:
    """Rows of evaluation.history for the decisions made before this one, oldest first."""
    workspace = context.workspace
    before = workspace.manifest(decision).created_at
    made = {workspace.require(name, ""): name for name in workspace.refs(DECISIONS)}
    earlier = sorted((workspace.manifest(other).created_at, other) for other in made if other != decision)
    earlier = [(at, other) for at, other in earlier if at < before]
    registered = {version.decision: version for version in registry(context).versions()} if earlier else {}
    rows = []
    for at, other in earlier:
        plan, _, evaluation = workspace.manifest(other).inputs
        with workspace.local_folder(evaluation) as folder:
            measured = read_json(folder / "ladder.json")
        version = registered.get(other)
        rows.append(
            entry(
                workspace.read_document(other),
                measured,
                at=at,
                version=version.version if version else None,
                gold=workspace.read_document(plan)["gold"],
                run_id=version.run_id if version else None,
            )
        )
    return rows


def _of(table: pa.Table, questions: Collection[str]) -> pa.Table:
    return table.filter(pc.is_in(table["question_id"], pa.array(sorted(questions), pa.string())))


def lineage(context: Context, decision: Address) -> dict[str, str]:
    """What a decision came from, by kind; of several artefacts of a kind the nearest."""
    found: dict[str, str] = {}
    for address, manifest in context.workspace.lineage(decision).items():
        found.setdefault(manifest.kind, address)
    return found
