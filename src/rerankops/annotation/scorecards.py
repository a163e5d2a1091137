"""How each annotator does, as a table and as one self-contained page. No network, no script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from rerankops.annotation.adjudication import Adjudication
from rerankops.annotation.agreement import Agreement, Pairs, by_stratum, of_answers, pairwise
from rerankops.annotation.confusion import JEFFREYS, Floats, careless_probability, kappa
from rerankops.config.settings import AdjudicationSettings
from rerankops.intervals import wilson
from rerankops.records import GRADES, VERDICTS, Scorecard

CONTROL_TOLERANCE = 1
"""A control is passed within this many grades of its known grade, as in validation."""
DRAWS = 1000
"""Confusion matrices drawn from each annotator's posterior."""
_SEED = 0
_PAIR_TASKS = 20
_SHOWN_PAIRS = 10
"""Two annotators are shown when they share so many tasks, and so many pairs at most, those that agree least."""
_WORDS = {
    "careless": "careless",
    "watch": "to watch",
    "fine": "fine",
    "unknown": "too few answers to tell",
}


@dataclass(frozen=True)
class Report:
    """Everything that the page shows. cards: records.Scorecard, those to look at first at the top.
    matrices: P(said | true) of each annotator, (annotators, true, said), by the annotators of the adjudication."""

    cards: pa.Table
    overall: Agreement
    strata: Mapping[str, Agreement]
    pairs: Pairs
    annotators: Sequence[str]
    matrices: Floats
    grades: Sequence[int]
    mean_confidence: float
    contested: int
    settled: int

    @property
    def careless(self) -> int:
        """How many annotators are careless with certainty."""
        verdicts: list[str] = self.cards["verdict"].to_pylist()
        return verdicts.count("careless")


def report(
    adjudication: Adjudication, annotations: pa.Table, settings: AdjudicationSettings, *, set_aside: Mapping[str, int]
) -> Report:
    """Scorecards, and what they stand beside.

    annotations: records.Annotation that were adjudicated, for their times. set_aside: how many answers of each
    annotator validation did not accept. The same arguments give the same report.
    """
    answers, crowd = adjudication.answers, adjudication.crowd
    pairs = pairwise(answers)
    people = len(answers.annotators)
    control = answers.control[answers.item]
    known = answers.items["control_grade"].fill_null(0).to_numpy()[answers.item]
    passed = control & (np.abs(answers.grade - known) <= CONTROL_TOLERANCE)
    asked = answers.annotator[~control]
    difference = (answers.grade - adjudication.grade[answers.item])[~control]
    tasks = np.bincount(asked, minlength=people)
    controls = np.bincount(answers.annotator[control], minlength=people)
    accuracy = _share(np.bincount(answers.annotator[passed], minlength=people), controls)
    low, high = wilson(accuracy, controls)
    matrices = crowd.counts + JEFFREYS
    matrices /= matrices.sum(axis=2, keepdims=True)
    careless = careless_probability(crowd, limit=settings.careless_kappa, draws=DRAWS, seed=_SEED)
    aside = np.array([set_aside.get(name, 0) for name in answers.annotators], dtype=np.int64)
    table = pl.DataFrame(
        {
            "annotator_id": pl.Series(answers.annotators, dtype=pl.String),
            "tasks": tasks,
            "controls": controls,
            "control_accuracy": accuracy,
            "control_low": low,
            "control_high": high,
            "agreement": _share(np.bincount(asked[difference == 0], minlength=people), tasks),
            "kappa": kappa(matrices, crowd.prior),
            "kappa_with_others": _kappa_with_others(pairs, people),
            "bias": _share(np.bincount(asked, weights=difference, minlength=people), tasks),
            "set_aside": aside / np.maximum(aside + tasks + controls, 1),
            "careless_probability": careless,
            "verdict": _verdicts(careless, tasks + controls, settings),
        }
    )
    cards = (
        table.with_columns(pl.col(pl.Float64).fill_nan(None))
        .join(_seconds(annotations), on="annotator_id", how="left")
        .sort(pl.col("verdict").cast(pl.Enum(VERDICTS)), "kappa", "annotator_id")
    )
    judged = ~answers.control
    return Report(
        cards=Scorecard.conform(cards.select(Scorecard.columns).to_arrow()),
        overall=of_answers(answers),
        strata=by_stratum(answers),
        pairs=pairs,
        annotators=answers.annotators,
        matrices=matrices,
        grades=np.bincount(adjudication.grade[judged], minlength=len(GRADES)).tolist(),
        mean_confidence=float(adjudication.confidence[judged].mean()),
        contested=adjudication.contested(settings).num_rows,
        settled=answers.settled.height,
    )


