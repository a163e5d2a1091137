"""How often does the rule-based reader refuse unanswerable questions, and what does that cost on answerable ones?

    python benchmarks/refusals.py --data FOLDER [--fit] [--output FOLDER]

FOLDER holds cmrc2018/ and nq_passages/ in the JSON-lines layout that `rerankops trial` reads; the third set is the
demo's manual with its gold questions. Passages are BM25's first six.

answerable: questions as they are. taken out: the same without their relevant passages and every other one that holds an
accepted answer. not in the corpus: of nq_passages, questions that its annotators found no answer to; of the demo, its
gold questions asked of a manual without the topic that they are about. "Rightly answered" is what a reader that never
refuses answers rightly; it is those that a refusal costs.

--fit fits `readers.answerability` anew and prints its weights and the threshold, on training questions of the two
public sets (2,500 drawn from each): the demo and all development questions are only measured on. Titles are left out
for the second row of weights. The threshold is the largest, in hundredths, at which at most 5 % of the rightly answered
questions of either set are refused. Results go to benchmarks/results/refusals.{json,md}.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from rerankops import config
from rerankops.demo import world
from rerankops.evaluation.normalise import judge, mentions
from rerankops.evaluation.readers import ExtractiveReader
from rerankops.evaluation.readers.answerability import TITLED, Signs, Weights, probability
from rerankops.queries.datasets import read_dataset
from rerankops.retrieval.analysis import terms

RESULTS = Path(__file__).resolve().parent / "results"
SETS = ("nq_passages", "cmrc2018")
ANSWERABLE, TAKEN, ABSENT = "answerable", "taken out", "not in the corpus"
SHOWN, DEPTH = 6, 40
DRAWN, SEED = 2500, 7
DEMO_SEED = 42
FOLDS = 5
COST = 0.05
Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A question over what is shown for it. right: answered rightly by a reader that never refuses."""

    kind: str
    question: str
    accepted: tuple[str, ...]
    shown: tuple[tuple[str, str], ...]
    signs: Signs | None = None
    right: bool = False


class Lexical:
    """BM25 over passages, titles counted twice."""

    def __init__(self, passages: pa.Table) -> None:
        self.ids = passages["passage_id"].to_pylist()
        self.texts = list(zip(passages["title"].to_pylist(), passages["text"].to_pylist(), strict=True))
        self.index = bm25s.BM25(method="lucene")
        self.index.index([terms(title) * 2 + terms(text) for title, text in self.texts], show_progress=False)

    def cases(self, questions: Iterable[Row], kinds: Sequence[str]) -> list[Case]:
        found = []
        for question in questions:
            accepted, relevant = tuple(question["accepted_answers"]), set(question["relevant_passage_ids"])
            scores = self.index.get_scores(terms(question["text"]))
            best = [place for place in np.argsort(-scores, kind="stable")[:DEPTH] if scores[place] > 0]
            for kind in kinds:
                left = best
                if kind == TAKEN:
                    left = [n for n in best if self.ids[n] not in relevant and not self._holds(n, accepted)]
                shown = tuple(self.texts[place] for place in left[:SHOWN])
                found.append(Case(kind, question["text"], accepted, shown))
        return found

    def _holds(self, place: int, accepted: Sequence[str]) -> bool:
        return mentions("\n".join(self.texts[place]), accepted)


def public(folder: Path, split: str) -> list[Case]:
    dataset = read_dataset(folder, config.load().reading, train_split="train", gold_split="dev")
    index = Lexical(dataset.passages)
    if split == "train":
        rows = dataset.train.to_pylist()
        return index.cases(random.Random(SEED).sample(rows, min(DRAWN, len(rows))), (ANSWERABLE, TAKEN))
    found = index.cases(dataset.gold.to_pylist(), (ANSWERABLE, TAKEN))
    absent = folder / "questions.unanswerable.jsonl.gz"
    if absent.is_file():
        with gzip.open(absent, "rt", encoding="utf-8") as lines:
            texts = [json.loads(line)["text"] for line in lines]
        nothing: Row = {"accepted_answers": [], "relevant_passage_ids": []}
        found += index.cases([{"text": text, **nothing} for text in texts], (ABSENT,))
    return found


