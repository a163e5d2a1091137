"""A teacher, a larger cross-encoder that is never promoted, has its row wherever the ladder is shown."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from promotion_world import FIRST, World, contenders, prepare, settings
from rich.console import Console

from rerankops import config
from rerankops.cli import output
from rerankops.pipeline import evaluation, ranking
from rerankops.pipeline.context import Context
from rerankops.pipeline.reporting import full_ladder
from rerankops.pipeline.reports import render_report
from rerankops.promotion.recording import metrics
from rerankops.workspace import Workspace


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[Context, str, dict[str, Any]]:
    """A decision beside a teacher that knows the words which the challenger does not, and its ladder."""
    folder, world = tmp_path_factory.mktemp("taught"), World()
    tree = settings(folder)
    tree["evaluation"] |= {"teacher_model": str(folder / "teacher"), "bootstrap_samples": 200}
    here = Context(config.load(environ={}, overrides=tree), Workspace(folder / "workspace"))
    prepare(here, folder, world)
    world.words(folder / "knowing", seed=4, knowing=True)
    world.cross_encoder(folder / "teacher", folder / "knowing")
    plan, fitted = contenders(here, folder, world, FIRST)
    frozen = evaluation.freeze_gold_candidates(plan, context=here)
    ranked = ranking.rank_gold_candidates(plan, fitted, frozen, context=here)
    measured = evaluation.evaluate(plan, fitted, ranked, context=here)
    decision = evaluation.decide(plan, fitted, measured, context=here)
    return here, decision, full_ladder(here, measured, decision)


def test_the_ladder_compares_the_teacher_with_every_other_system(taught: tuple[Context, str, dict[str, Any]]) -> None:
    _, _, ladder = taught
    rows = {row["name"]: row for row in ladder["systems"]}
    assert list(rows) == ["retrieval_only", "tuned_fusion", "challenger", "teacher"]
    assert rows["teacher"]["hit@1"] > rows["challenger"]["hit@1"]
    assert rows["teacher"]["milliseconds_per_query"] > 0
    compared = {row["against"] for row in ladder["comparisons"] if row["of"] == "teacher"}
    assert compared == {"retrieval_only", "tuned_fusion", "challenger"}


def test_the_decision_tells_what_the_teacher_would_buy_and_promotes_another(
    taught: tuple[Context, str, dict[str, Any]],
) -> None:
    decision = taught[2]["decision"]
    assert decision["system"] in {"tuned_fusion", "challenger"}
    assert any("teacher" in rule["words"] and "never promoted" in rule["words"] for rule in decision["rules"])


def test_report_printed_table_and_mlflow_show_the_teacher(
    taught: tuple[Context, str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, decision, ladder = taught
    report = render_report(decision, context=here)
    page = Path(here.workspace.root.path, "objects", report, "report.html").read_text(encoding="utf-8")
    assert "larger cross-encoder, shown for comparison" in page
    shown = io.StringIO()
    monkeypatch.setattr(output, "console", Console(file=shown, width=200))
    output.print_ladder(ladder)
    assert "teacher" in shown.getvalue()
    logged = dict(metrics(ladder))
    assert logged["hit_at_1.teacher"] > logged["hit_at_1.challenger"]
