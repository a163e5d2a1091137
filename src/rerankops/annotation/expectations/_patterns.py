"""Patterns in one person's grades that the tasks do not explain. Everything is counted, nothing is looped over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rerankops.records import GRADES

PERIODS = range(2, 9)
"""Lengths of a pattern, such as 0123 0123."""
_N = len(GRADES)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Peers:
    """Of each annotator: how often they gave each grade, and how often other people did on the same tasks.

    own, others: (annotators, grades) counts. kappa: agreement with other people's grades of the same tasks beyond
    chance (Cohen, 1960), and its standard error when tasks, not pairs, are what is sampled; NaN where nobody shares a
    task.
    """

    own: Floats
    others: Floats
    kappa: Floats
    error: Floats


def peers(task: NDArray[np.int64], annotator: NDArray[np.int64], grade: NDArray[np.int64], people: int) -> Peers:
    """task, annotator, grade: one row an annotation; annotators are numbered 0 to people - 1."""
    tasks = int(task.max()) + 1 if task.size else 0
    by_task = np.bincount(task * _N + grade, minlength=tasks * _N).reshape(tasks, _N).astype(np.float64)
    own = np.bincount(annotator * _N + grade, minlength=people * _N).reshape(people, _N).astype(np.float64)
    others = np.stack([np.bincount(annotator, by_task[task, g], people) for g in range(_N)], axis=1) - own
    shared = others.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        same = np.bincount(annotator, by_task[task, grade] - 1, people) / shared
        chance = (own / own.sum(axis=1, keepdims=True) * others / shared[:, None]).sum(axis=1)
        kappa = np.where(chance < 1, (same - chance) / (1 - chance), np.nan)
        shared_tasks = np.bincount(annotator, by_task[task].sum(axis=1) > 1, people)
        error = np.sqrt(same * (1 - same) / shared_tasks) / (1 - chance)
    return Peers(own, others, kappa, error)


def repetition(annotator: NDArray[np.int64], grade: NDArray[np.int64], people: int) -> tuple[Floats, Floats, Floats]:
    """The period after which each annotator's grades repeat best: (period, how often they do, how often they could).

    Rows are sorted by annotator and, within one, in the order in which they worked.
    """
    found = np.zeros((len(PERIODS), people))
    possible = np.zeros((len(PERIODS), people))
    for row, period in enumerate(PERIODS):
        together = annotator[period:] == annotator[:-period]
        same = together & (grade[period:] == grade[:-period])
        possible[row] = np.bincount(annotator[period:][together], minlength=people)
        found[row] = np.bincount(annotator[period:][same], minlength=people)
    with np.errstate(invalid="ignore"):
        share = np.where(possible > 0, found / possible, 0.0)
    best = share.argmax(axis=0)
    column = np.arange(people)
    return np.asarray(PERIODS, dtype=float)[best], found[best, column], possible[best, column]


def copies(rows: pl.DataFrame, *, least: int, share: float) -> pl.DataFrame:
    """Pairs of annotators with the same grade at the same instant on at least `share` of the work of the one who did
    less, and at least `least` tasks: annotator, copy_of (who did more), copied.

    rows: task, annotator, grade_value, annotated_at_value. Somebody whose times are mostly one and the same (an
    export's date) is left out.
    """
    worked = (
        rows.group_by("annotator")
        .agg(work=pl.len(), times=pl.col("annotated_at_value").n_unique())
        .filter(pl.col("times") * 2 >= pl.col("work"))
        .select("annotator", "work")
    )
    instant = ["task", "annotated_at_value", "grade_value"]
    key = rows["task"].cast(pl.UInt64) * 2**40 ^ rows["annotated_at_value"].to_physical().cast(pl.UInt64)
    met = rows.filter(key.is_duplicated()).join(worked, on="annotator").select(*instant, "annotator", "work")
    before = (pl.col("work_right") > pl.col("work")) | (
        (pl.col("work_right") == pl.col("work")) & (pl.col("annotator_right") < pl.col("annotator"))
    )
    return (
        met.join(met, on=instant)
        .filter(pl.col("annotator") != pl.col("annotator_right"), before)
        .group_by("annotator", "annotator_right")
        .agg(copied=pl.len(), work=pl.col("work").first())
        .filter(pl.col("copied") >= least, pl.col("copied") >= share * pl.col("work"))
        .sort("copied", "annotator_right", descending=[True, False])
        .unique("annotator", keep="first", maintain_order=True)
        .select("annotator", "copied", copy_of="annotator_right")
    )
