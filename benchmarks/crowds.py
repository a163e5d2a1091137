"""Adjudication on simulated crowds whose truth is known: accuracy, calibration, and finding the careless.

    python benchmarks/crowds.py [--crowds 20] [--only NAME]

People have the five error profiles of the demonstration (careful, hasty, lenient, strict, careless), one in five each,
so that 20 % are careless; truths are drawn here. Three of them, at random, answer each task; 5 % of the tasks are
controls with known grade 0 or 3. Besides sizes, three crowds are made to be awkward: rare and even grades, tasks that
are hard for everyone (15 % of them lure everyone towards the same wrong neighbour half the time, against the model's
assumption that people err independently), and a team of five. Compared on the same answers: majority vote, mean,
crowd-kit's Dawid and Skene (maximum likelihood, 100 iterations at most), and rerankops' method with the settings of
configs/base.yaml.

accuracy: share of tasks (controls left out) with the true grade. gain: over majority on the same answers, 95 %
bootstrap over the crowds of a row. calibration error: 10 bins of equal width, mean over crowds and of the pooled tasks.
careless: verdicts of the scorecards, all crowds of a row together. Results go to benchmarks/results/crowds.{json,md}.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import warnings
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

from rerankops import config
from rerankops.annotation.adjudication import adjudicate
from rerankops.annotation.answers import Answers
from rerankops.annotation.confusion import careless_probability
from rerankops.annotation.scorecards import DRAWS
from rerankops.config import AdjudicationSettings
from rerankops.demo.annotators import ANNOTATORS
from rerankops.records import GRADES

RESULTS = Path(__file__).resolve().parent / "results"
PER_TASK = 3
CONTROLS = 0.05
CARELESS = next(n for n, annotator in enumerate(ANNOTATORS) if annotator.annotator_id == "sim-careless")
CONFUSION = np.array([annotator.confusion for annotator in ANNOTATORS])
BINS = 10
RESAMPLES = 2000
FIRST_SEED = 1000
METHODS = ("majority", "mean", "crowd-kit", "rerankops")


@dataclass(frozen=True)
class Kind:
    """A kind of crowd. hard: share of tasks on which everyone is lured to the same neighbouring grade."""

    name: str
    tasks: int
    people: int
    frequencies: tuple[float, ...] = (0.5, 0.2, 0.15, 0.15)
    hard: float = 0.0


KINDS = (
    Kind("100 tasks, 10 people", 100, 10),
    Kind("300 tasks, 10 people", 300, 10),
    Kind("600 tasks, 20 people", 600, 20),
    Kind("1,320 tasks, 50 people", 1320, 50),
    Kind("1,320 tasks, 20 people", 1320, 20),
    Kind("1,320 tasks, 10 people", 1320, 10),
    Kind("4,000 tasks, 20 people", 4000, 20),
    Kind("20,000 tasks, 50 people", 20000, 50),
    Kind("a team of five, 1,320 tasks", 1320, 5),
    Kind("good passages rare, 1,320 tasks, 20 people", 1320, 20, (0.7, 0.15, 0.1, 0.05)),
    Kind("even grades, 1,320 tasks, 20 people", 1320, 20, (0.25, 0.25, 0.25, 0.25)),
    Kind("15 % hard for everyone, 1,320 tasks, 20 people", 1320, 20, hard=0.15),
    Kind("15 % hard for everyone, 4,000 tasks, 20 people", 4000, 20, hard=0.15),
)


@dataclass(frozen=True)
class Crowd:
    """A simulated crowd. truth, control: of each task. careless: of each person."""

    answers: Answers
    truth: NDArray[np.int64]
    control: NDArray[np.bool_]
    careless: NDArray[np.bool_]


def simulate(kind: Kind, seed: int) -> Crowd:
    rng = np.random.default_rng([seed, kind.tasks, kind.people])
    profile = np.arange(kind.people) % len(ANNOTATORS)
    truth = rng.choice(len(GRADES), size=kind.tasks, p=kind.frequencies)
    control = np.arange(kind.tasks) < round(CONTROLS * kind.tasks)
    truth[control] = rng.choice([GRADES[0], GRADES[-1]], size=control.sum())
    who = np.sort(np.argsort(rng.random((kind.tasks, kind.people)), axis=1)[:, :PER_TASK], axis=1)
    chances = CONFUSION[profile[who], truth[:, None]]
    if kind.hard:
        lured = (rng.random(kind.tasks) < kind.hard) & ~control
        towards = np.eye(len(GRADES))[np.clip(truth + rng.choice([-1, 1], size=kind.tasks), 0, len(GRADES) - 1)]
        chances = np.where(lured[:, None, None], (chances + towards[:, None]) / 2, chances)
    grade = (chances.cumsum(axis=2) > rng.random((kind.tasks, PER_TASK, 1))).argmax(axis=2)
    items = pl.DataFrame(
        {
            "query_id": [f"q{n // 6}" for n in range(kind.tasks)],
            "passage_id": [f"p{n}" for n in range(kind.tasks)],
            "query_text": [""] * kind.tasks,
            "stratum": ["all"] * kind.tasks,
            "control_grade": pl.Series(np.where(control, truth, -1), dtype=pl.Int8),
        }
    ).with_columns(control_grade=pl.when(pl.col("control_grade") >= 0).then("control_grade"))
    settled = pl.DataFrame(schema={"item": pl.Int64, "grade": pl.Int64, "people": pl.Int64, "share": pl.Float64})
    answers = Answers(
        item=np.repeat(np.arange(kind.tasks), PER_TASK),
        annotator=who.ravel(),
        grade=grade.ravel(),
        items=items,
        annotators=[f"{n:03}" for n in range(kind.people)],
        settled=settled,
        n_grades=len(GRADES),
    )
    return Crowd(answers, truth, control, profile == CARELESS)


def judged(crowd: Crowd, method: str, settings: AdjudicationSettings) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Grade and confidence of each task."""
    if method == "crowd-kit":
        from crowdkit.aggregation import DawidSkene

        answers = crowd.answers
        table = pd.DataFrame({"task": answers.item, "worker": answers.annotator, "label": answers.grade})
        known = pd.Series(crowd.truth[crowd.control], index=np.flatnonzero(crowd.control))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            chances = DawidSkene(n_iter=100).fit_predict_proba(table, known)
        chances = chances.reindex(index=range(len(crowd.truth)), columns=list(GRADES), fill_value=0.0).to_numpy()
        return chances.argmax(axis=1), chances.max(axis=1)
    chosen = "dawid_skene" if method == "rerankops" else method
    found = adjudicate(crowd.answers, settings.model_copy(update={"method": chosen}))
    return found.grade, found.confidence


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Expected calibration error (Naeini, Cooper and Hauskrecht, 2015), bins of equal width."""
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    gap = np.bincount(place, weights=confidence - right, minlength=BINS)
    return float(np.abs(gap).sum() / count.sum())


def interval(gains: list[float], seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap of the mean over crowds: tasks of one crowd share its people and are no sample."""
    values = np.array(gains)
    drawn = np.random.default_rng(seed).integers(values.size, size=(RESAMPLES, values.size))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def measure(kind: Kind, crowds: int, settings: AdjudicationSettings) -> dict[str, Any]:
    right: dict[str, list[NDArray[np.bool_]]] = {name: [] for name in METHODS}
    sure: dict[str, list[NDArray[np.float64]]] = {name: [] for name in METHODS}
    flagged, careless = [], []
    for seed in range(FIRST_SEED, FIRST_SEED + crowds):
        crowd = simulate(kind, seed)
        for name in METHODS:
            grade, confidence = judged(crowd, name, settings)
            right[name].append((grade == crowd.truth)[~crowd.control])
            sure[name].append(confidence[~crowd.control])
        fitted = adjudicate(crowd.answers, settings).crowd
        doubt = careless_probability(fitted, limit=settings.careless_kappa, draws=DRAWS, seed=0)
        answered = np.bincount(crowd.answers.annotator, minlength=kind.people)
        flagged.append((doubt >= settings.careless_certainty) & (answered >= settings.min_answers))
        careless.append(crowd.careless)
    flags, truth = np.concatenate(flagged), np.concatenate(careless)
    shares = {name: [float(crowd.mean()) for crowd in right[name]] for name in METHODS}
    gains = {
        name: [ours - base for ours, base in zip(shares[name], shares["majority"], strict=True)] for name in METHODS
    }
    row: dict[str, Any] = asdict(kind) | {"crowds": crowds, "answers_each": PER_TASK * kind.tasks / kind.people}
    row["methods"] = {
        name: {
            "accuracy": float(np.mean(shares[name])),
            "gain": float(np.mean(gains[name])),
            "gain_interval": interval(gains[name]),
            "calibration_error": float(np.mean([*map(calibration_error, sure[name], right[name])])),
            "calibration_error_pooled": calibration_error(np.concatenate(sure[name]), np.concatenate(right[name])),
        }
        for name in METHODS
    }
    row["careless"] = {
        "people": int(truth.sum()),
        "flagged": int(flags.sum()),
        "precision": float((flags & truth).sum() / flags.sum()) if flags.any() else None,
        "recall": float((flags & truth).sum() / truth.sum()),
    }
    return row


