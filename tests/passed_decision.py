"""A workspace that stands where the gate has just decided, without the training and the evaluation that came before.

Every artefact lies where its step would put it, so the steps after the decision find it and work as they always do. The
ranker is a real one; the report is a line of HTML under the address of the real one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rerankops.pipeline import context
from rerankops.pipeline.context import Context
from rerankops.pipeline.corpus import GOLD
from rerankops.pipeline.evaluation import write_json
from rerankops.records import GoldQuestion, Judgment, PromotionDecision, Rule
from rerankops.scoring.blend import single
from rerankops.scoring.ranker import Ranker
from rerankops.workspace import Address

REASON = "tuned_fusion: +7.0 points of accuracy"
REPORT = "<!doctype html><title>report</title><p>加七个百分点</p>"


def here(overlay: Path, folder: Path, settings: Mapping[str, Any]) -> Context:
    """Writes the overlay and loads the context that it describes."""
    import yaml

    tree = {"workspace": {"root": str(folder / "workspace")}, **settings}
    staged = overlay.with_suffix(".tmp")
    staged.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    staged.replace(overlay)
    return context.load(overlay)


def decided(at: Context, name: str, *, promote: bool = True, champion_version: str | None = None) -> Address:
    """A decision's address; name: another one is another decision."""
    workspace = at.workspace
    judgments = workspace.publish(Judgment, Judgment.empty(), step="merge_judgments")
    gold = workspace.publish(GoldQuestion, GoldQuestion.empty(), step="load_gold")
    workspace.point(GOLD, gold)
    plan = workspace.publish_document(
        "plans",
        {
            "judgments": judgments,
            "gold": gold,
            "index": "",
            "champion_version": champion_version,
            "champion_ranker": None,
            "settings": at.settings.model_dump(mode="json"),
        },
        step="plan_retraining",
        inputs=[judgments, gold],
        settings={"again": name},
    )
    ranker = workspace.publish_folder("rankers", Ranker(blend=single("bm25")).save, step="tuned_fusion", inputs=[plan])
    contenders = workspace.publish_document(
        "contenders", {"rankers": {"tuned_fusion": ranker}, "fits": {}}, step="fit_rankers", inputs=[plan]
    )
    evaluation = workspace.publish_folder(
        "evaluations",
        lambda folder: write_json(folder / "ladder.json", {"systems": [], "comparisons": []}),
        step="evaluate",
        inputs=[plan, contenders],
    )
    rule = Rule("tuned_fusion: superiority", 0.0, 0.07, (0.03, 0.11), promote, REASON)
    verdict = PromotionDecision(promote, "tuned_fusion" if promote else None, (rule,), (REASON,))
    decision = workspace.publish_document(
        "decisions", asdict(verdict), step="decide", inputs=[plan, contenders, evaluation]
    )
    workspace.publish_folder("reports", _report, step="render_report", inputs=[decision])
    return decision


def _report(folder: Path) -> None:
    (folder / "report.html").write_text(REPORT, encoding="utf-8")