def demo() -> list[Case]:
    made = world.build(DEMO_SEED, "full")
    gold = made.gold.to_pylist()
    found = Lexical(made.passages).cases(gold, (ANSWERABLE, TAKEN))
    intents = dict(zip(*made.gold_intents.select(["question_id", "intent_id"]).to_pydict().values(), strict=True))
    asked = [made.truth.intents[intents[question["question_id"]]].topic.key for question in gold]
    printed = [dict(metadata)["topic"] for metadata in made.passages["metadata"].to_pylist()]
    topics = random.Random(SEED).sample(sorted(set(printed)), len(set(printed)))
    for gone in (set(topics[fold::FOLDS]) for fold in range(FOLDS)):
        rest = Lexical(made.passages.filter(pa.array([topic not in gone for topic in printed])))
        found += rest.cases([q for q, topic in zip(gold, asked, strict=True) if topic in gone], (ABSENT,))
    return found


def read(cases: Sequence[Case], reader: ExtractiveReader) -> list[Case]:
    bold = replace(reader, refuse_below=None)
    return [
        replace(
            case,
            signs=reader.signs(case.question, case.shown),
            right=case.kind == ANSWERABLE
            and judge(bold.answer(case.question, case.shown), case.accepted, case.question).right,
        )
        for case in cases
    ]


def untitled(cases: Sequence[Case]) -> list[Case]:
    return [replace(case, shown=tuple(("", text) for _, text in case.shown)) for case in cases]


# -- fitting ----------------------------------------------------------------------------------------------------------


def fitted(sets: Sequence[Sequence[Case]], *, titled: bool) -> Weights:
    """Rightly answered questions against those without their answer; each set and either kind counts the same."""
    rows, truth, weights = [], [], []
    for cases in sets:
        for answered, side in zip((1, 0), sides(cases), strict=True):
            known = [case.signs for case in side if case.signs is not None and case.signs.titled == titled]
            rows += [(found.told, found.about, found.lacking) for found in known]
            truth += [answered] * len(known)
            weights += [1000 / len(known)] * len(known)
    model = LogisticRegression(C=np.inf, max_iter=5000).fit(np.array(rows), truth, sample_weight=weights)
    return Weights(float(model.intercept_[0]), *(float(weight) for weight in model.coef_[0]))


def threshold(sets: Sequence[Sequence[Case]], weights: Mapping[bool, Weights]) -> float:
    """weights: of cases with and without a title."""
    right = [[case.signs for case in cases if case.right and case.signs is not None] for cases in sets]
    costs = [np.array([weights[found.titled].probability(found) for found in side]) for side in right]
    return max(t / 100 for t in range(100) if all(np.mean(found < t / 100) <= COST for found in costs))


def sides(cases: Sequence[Case]) -> tuple[list[Case], list[Case]]:
    """Those answered rightly, and those whose answer was taken out."""
    return [case for case in cases if case.right], [case for case in cases if case.kind == TAKEN]


def sure(case: Case) -> float:
    return 0.0 if case.signs is None else probability(case.signs)


# -- measuring --------------------------------------------------------------------------------------------------------


def row(name: str, cases: Sequence[Case], below: float) -> Row:
    """Shares of questions. "by what is told alone": AUROC of the sign `told`, and what a threshold on it would refuse
    that refuses as many of the rightly answered."""
    asked = [case for case in cases if case.kind == ANSWERABLE]
    right = [case for case in asked if case.right]
    refused = share(right, below)
    found: Row = {
        "set": name,
        "answerable": len(asked),
        "accuracy without refusing": len(right) / len(asked),
        "accuracy": sum(case.right and sure(case) >= below for case in asked) / len(asked),
        "answerable refused": share(asked, below),
        "rightly answered refused": refused,
    }
    for kind in (TAKEN, ABSENT):
        against = [case for case in cases if case.kind == kind]
        if against:
            told = [np.array([0.0 if c.signs is None else c.signs.told for c in side]) for side in (right, against)]
            found[kind] = {
                "questions": len(against),
                "refused": share(against, below),
                "AUROC": auroc(*(np.array([sure(case) for case in side]) for side in (right, against))),
                "AUROC by what is told alone": auroc(*told),
                "refused by what is told alone": float(np.mean(told[1] < np.quantile(told[0], refused))),
            }
    return found


