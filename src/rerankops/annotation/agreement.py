"""How far annotators agree beyond chance: Krippendorff's alpha and weighted kappa, overall, per stratum, per pair.

Both treat grades as ordered: a 0 against a 3 is a worse disagreement than a 2 against a 3. None means that the
annotations cannot tell: no task was graded by two people, or all grades are the same. Everything is counted in
matrices of grades against grades, so that a million annotations take a second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from rerankops.annotation.answers import Answers, Ints, tally
from rerankops.errors import InputError
from rerankops.records import GRADES

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """alpha: 0.8 and above is reliable, from 0.667 tentative conclusions (Krippendorff, 2004).
    kappa: mean over pairs of annotators, weighted by the tasks that the two share. pairs: such pairs.
    tasks: those that at least two people graded."""

    alpha: float | None
    kappa: float | None
    tasks: int
    annotators: int
    pairs: int


@dataclass(frozen=True)
class Pairs:
    """Annotators two by two: positions of the one and the other, tasks they share, weighted kappa (NaN: 0 / 0)."""

    one: Ints
    other: Ints
    tasks: Ints
    kappa: Floats


def agreement(annotations: pa.Table) -> Agreement:
    """Both measures and what they rest on. annotations: records.Annotation."""
    return _measure(*_coded(annotations))


def krippendorff_alpha(annotations: pa.Table) -> float | None:
    """1 - observed / expected disagreement, with the ordinal distance (Krippendorff, 2011, "Computing
    Krippendorff's alpha-reliability"): d(c, k)^2 = (sum of n_g for g = c..k - (n_c + n_k) / 2)^2, where n_g counts
    the grades g on tasks that at least two people graded. annotations: records.Annotation."""
    unit, _, grade = _coded(annotations)
    return _alpha(_tables(unit, grade))


def weighted_kappa(annotations: pa.Table) -> float | None:
    """Cohen's kappa with quadratic weights (Cohen, 1968), the mean over pairs of annotators, each pair weighted by
    the tasks that it shares. annotations: records.Annotation."""
    return mean_kappa(_pairs(*_coded(annotations)))


def of_answers(answers: Answers) -> Agreement:
    """As `agreement`, over the items that are no controls."""
    return _measure(*_asked(answers))


def by_stratum(answers: Answers) -> dict[str, Agreement]:
    """As `of_answers`, of each stratum."""
    strata = answers.items["stratum"].cast(pl.Categorical)
    of = strata.to_physical().to_numpy()[answers.item]
    asked = ~answers.control[answers.item]
    measured = {}
    for name in sorted(set(strata.cast(pl.String).unique())):
        code = strata.to_physical().filter(strata.cast(pl.String) == name)[0]
        chosen = asked & (of == code)
        measured[name] = _measure(answers.item[chosen], answers.annotator[chosen], answers.grade[chosen])
    return measured


def pairwise(answers: Answers) -> Pairs:
    """Every two annotators who graded the same item that is no control."""
    return _pairs(*_asked(answers))


def mean_kappa(pairs: Pairs) -> float | None:
    """Weighted by the tasks that each pair shares."""
    known = ~np.isnan(pairs.kappa)
    return float(np.average(pairs.kappa[known], weights=pairs.tasks[known])) if known.any() else None


def _asked(answers: Answers) -> tuple[Ints, Ints, Ints]:
    asked = ~answers.control[answers.item]
    return answers.item[asked], answers.annotator[asked], answers.grade[asked]


def _coded(annotations: pa.Table) -> tuple[Ints, Ints, Ints]:
    """Task, annotator and grade as numbers, sorted by task."""
    table = pl.DataFrame(pl.from_arrow(annotations.select(["task_id", "annotator_id", "grade"])))
    unknown = table.filter(~pl.col("grade").is_in(GRADES))
    if unknown.height:
        raise InputError(
            f"{unknown.height} annotation(s) with a grade outside {GRADES[0]}..{GRADES[-1]}, the first is grade "
            f"{unknown['grade'][0]} of task {unknown['task_id'][0]!r}; validate before measuring agreement"
        )
    coded = table.select(
        pl.col("task_id", "annotator_id").rank("dense").cast(pl.Int64) - 1, pl.col("grade").cast(pl.Int64)
    ).sort("task_id", "annotator_id")
    return tuple(column.to_numpy() for column in coded.get_columns())  # type: ignore[return-value]


def _measure(unit: Ints, annotator: Ints, grade: Ints) -> Agreement:
    """unit: sorted; the other two in its order."""
    tables = _tables(unit, grade)
    pairs = _pairs(unit, annotator, grade)
    known = ~np.isnan(pairs.kappa)
    shared = tables.sum(axis=1)[_dense(unit)] >= 2
    return Agreement(
        alpha=_alpha(tables),
        kappa=mean_kappa(pairs),
        tasks=int((tables.sum(axis=1) >= 2).sum()),
        annotators=int(np.unique(annotator[shared]).size),
        pairs=int(known.sum()),
    )


def _dense(unit: Ints) -> Ints:
    """Sorted numbers as 0, 1, 2, … without gaps."""
    return np.cumsum(np.diff(unit, prepend=unit[:1]) != 0) if unit.size else unit


def _tables(unit: Ints, grade: Ints) -> Ints:
    """How many gave each grade, (units, grades)."""
    dense = _dense(unit)
    return tally(dense, grade, int(dense[-1]) + 1 if dense.size else 0, len(GRADES))


def _alpha(tables: Ints) -> float | None:
    people = tables.sum(axis=1)
    values = tables[people >= 2]
    weight = 1 / (people[people >= 2] - 1)
    coincidences = values.T @ (values * weight[:, None]) - np.diag(weight @ values)
    n = values.sum(axis=0)
    if (n > 0).sum() < 2:
        return None
    middle = np.cumsum(n) - n / 2
    distance = (middle[:, None] - middle) ** 2
    expected = (np.outer(n, n) * distance).sum() / (n.sum() - 1)
    return float(1 - (coincidences * distance).sum() / expected)


def _pairs(unit: Ints, annotator: Ints, grade: Ints) -> Pairs:
    """unit: sorted. Answers i and i + lag of the same unit are compared, for every lag there is."""
    people = int(annotator.max()) + 1 if annotator.size else 0
    met, said = [], []
    lag = 1
    while (same := unit[lag:] == unit[:-lag]).any():
        one, other = annotator[:-lag][same], annotator[lag:][same]
        here, there = grade[:-lag][same], grade[lag:][same]
        turned = one > other
        met.append(np.where(turned, other * people + one, one * people + other))
        said.append(np.where(turned, there * len(GRADES) + here, here * len(GRADES) + there))
        lag += 1
    if not met:
        return Pairs(*(np.empty(0, dtype=np.int64),) * 3, np.empty(0))
    pair, place = np.unique(np.concatenate(met), return_inverse=True)
    cells = len(GRADES) ** 2
    tables = tally(place, np.concatenate(said), pair.size, cells).reshape(-1, len(GRADES), len(GRADES))
    tasks = tables.sum(axis=(1, 2))
    distance = (np.arange(len(GRADES))[:, None] - np.arange(len(GRADES))) ** 2
    observed = (tables * distance).sum(axis=(1, 2))
    expected = np.einsum("pi,pj,ij->p", tables.sum(axis=2), tables.sum(axis=1), distance) / tasks
    agreed = np.divide(observed, expected, out=np.full(pair.size, np.nan), where=expected > 0)
    return Pairs(pair // people, pair % people, tasks, 1 - agreed)