def render(report: Report, *, title: str) -> str:
    """The page as one string; whatever comes from outside is escaped."""
    from jinja2 import Environment, StrictUndefined

    template = resources.files("rerankops.annotation").joinpath("scorecards.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(share=_percent, number=_number, signed=_signed, count=_count)
    place = {name: number for number, name in enumerate(report.annotators)}
    cards = report.cards.to_pylist()
    page = environment.from_string(template).render(
        title=title,
        report=report,
        cards=cards,
        words=_WORDS,
        matrices={card["annotator_id"]: report.matrices[place[card["annotator_id"]]].tolist() for card in cards},
        pairs=_lowest(report),
        pair_tasks=_PAIR_TASKS,
        tolerance=CONTROL_TOLERANCE,
        grades=GRADES,
    )
    return page + "\n"


def _share(part: NDArray[Any], whole: NDArray[np.int64]) -> Floats:
    """NaN where there is nothing."""
    shares: Floats = np.divide(part, whole, out=np.full(whole.size, np.nan), where=whole > 0)
    return shares


def _kappa_with_others(pairs: Pairs, people: int) -> Floats:
    """Mean over an annotator's colleagues, each weighted by the tasks the two share."""
    defined = ~np.isnan(pairs.kappa)
    ends = [side[defined] for side in (pairs.one, pairs.other)]
    tasks, values = pairs.tasks[defined], pairs.kappa[defined] * pairs.tasks[defined]
    shared = np.sum([np.bincount(end, weights=tasks, minlength=people) for end in ends], axis=0)
    total = np.sum([np.bincount(end, weights=values, minlength=people) for end in ends], axis=0)
    mean: Floats = np.divide(total, shared, out=np.full(people, np.nan), where=shared > 0)
    return mean


def _verdicts(careless: Floats, answers: NDArray[np.int64], settings: AdjudicationSettings) -> list[str]:
    verdicts: list[str] = np.select(
        [answers < settings.min_answers, careless >= settings.careless_certainty, careless >= 0.5],
        ["unknown", "careless", "watch"],
        default="fine",
    ).tolist()
    return verdicts


def _seconds(annotations: pa.Table) -> pl.DataFrame:
    """Median seconds a task of each annotator: as measured by the tool, else between two of their answers."""
    times = pl.DataFrame(pl.from_arrow(annotations.select(["annotator_id", "annotated_at", "lead_seconds"])))
    return (
        times.sort("annotator_id", "annotated_at")
        .group_by("annotator_id")
        .agg(
            measured=pl.col("lead_seconds").median(),
            between=pl.col("annotated_at").diff().dt.total_microseconds().median() / 1e6,
        )
        .select(
            "annotator_id",
            seconds=pl.coalesce("measured", pl.when(pl.col("between") > 0).then("between")),
        )
    )


def _lowest(report: Report) -> list[dict[str, Any]]:
    """The pairs of annotators that agree least, of those that share enough."""
    pairs = report.pairs
    chosen = np.flatnonzero((pairs.tasks >= _PAIR_TASKS) & ~np.isnan(pairs.kappa))
    order = chosen[np.argsort(pairs.kappa[chosen], kind="stable")][:_SHOWN_PAIRS]
    return [
        {
            "one": report.annotators[pairs.one[place]],
            "other": report.annotators[pairs.other[place]],
            "tasks": int(pairs.tasks[place]),
            "kappa": float(pairs.kappa[place]),
        }
        for place in order
    ]


def _percent(value: float | None, digits: int = 0) -> str:
    return "–" if value is None or math.isnan(value) else f"{value * 100:.{digits}f} %"


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.2f}".replace("-", "−")


def _count(value: int) -> str:
    return f"{value:,}"
