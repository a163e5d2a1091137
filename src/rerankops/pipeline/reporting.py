"""What a retraining came to, as data: the ladder with its decision and stages, shared by demo, trial and report."""

from __future__ import annotations

from typing import Any

from rerankops.pipeline.context import Context
from rerankops.pipeline.evaluation import read_decision, read_json
from rerankops.workspace import Address, Manifest

_STAGES = (
    "load_corpus", "load_gold", "embed_corpus", "build_index", "pull_events", "distil_queries", "sample_queries",
    "retrieve_candidates", "rank_by_incumbent", "select_queries", "make_annotation_batch", "pull_deliveries",
    "validate_delivery", "review_delivery", "adjudicate", "import_labels", "estimate_propensities",
    "derive_feedback", "teach", "merge_judgments",
    "judge_by_dataset", "plan_retraining", "retrieve_judged",
    "build_training_groups", "train_cross_encoder", "fit_rankers", "freeze_gold_candidates", "rank_gold_candidates",
    "evaluate", "decide",
)  # fmt: skip
"""Steps in the order in which the loop takes them."""


def full_ladder(context: Context, evaluation: Address, decision: Address) -> dict[str, Any]:
    """{"systems", "comparisons", "decision", "stages"} of one retraining, ready for JSON."""
    with context.workspace.local_folder(evaluation) as folder:
        steps = read_json(folder / "ladder.json")
    verdict = read_decision(context, decision)
    return {
        **steps,
        "decision": {
            "promote": verdict.promote,
            "cannot_tell": verdict.cannot_tell,
            "system": verdict.system,
            "reasons": list(verdict.reasons),
            "rules": [
                {"name": rule.name, "passed": rule.passed, "measurement": rule.measurement, "words": rule.words}
                for rule in verdict.rules
            ],
        },
        "stages": stages(context, decision),
    }


_SHOWN = {
    "validate_delivery": (
        "accepted", "in_part", "annotations", "annotators", "set_aside", "completeness", "control_accuracy",
        "positive_share", "grade_drift",
    ),
    "freeze_gold_candidates": ("questions", "candidates"),
}  # fmt: skip
"""Steps that measure more than a table of stages can tell, and what it tells of them; the verdict has the rest."""
_RATES = frozenset({"completeness", "control_accuracy", "positive_share", "grade_drift", "alpha", "kappa"})
"""Shares and coefficients: of several runs of a step the mean is told, of everything else the sum."""


def stages(context: Context, address: Address) -> list[dict[str, Any]]:
    """Every step that led to an artefact: name, seconds, counts; several runs of a step are told as one."""
    runs: dict[str, list[Manifest]] = {}
    for manifest in context.workspace.lineage(address).values():
        runs.setdefault(manifest.step, []).append(manifest)
    return [_told(name, runs[name]) for name in _STAGES if name in runs]


def _told(name: str, runs: list[Manifest]) -> dict[str, Any]:
    counts: dict[str, float] = {}
    for key in _SHOWN.get(name) or dict.fromkeys(key for run in runs for key in run.counts):
        values = [run.counts[key] for run in runs if key in run.counts]
        if values:
            counts[key] = round(sum(values) / len(values), 4) if key in _RATES else sum(values)
    return {"name": name, "seconds": round(sum(run.seconds for run in runs), 3), "counts": counts}
