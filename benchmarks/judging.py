"""How often the deterministic judge calls an answer as a person would, and which stored verdicts it changes.

    python benchmarks/judging.py CASES.jsonl [--before VERDICTS.json] [-v]
    python benchmarks/judging.py --evaluations FOLDER --gold GOLD.parquet [--sample SAMPLE.jsonl]

CASES.jsonl has one answer a line: kind, accepted (a list), answer, right (what a person says). Printed are the share
called as a person would, by kind, wrong answers called right (false yes), right ones called wrong (false no), and the
milliseconds an answer takes with libraries loaded and empty caches. --before: verdicts of another version,
a list of true and false in the file's order (--write FILE makes one), to be shown beside these.

FOLDER holds SYSTEM.parquet (records.QuestionOutcome) as an evaluation stores them. Listed is how many of their verdicts
change side in each direction; SAMPLE.jsonl gets changed ones, each once, to be read by eye. Refusals and verdicts of a
language model stand.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from rerankops.evaluation.normalise import judge
from rerankops.evaluation.normalise.tokens import read

SAMPLE = 80
"""Changed verdicts of each direction that are written."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path, nargs="?")
    parser.add_argument("--before", type=Path)
    parser.add_argument("--write", type=Path)
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("--evaluations", type=Path)
    parser.add_argument("--gold", type=Path)
    parser.add_argument("--sample", type=Path)
    asked = parser.parse_args()
    if asked.evaluations:
        stored(asked.evaluations, asked.gold, asked.sample)
    elif asked.cases:
        cases(asked.cases, asked.before, asked.write, verbose=asked.verbose)
    else:
        parser.error("give CASES.jsonl, or --evaluations and --gold")


def cases(file: Path, before: Path | None, write: Path | None, *, verbose: bool) -> None:
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    findings = [judge(row["answer"], row["accepted"]) for row in rows]
    if write:
        write.write_text(json.dumps([finding.right for finding in findings]), encoding="utf-8")
    table: dict[str, list[tuple[bool, bool]]] = {
        "now": [(f.right, row["right"]) for f, row in zip(findings, rows, strict=True)]
    }
    if before:
        old = json.loads(before.read_text(encoding="utf-8"))
        table = {"before": [(said, row["right"]) for said, row in zip(old, rows, strict=True)], **table}
    for row, finding in zip(rows, findings, strict=True):
        if verbose and finding.right != row["right"]:
            print(json.dumps({**row, "reason": finding.reason}, ensure_ascii=False))
    print(f"{'kind':24}" + "".join(f"{name:>10}" for name in table) + "    of")
    for kind in dict.fromkeys(row["kind"] for row in rows):
        places = [n for n, row in enumerate(rows) if row["kind"] == kind]
        same = [sum(found[n][0] == found[n][1] for n in places) for found in table.values()]
        print(f"{kind:24}" + "".join(f"{count:>10}" for count in same) + f"{len(places):>6}")
    for name, found in table.items():
        same = sum(said == right for said, right in found)
        yes = sum(said and not right for said, right in found)
        no = sum(right and not said for said, right in found)
        share = f"{same} of {len(found)} as a person would ({same / len(found):.1%})"
        print(f"{name}: {share}, {yes} false yes, {no} false no")
    print(f"{_milliseconds([(row['answer'], row['accepted']) for row in rows]):.2f} ms an answer")


def stored(folder: Path, gold: Path, sample: Path | None) -> None:
    accepted = {row["question_id"]: row for row in pq.read_table(gold).to_pylist()}
    changed: dict[str, dict[tuple[str, str], dict[str, Any]]] = {"right to wrong": {}, "wrong to right": {}}
    judged: list[tuple[str, list[str]]] = []
    for file in sorted(folder.rglob("*.parquet")):
        table = pq.read_table(file)
        if "judged_by" not in table.column_names:
            continue
        counts: Counter[str] = Counter()
        for row in table.to_pylist():
            question = accepted.get(row["question_id"])
            if question is None or row["judged_by"] != "containment":
                continue
            counts["judged"] += 1
            finding = judge(row["answer"], question["accepted_answers"], question["text"])
            judged.append((row["answer"], question["accepted_answers"]))
            if finding.right == row["correct"]:
                continue
            side = "right to wrong" if row["correct"] else "wrong to right"
            counts[side] += 1
            changed[side][(row["question_id"], row["answer"])] = {
                "side": side,
                "question": question["text"],
                "accepted": question["accepted_answers"],
                "answer": row["answer"],
                "reason": finding.reason,
            }
        print(f"{file.relative_to(folder)}: {dict(counts)}")
    reasons = Counter(row["reason"].split(":")[0] for row in changed["right to wrong"].values())
    for side, rows in changed.items():
        print(f"{side}: {len(rows)} different answers")
    print(f"reasons of those that became wrong: {dict(reasons)}")
    print(f"{_milliseconds(sorted({(a, tuple(b)) for a, b in judged})[:2000]):.2f} ms an answer")
    if sample:
        rng = random.Random(0)
        rows = [row for found in changed.values() for row in rng.sample(list(found.values()), min(SAMPLE, len(found)))]
        sample.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _milliseconds(pairs: list[Any]) -> float:
    """Of one answer, its tokens not remembered and those of accepted answers neither."""
    read.cache_clear()
    begin = time.process_time()
    for answer, accepted in pairs:
        judge(answer, accepted)
    return (time.process_time() - begin) / max(1, len(pairs)) * 1000


if __name__ == "__main__":
    main()
