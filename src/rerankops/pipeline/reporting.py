"""What a retraining came to, as data: the ladder with its decision and stages, shared by demo, trial and report."""

from __future__ import annotations

from typing import Any

from rerankops.pipeline.context import Context
from rerankops.pipeline.evaluation import read_decision, read_json
from rerankops.workspace import Address, Manifest

_STAGES = (
    "load_corpus", "load_gold", "embed_corpus", "build_index", "pull_events", "distil_queries", "sample_queries",
    "retrieve_candidates", "make_annotation_batch", "pull_deliveries", "validate_delivery", "adjudicate",
    "judge_by_dataset", "plan_retraining", "retrieve_judged", "build_training_groups", "train_cross_encoder",
    "fit_rankers", "freeze_gold_candidates", "evaluate", "decide",
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
            "system": verdict.system,
            "reasons": list(verdict.reasons),
            "rules": [
                {"name": rule.name, "passed": rule.passed, "measurement": rule.measurement, "words": rule.words}
                for rule in verdict.rules
            ],
        },
        "stages": stages(context, decision),
    }


def stages(context: Context, address: Address) -> list[dict[str, Any]]:
    """Every step that led to an artefact: name, seconds, counts; several runs of a step are added up."""
    found: dict[str, dict[str, Any]] = {}
    for manifest in context.workspace.lineage(address).values():
        if manifest.step in _STAGES:
            _add(found.setdefault(manifest.step, {"name": manifest.step, "seconds": 0.0, "counts": {}}), manifest)
    return [found[name] for name in _STAGES if name in found]


def _add(stage: dict[str, Any], manifest: Manifest) -> None:
    stage["seconds"] = round(stage["seconds"] + manifest.seconds, 3)
    for name, value in manifest.counts.items():
        stage["counts"][name] = stage["counts"].get(name, 0) + value
