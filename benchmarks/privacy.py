"""Redaction: what is found in labelled texts, and what it costs.

    python benchmarks/privacy.py [--cases FILE …]

FILE: labelled texts, JSON lines of kind, class (pattern, name, address, keep), text and must_not_stay; by default the
development and the held-out set of tests/cases. A piece of personal data is gone when no part that must not stay is
left, letter case, width and signs aside; a harmless text is kept when it is unchanged.

Cost: processor seconds of one core for 100,000 queries, a tenth of them with personal data, and for one text of a
megabyte of each of a dozen hostile or ordinary makes. Results go to benchmarks/results/privacy.md. Last line: how many
times faster than twenty seconds the queries were redacted.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import re
import time
import unicodedata
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from rerankops.demo.personal import plant
from rerankops.privacy import VERSION, redact

HERE = Path(__file__).resolve().parent
CASES = [HERE.parent / "tests" / "cases" / f"personal-data-{name}.jsonl" for name in ("development", "held-out")]
QUERIES, PLANTED, LIMIT, MEGABYTE = 100_000, 0.1, 20.0, 1_000_000
QUESTIONS = (
    "胎压多少", "如何开启ESP", "机油0W-20多少升", "后备箱容积多大", "我是高配版怎么开座椅加热", "0-100km/h加速",
    "5000公里保养要多少钱", "新EQE350续航", "How do I reset the oil service light",
    "I am driving at 120 km/h and it shakes",
)  # fmt: skip
TEXTS = {
    "a query again and again": "后备箱容积多大，胎压多少？", "English prose": "How do I reset the oil service light? ",
    "telephones": "13812340001 ", "digits": "0", "digits and spaces": "1 ", "plates begun": "京A",
    "names begun": "我叫王",
    "at signs": "@", "addresses begun": "中山路", "key groups": "A1B2-", "hexadecimal": "f", "emoji": "😀",
    "look-alikes": "O0", "URLs": "https://a.example/?a=b&token=", "colons": "a:",
}  # fmt: skip


def squeezed(text: str) -> str:
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text).lower())


def shares(file: Path) -> dict[str, list[bool]]:
    """Kind, and all of each class, to which of its texts were dealt with rightly."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    after = redact(pl.Series([row["text"] for row in rows]), region="CN")["text"]
    found: dict[str, list[bool]] = defaultdict(list)
    for row, text in zip(rows, after, strict=True):
        gone = not any(squeezed(part) in squeezed(text) for part in row["must_not_stay"])
        right = text == row["text"] if row["kind"] == "keep" else gone
        found[row["kind"]].append(right)
        if row.get("class", row["kind"]) != row["kind"]:
            found[f"all with a {row['class']}"].append(right)
    return found


def processor_seconds(texts: list[str]) -> float:
    began = time.process_time()
    redact(pl.Series(texts), region="CN")
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, nargs="+", default=CASES)
    asked = parser.parse_args()
    measured = {file.stem: shares(file) for file in asked.cases}
    kinds = list(dict.fromkeys(kind for found in measured.values() for kind in found))
    rng = random.Random(7)
    queries = [f"{rng.choice(QUESTIONS)}{number}" for number in range(QUERIES)]
    queries = [plant(text, rng)[0] if rng.random() < PLANTED else text for text in queries]
    redact(pl.Series(queries[:100]), region="CN")
    many = processor_seconds(queries)
    single = {name: processor_seconds([text * (MEGABYTE // len(text.encode()))]) for name, text in TEXTS.items()}
    lines = [
        "# Redaction", "",
        f"Rules {VERSION}, {datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, Python {platform.python_version()}, "
        "one core; processor seconds.", "",
        f"| right of | {' | '.join(measured)} |", f"|---|{'---:|' * len(measured)}",
    ]  # fmt: skip
    for kind in sorted(kinds, key=lambda kind: (kind == "keep", kind.startswith("all "), kind)):
        cells = [f"{sum(found[kind])} of {len(found[kind])}" if kind in found else "" for found in measured.values()]
        lines.append(f"| {'harmless texts kept' if kind == 'keep' else kind} | {' | '.join(cells)} |")
    lines += ["", "| redacted | seconds |", "|---|---:|", f"| {QUERIES:,} queries | {many:.2f} |"]
    lines += [f"| 1 MB in one query: {name} | {seconds:.2f} |" for name, seconds in single.items()]
    slowest = f"the slowest megabyte: {max(single.values()):.2f} s"
    headline = f"{QUERIES:,} queries: {LIMIT / many:.1f} times faster than {LIMIT:.0f} s; {slowest}"
    text = "\n".join([*lines, "", headline])
    (HERE / "results" / "privacy.md").write_text(f"{text}\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