def sensitivity(kinds: tuple[Kind, ...], crowds: int, settings: AdjudicationSettings) -> list[dict[str, Any]]:
    """What adjudication.prior_answers changes."""
    rows = []
    for prior in (0, 2, 5, 10, 20, 50, 100):
        chosen = settings.model_copy(update={"prior_answers": float(prior)})
        figures = {}
        for kind in kinds:
            scores = []
            for seed in range(FIRST_SEED, FIRST_SEED + crowds):
                crowd = simulate(kind, seed)
                grade, confidence = judged(crowd, "rerankops", chosen)
                right = (grade == crowd.truth)[~crowd.control]
                scores.append((right.mean(), calibration_error(confidence[~crowd.control], right)))
            figures[kind.name] = [float(value) for value in np.mean(scores, axis=0)]
        rows.append({"prior_answers": prior, "accuracy_and_calibration_error": figures})
    return rows


def markdown(document: dict[str, Any]) -> str:
    def share(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    rows = document["rows"]
    lines = [
        "# Simulated crowds with known truth",
        "",
        f"{document['date']}, {document['machine']}. `python benchmarks/crowds.py --crowds {document['crowds']}`. "
        f"Every row: {document['crowds']} crowds, three people a task, 20 % of the people careless, 5 % controls. "
        "Gain: accuracy of rerankops less that of majority, 95 % bootstrap interval.",
        "",
        "| crowd | majority | mean | crowd-kit DS | rerankops | gain | interval |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        methods = row["methods"]
        ours = methods["rerankops"]
        cells = [share(methods[name]["accuracy"]) for name in METHODS]
        low, high = ours["gain_interval"]
        lines.append(f"| {row['name']} | {' | '.join(cells)} | {ours['gain']:+.3f} | {low:+.3f} to {high:+.3f} |")
    lines += [
        "",
        "Expected calibration error (mean over crowds, a small crowd's own noise being part of it; in brackets of all "
        "tasks of a row together), and how the careless are found.",
        "",
        "| crowd | majority | crowd-kit DS | rerankops | answers each | careless: precision | recall |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        cells = [
            f"{row['methods'][name]['calibration_error']:.3f} ({row['methods'][name]['calibration_error_pooled']:.3f})"
            for name in ("majority", "crowd-kit", "rerankops")
        ]
        found = row["careless"]
        lines.append(
            f"| {row['name']} | {' | '.join(cells)} | {row['answers_each']:.0f} | "
            f"{share(found['precision'])} | {share(found['recall'])} |"
        )
    if document["sensitivity"]:
        names = list(document["sensitivity"][0]["accuracy_and_calibration_error"])
        lines += [
            "",
            "What `adjudication.prior_answers` changes: accuracy, calibration error.",
            "",
            f"| prior answers | {' | '.join(names)} |",
            f"|---:|{'---|' * len(names)}",
        ]
        for entry in document["sensitivity"]:
            values = entry["accuracy_and_calibration_error"].values()
            cells = " | ".join(f"{accuracy:.3f}, {error:.3f}" for accuracy, error in values)
            lines.append(f"| {entry['prior_answers']} | {cells} |")
    lines += [
        "",
        "No published crowd set is part of this table: crowd-kit's sets are downloads, and crowd-kit, crowdnalysis, "
        "crowdtruth and peerannot carry none in their packages.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crowds", type=int, default=20, help="a row")
    parser.add_argument("--only", help="rows whose name holds this; nothing is written")
    chosen = parser.parse_args()
    settings = config.load(environ={}).adjudication
    rows = []
    for kind in KINDS:
        if chosen.only and chosen.only not in kind.name:
            continue
        rows.append(measure(kind, chosen.crowds, settings))
        ours, found = rows[-1]["methods"]["rerankops"], rows[-1]["careless"]
        print(
            f"{kind.name}: accuracy {ours['accuracy']:.3f}, gain {ours['gain']:+.3f} "
            f"[{ours['gain_interval'][0]:+.3f}, {ours['gain_interval'][1]:+.3f}], calibration error "
            f"{ours['calibration_error']:.3f}, careless precision {found['precision']} recall {found['recall']:.2f}",
            flush=True,
        )
    document = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "crowds": chosen.crowds,
        "settings": settings.model_dump(mode="json"),
        "rows": rows,
        "sensitivity": [] if chosen.only else sensitivity(KINDS[1:5], min(chosen.crowds, 10), settings),
    }
    if not chosen.only:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "crowds.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        (RESULTS / "crowds.md").write_text(markdown(document), encoding="utf-8")


if __name__ == "__main__":
    main()
