"""Whether a delivery's grades are distributed like those of earlier ones, stratum by stratum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from rerankops.annotation.expectations._verdict import GRADE_COUNTS
from rerankops.records import GRADES


@dataclass(frozen=True)
class Drift:
    """distance: share of grades that would have to be others to look like before (total variation), strata weighed as
    in this delivery. p_value: that so much or more is chance (G-test of each stratum's table, summed). turned: the
    distance when this delivery's grades are turned round. tasks, earlier: how many are compared."""

    distance: float
    p_value: float
    turned: float
    tasks: float
    earlier: float


def grade_counts(rows: pl.DataFrame, asked: pl.DataFrame) -> pa.Table:
    """GRADE_COUNTS of the tasks that are no controls. People who grade the same task are no independent sample, so a
    task counts once, shared out among its grades."""
    ordinary = rows.filter(pl.col("control_grade").is_null())
    cells = ordinary["task"].to_numpy().astype(np.int64) * len(GRADES) + ordinary["grade_value"].to_numpy()
    by_task = np.bincount(cells, minlength=asked.height * len(GRADES)).reshape(-1, len(GRADES))
    shares = by_task / np.maximum(1, by_task.sum(axis=1, keepdims=True))
    names = [str(grade) for grade in GRADES]
    counted = (
        pl.DataFrame(shares, schema=names)
        .with_columns(asked["stratum"])
        .group_by("stratum")
        .agg(pl.col(names).sum())
        .unpivot(names, index="stratum", variable_name="grade", value_name="tasks")
        .filter(pl.col("tasks") > 0)
        .with_columns(pl.col("grade").cast(pl.Int8))
        .sort("stratum", "grade")
    )
    return counted.select(GRADE_COUNTS.names).to_arrow().cast(GRADE_COUNTS)


def drift(counts: pa.Table, history: pa.Table) -> Drift | None:
    """counts, history: GRADE_COUNTS, of this delivery and of earlier ones; rows of a stratum and grade are added up.
    None when no stratum is in both."""
    from scipy.stats import chi2, chi2_contingency

    now, before = _by_stratum(counts), _by_stratum(history)
    shared = sorted(now.keys() & before.keys())
    if not shared:
        return None
    statistic, freedom = 0.0, 0
    for stratum in shared:
        table = np.stack([now[stratum], before[stratum]])
        table = table[:, table.sum(axis=0) > 0]
        if table.shape[1] > 1:
            tested = chi2_contingency(table, correction=False, lambda_="log-likelihood")
            statistic, freedom = statistic + float(tested.statistic), freedom + int(tested.dof)
    observed = np.sum([now[stratum] for stratum in shared], axis=0)
    expected = np.sum([before[s] / before[s].sum() * now[s].sum() for s in shared], axis=0)
    tasks = observed.sum()
    return Drift(
        distance=float(np.abs(observed - expected).sum() / tasks / 2),
        p_value=float(chi2.sf(statistic, freedom)) if freedom else 1.0,
        turned=float(np.abs(observed[::-1] - expected).sum() / tasks / 2),
        tasks=float(tasks),
        earlier=float(sum(before[stratum].sum() for stratum in shared)),
    )


def _by_stratum(counts: pa.Table) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for stratum, grade, tasks in zip(*(counts[name].to_pylist() for name in GRADE_COUNTS.names), strict=True):
        found.setdefault(stratum, np.zeros(len(GRADES)))[grade] += tasks
    return {stratum: graded for stratum, graded in found.items() if graded.sum() > 0}