def share(cases: Sequence[Case], below: float) -> float:
    return float(np.mean([sure(case) < below for case in cases]))


def auroc(right: NDArray[np.float64], against: NDArray[np.float64]) -> float:
    return float(roc_auc_score([1] * len(right) + [0] * len(against), np.concatenate([right, against])))


def table(rows: Sequence[Row]) -> list[str]:
    lines = [
        "| set | accuracy without refusing | accuracy | rightly answered refused | unanswerable | refused | AUROC | "
        "by what is told alone: refused | AUROC |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for found in rows:
        for kind in (TAKEN, ABSENT):
            if kind in found:
                part = found[kind]
                lines.append(
                    f"| {found['set']} ({found['answerable']}) | {found['accuracy without refusing']:.3f} | "
                    f"{found['accuracy']:.3f} | {found['rightly answered refused']:.1%} | "
                    f"{kind} ({part['questions']}) | {part['refused']:.1%} | {part['AUROC']:.3f} | "
                    f"{part['refused by what is told alone']:.1%} | {part['AUROC by what is told alone']:.3f} |"
                )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--fit", action="store_true", help="fit weights and threshold on the training questions")
    parser.add_argument("--output", type=Path, default=RESULTS)
    asked = parser.parse_args()
    settings = config.load(environ={}).reader
    reader = ExtractiveReader(settings.max_answer_characters, settings.rank_decay, settings.refuse_below)
    if asked.fit:
        train = [public(asked.data / name, "train") for name in SETS]
        titled = [read(cases, reader) for cases in train]
        blank = [read(untitled(cases), reader) for cases in train]
        weights = {True: fitted(titled, titled=True), False: fitted(blank, titled=False)}
        print("TITLED", weights[True])
        print("UNTITLED", weights[False])
        print(f"refuse_below: {threshold(titled, weights):.2f}", flush=True)
        for name, other in zip(SETS, (1, 0), strict=True):
            weights = {True: fitted([titled[other]], titled=True), False: fitted([blank[other]], titled=False)}
            right, against = (
                np.array([weights[c.signs.titled].probability(c.signs) for c in side if c.signs is not None])
                for side in sides(read(public(asked.data / name, "dev"), reader))
            )
            print(f"AUROC on {name} of weights fitted on the other set: {auroc(right, against):.3f}", flush=True)
        return
    below = settings.refuse_below
    if below is None:
        raise SystemExit("reader.refuse_below is null: the reader never refuses")
    rows = []
    for name, cases in (*((name, public(asked.data / name, "dev")) for name in SETS), ("demo", demo())):
        rows.append(row(name, read(cases, reader), below))
        rows.append(row(f"{name}, no titles", read(untitled(cases), reader), below))
    kinds = [(found, found[kind]) for found in rows[::2] for kind in (TAKEN, ABSENT) if kind in found]
    refused, alone = (float(np.mean([part[key] for _, part in kinds])) for key in
                      ("refused", "refused by what is told alone"))  # fmt: skip
    cost = float(np.mean([found["accuracy without refusing"] - found["accuracy"] for found in rows[::2]]))
    result = {
        "refuse_below": below,
        "weights": TITLED._asdict(),
        "sets": rows,
        "measured": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores ({platform.machine()})",
    }
    asked.output.mkdir(parents=True, exist_ok=True)
    (asked.output / "refusals.json").write_text(json.dumps(result, indent=1) + "\n")
    headline = (
        f"{refused:.0%} of unanswerable questions refused (mean of {len(kinds)} lists), {refused / alone:.1f} times "
        f"as many as by what is told alone at the same cost, which is {100 * cost:.1f} points of accuracy"
    )
    text = [
        "# What the reader by rules refuses",
        "",
        f"`reader.refuse_below` {below}, development questions, BM25's first {SHOWN} passages; see "
        f"benchmarks/refusals.py. {result['machine']}, {result['measured']}.",
        "",
        *table(rows),
        "",
        headline,
        "",
    ]
    (asked.output / "refusals.md").write_text("\n".join(text))
    print(headline)


if __name__ == "__main__":
    main()
