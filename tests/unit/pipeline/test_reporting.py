"""What a retraining came to, as data."""

from __future__ import annotations

from pathlib import Path

from rerankops import config
from rerankops.pipeline.context import Context
from rerankops.pipeline.reporting import stages
from rerankops.workspace import Workspace


def test_several_runs_of_a_step_add_up_their_counts_and_average_their_rates(tmp_path: Path) -> None:
    here = Context(config.load(environ={}), Workspace(tmp_path))

    def verdict(number: int, accuracy: float) -> str:
        return here.workspace.publish_document(
            "verdicts",
            {"number": number},
            step="validate_delivery",
            counts={"annotations": 10 * number, "control_accuracy": accuracy},
        )

    both = [verdict(1, 0.8), verdict(2, 0.9)]
    judgments = here.workspace.publish_document(
        "judgments", {}, step="adjudicate", inputs=both, counts={"judgments": 7, "alpha": 0.6}
    )
    told = {stage["name"]: stage["counts"] for stage in stages(here, judgments)}
    assert told == {
        "validate_delivery": {"annotations": 30, "control_accuracy": 0.85},
        "adjudicate": {"judgments": 7, "alpha": 0.6},
    }
    assert list(told) == ["validate_delivery", "adjudicate"]
