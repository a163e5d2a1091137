"""How far annotators agree beyond chance, for reports: Krippendorff's alpha and the mean weighted kappa.

Both treat grades as ordered: a 0 against a 3 is a worse disagreement than a 2 against a 3. None means that the
annotations cannot tell: no task was graded by two people, or all grades are the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from rerankops.records import GRADES


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


def agreement(annotations: pa.Table) -> Agreement:
    """Both measures and what they rest on. annotations: records.Annotation."""
    shared = _shared(annotations)
    kappa, pairs = _mean_kappa(shared)
    return Agreement(
        alpha=_alpha(shared),
        kappa=kappa,
        tasks=shared["task_id"].n_unique(),
        annotators=shared["annotator_id"].n_unique(),
        pairs=pairs,
    )


def krippendorff_alpha(annotations: pa.Table) -> float | None:
    """1 - observed / expected disagreement, with the ordinal distance (Krippendorff, 2011, "Computing
    Krippendorff's alpha-reliability"): d(c, k)^2 = (sum of n_g for g = c..k - (n_c + n_k) / 2)^2, where n_g counts
    the grades g on tasks that at least two people graded. annotations: records.Annotation."""
    return _alpha(_shared(annotations))


def weighted_kappa(annotations: pa.Table) -> float | None:
    """Cohen's kappa with quadratic weights (Cohen, 1968), the mean over pairs of annotators, each pair weighted by
    the tasks that it shares. annotations: records.Annotation."""
    return _mean_kappa(_shared(annotations))[0]


def _shared(annotations: pa.Table) -> pl.DataFrame:
    """Annotations of tasks that at least two people graded."""
    table = pl.DataFrame(pl.from_arrow(annotations.select(["task_id", "annotator_id", "grade"])))
    return table.filter(pl.len().over("task_id") >= 2)


def _alpha(shared: pl.DataFrame) -> float | None:
    if shared["grade"].n_unique() < 2:
        return None
    from crowdkit.metrics.data import alpha_krippendorff

    counts = np.bincount(shared["grade"].to_numpy(), minlength=len(GRADES))
    upto = np.cumsum(counts)
    middle = upto - counts / 2
    squared = (middle[:, None] - middle[None, :]) ** 2
    distance = (squared / squared.max()).tolist()
    answers = shared.rename({"task_id": "task", "annotator_id": "worker", "grade": "label"}).to_pandas()
    return float(alpha_krippendorff(answers, distance=lambda c, k: distance[c][k]))


def _mean_kappa(shared: pl.DataFrame) -> tuple[float | None, int]:
    from sklearn.metrics import cohen_kappa_score

    tables = (
        shared.join(shared, on="task_id", suffix="_other")
        .filter(pl.col("annotator_id") < pl.col("annotator_id_other"))
        .group_by("annotator_id", "annotator_id_other", "grade", "grade_other")
        .len()
        .sort(pl.all())
        .partition_by("annotator_id", "annotator_id_other", maintain_order=True)
    )
    kappas: list[float] = []
    weights: list[int] = []
    for pair in tables:
        if pair["grade"].n_unique() == 1 and pair["grade"].equals(pair["grade_other"], check_names=False):
            continue  # both gave one and the same grade: kappa is 0 / 0
        kappas.append(
            cohen_kappa_score(
                pair["grade"].to_numpy(),
                pair["grade_other"].to_numpy(),
                labels=list(GRADES),
                weights="quadratic",
                sample_weight=pair["len"].to_numpy(),
            )
        )
        weights.append(int(pair["len"].sum()))
    return (float(np.average(kappas, weights=weights)) if kappas else None), len(kappas)
