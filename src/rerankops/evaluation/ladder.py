"""The ladder: every system on the same gold questions, cheapest first, and how sure each step up is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from rerankops.errors import InputError
from rerankops.evaluation import significance
from rerankops.records import SYSTEMS, Comparison

COLUMNS = {
    "accuracy": "correct",
    "recall@1": "recall@1",
    "mrr@10": "reciprocal_rank@10",
    "ndcg@10": "ndcg@10",
    "recall@6": "recall@6",
    "recall@30": "recall@30",
}
"""Each metric of the ladder and the column of records.QuestionOutcome whose mean it is."""
COMPARED = ("accuracy", "recall@1", "mrr@10", "ndcg@10")


@dataclass(frozen=True)
class Aligned:
    """One metric of several systems, question by question.

    values: an array a system, in the order of question_ids; nan where a verdict is missing.
    """

    metric: str
    question_ids: tuple[str, ...]
    strata: tuple[str, ...]
    values: dict[str, NDArray[np.float64]]


def ladder(outcomes: Mapping[str, pa.Table], *, bootstrap_samples: int, seed: int) -> dict[str, Any]:
    """{"systems": [...], "comparisons": [...]}, ready for JSON; systems in the order of records.SYSTEMS.

    outcomes: a records.QuestionOutcome table a system. Means leave out the questions whose value is null (`missing`
    counts those of accuracy) and are None when all are. Comparisons set every dearer system against every cheaper one
    on the questions that both have a value for; a metric without any is left out.
    Raises InputError when the systems were not asked the same questions.
    """
    names = _in_order(outcomes)
    frames = {name: pl.DataFrame(outcomes[name]).sort("question_id") for name in names}
    _refuse_unpaired(frames)
    return {
        "systems": [_row(name, frames[name]) for name in names],
        "comparisons": [
            asdict(comparison)
            for place, of in enumerate(names)
            for against in names[:place]
            for metric in COMPARED
            if (comparison := compare(of, against, metric, frames, samples=bootstrap_samples, seed=seed)) is not None
        ],
    }


def compare(
    of: str, against: str, metric: str, frames: Mapping[str, pl.DataFrame], *, samples: int, seed: int
) -> Comparison | None:
    """The paired difference of two systems, None when no question has a value in both. frames: sorted alike."""
    differences = _values(frames[of], metric) - _values(frames[against], metric)
    differences = differences[~np.isnan(differences)]
    if not differences.size:
        return None
    return Comparison(
        of=of,
        against=against,
        metric=metric,
        difference=float(differences.mean()),
        interval=significance.bootstrap_interval(differences, samples=samples, seed=seed),
        p_value=significance.p_greater(differences, samples=samples, seed=seed),
        n=int(differences.size),
    )


def aligned(outcomes: Mapping[str, pa.Table], gold: pa.Table, metric: str) -> Aligned:
    """What the gate weighs: the metric's values on every gold question that can have one.

    A question can have an accuracy when it has accepted answers, and a ranking metric when it has relevant passages;
    the others are left out. Of those that can, a missing row or a null is nan: a missing verdict, never dropped.
    """
    needed = "accepted_answers" if metric == "accuracy" else "relevant_passage_ids"
    asked = pl.DataFrame(gold.select(["question_id", "stratum", needed])).filter(pl.col(needed).list.len() > 0)
    asked = asked.select("question_id", "stratum").sort("question_id")
    values = {}
    for name in _in_order(outcomes):
        frame = pl.DataFrame(outcomes[name]).select("question_id", COLUMNS[metric])
        values[name] = _values(asked.join(frame, on="question_id", how="left", maintain_order="left"), metric)
    return Aligned(metric, tuple(asked["question_id"]), tuple(asked["stratum"]), values)


def _row(name: str, frame: pl.DataFrame) -> dict[str, Any]:
    correct = _values(frame, "accuracy")
    known = correct[~np.isnan(correct)]
    interval = significance.wilson_interval(float(known.sum()), known.size) if known.size else None
    strata = {
        stratum: {"n": len(part), "accuracy": _mean(_values(part, "accuracy"))}
        for (stratum,), part in sorted(frame.group_by("stratum", maintain_order=True), key=lambda pair: str(pair[0]))
    }
    return {
        "name": name,
        "n": len(frame),
        "missing": int(np.isnan(correct).sum()),
        "accuracy": _mean(correct),
        "accuracy_interval": list(interval) if interval else None,
        "strata": strata,
        **{metric: _mean(_values(frame, metric)) for metric in COLUMNS if metric != "accuracy"},
    }


def _values(frame: pl.DataFrame, metric: str) -> NDArray[np.float64]:
    column: NDArray[np.float64] = frame[COLUMNS[metric]].cast(pl.Float64).fill_null(math.nan).to_numpy()
    return column


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def _in_order(outcomes: Mapping[str, pa.Table]) -> list[str]:
    unknown = sorted(set(outcomes) - set(SYSTEMS))
    if unknown:
        raise InputError(f"outcomes: unknown system {unknown[0]!r}; allowed are {list(SYSTEMS)}")
    return [name for name in SYSTEMS if name in outcomes]


def _refuse_unpaired(frames: Mapping[str, pl.DataFrame]) -> None:
    first: str | None = None
    for name, frame in frames.items():
        first = first or name
        if frame["question_id"].to_list() != frames[first]["question_id"].to_list():
            raise InputError(f"outcomes: {name!r} and {first!r} were not asked the same questions; evaluate both again")
