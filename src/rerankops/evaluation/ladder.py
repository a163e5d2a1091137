"""The ladder: every system on the same gold questions, cheapest first, and how sure each step up is."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from rerankops.errors import InputError
from rerankops.evaluation import significance
from rerankops.evaluation.calibration import Calibration, Pairs
from rerankops.records import SYSTEMS, Comparison

COLUMNS = {
    "accuracy": "correct",
    "hit@1": "hit@1",
    "recall@1": "recall@1",
    "mrr@10": "reciprocal_rank@10",
    "ndcg@10": "ndcg@10",
    "ndcg_exp@10": "ndcg_exp@10",
    "map": "average_precision",
    "hit@6": "hit@6",
    "recall@6": "recall@6",
    "hit@30": "hit@30",
    "recall@30": "recall@30",
}
"""Each metric of the ladder and the column of records.QuestionOutcome whose mean it is."""
COMPARED = ("accuracy", "hit@1", "recall@1", "mrr@10", "ndcg@10", "ndcg_exp@10", "map", "hit@6", "recall@6")
STRATIFIED = ("accuracy", "mrr@10", "ndcg@10", "recall@1", "recall@6", "hit@1", "hit@6")


@dataclass(frozen=True)
class Aligned:
    """Metrics of several systems, question by question.

    values: for each metric, one array per system, in the order of question_ids; nan where a verdict is missing.
    """

    question_ids: tuple[str, ...]
    strata: tuple[str, ...]
    values: dict[str, dict[str, NDArray[np.float64]]]


@dataclass(frozen=True)
class Measured:
    """What is known of a system beside its outcomes; everything may be unknown.

    pairs: of `calibration.pair_quality`. refused: 1 refused, 0 answered, nan no verdict, one value a question whose
    answer was taken out of the candidates; empty when the reader cannot refuse.
    milliseconds_per_query: to rank one query's candidates. cost: {bm25_ms, dense_ms, fusion_ms, signals_ms,
    cross_encoder_ms, blend_ms, reader_ms (medians a query), memory_mb, pairs_per_query}, null where not measured.
    """

    pairs: Pairs | None = None
    refused: ArrayLike = ()
    milliseconds_per_query: float | None = None
    cost: Mapping[str, float | None] = field(default_factory=dict)


COSTS = (
    "bm25_ms", "dense_ms", "fusion_ms", "signals_ms", "cross_encoder_ms", "blend_ms", "reader_ms", "memory_mb",
    "pairs_per_query",
)  # fmt: skip


def ladder(
    outcomes: Mapping[str, pa.Table],
    *,
    measured: Mapping[str, Measured] | None = None,
    close: Collection[str] | None = None,
    bootstrap_samples: int,
    seed: int,
) -> dict[str, Any]:
    """{"systems": [...], "comparisons": [...]}, ready for JSON; systems in the order of records.SYSTEMS.

    outcomes: a records.QuestionOutcome table for each system. measured: what else was measured for a system. close: ids
    of the questions that a training query asks in other words; None where this was not checked. Means leave out the
    questions whose value is null (`missing` counts those of accuracy) and are None when all are null. Comparisons set
    every more expensive system against every cheaper one, on the questions that have a value for both; a metric without
    any such question is left out. All comparisons share one set of resamples.
    Raises InputError when the systems were not asked the same questions, or when a system was measured but not asked.
    """
    names = _in_order(outcomes)
    unasked = sorted(set(measured or {}) - set(names))
    if unasked:
        raise InputError(f"measured: {unasked[0]!r} has no outcomes; the systems with outcomes are {names}")
    frames = {name: pl.DataFrame(outcomes[name]).sort("question_id") for name in names}
    _refuse_unpaired(frames)
    known = {name: (measured or {}).get(name, Measured()) for name in names}
    return {
        "systems": [_row(name, frames[name], known[name], close) for name in names],
        "comparisons": [asdict(each) for each in _comparisons(frames, samples=bootstrap_samples, seed=seed)],
    }


def _comparisons(frames: Mapping[str, pl.DataFrame], *, samples: int, seed: int) -> list[Comparison]:
    """Paired differences, one a pair of systems and metric. frames: cheapest first, sorted alike."""
    names = list(frames)
    values = {(name, metric): _values(frames[name], metric) for name in names for metric in COMPARED}
    asked = [
        (of, against, metric, values[of, metric] - values[against, metric])
        for place, of in enumerate(names)
        for against in names[:place]
        for metric in COMPARED
    ]
    asked = [each for each in asked if not np.isnan(each[3]).all()]
    if not asked:
        return []
    differences = np.column_stack([each[3] for each in asked])
    intervals = significance.bootstrap_intervals(differences, samples=samples, seed=seed)
    p_values = significance.p_greater_each(differences, samples=samples, seed=seed)
    return [
        Comparison(
            of=of,
            against=against,
            metric=metric,
            difference=float(np.nanmean(difference)),
            interval=interval,
            p_value=p_value,
            n=int(np.sum(~np.isnan(difference))),
        )
        for (of, against, metric, difference), interval, p_value in zip(asked, intervals, p_values, strict=True)
    ]


def aligned(outcomes: Mapping[str, pa.Table], gold: pa.Table, metrics: Sequence[str]) -> Aligned:
    """The metric values that the gate compares, for every gold question that can have a value of the first metric.

    A question can have an accuracy when it has accepted answers, and a ranking metric when it has relevant passages;
    the other questions are left out. Among the questions that remain, a missing row or a null becomes nan: a missing
    verdict, which is never dropped.
    """
    needed = "accepted_answers" if metrics[0] == "accuracy" else "relevant_passage_ids"
    asked = pl.DataFrame(gold.select(["question_id", "stratum", needed])).filter(pl.col(needed).list.len() > 0)
    asked = asked.select("question_id", "stratum").sort("question_id")
    values: dict[str, dict[str, NDArray[np.float64]]] = {metric: {} for metric in metrics}
    for name in _in_order(outcomes):
        frame = pl.DataFrame(outcomes[name]).select("question_id", *(COLUMNS[metric] for metric in metrics))
        joined = asked.join(frame, on="question_id", how="left", maintain_order="left")
        for metric in metrics:
            values[metric][name] = _values(joined, metric)
    return Aligned(tuple(asked["question_id"]), tuple(asked["stratum"]), values)


def _accuracy(correct: NDArray[np.float64]) -> dict[str, Any]:
    """Mean and 95 % Wilson interval of the verdicts there are."""
    found = correct[~np.isnan(correct)]
    interval = significance.wilson_interval(float(found.sum()), found.size) if found.size else None
    return {"accuracy": _mean(correct), "accuracy_interval": list(interval) if interval else None}


def _row(name: str, frame: pl.DataFrame, known: Measured, close: Collection[str] | None) -> dict[str, Any]:
    correct = _values(frame, "accuracy")
    strata = {
        str(stratum): {"n": len(part), **{metric: _mean(_values(part, metric)) for metric in STRATIFIED}}
        for (stratum,), part in sorted(frame.group_by("stratum", maintain_order=True), key=lambda pair: str(pair[0]))
    }
    pairs = known.pairs or Pairs(None, None, None)
    return {
        "name": name,
        "n": len(frame),
        "missing": int(np.isnan(correct).sum()),
        **_accuracy(correct),
        "strata": strata,
        "close": None if close is None else _memory(frame, close),
        **{metric: _mean(_values(frame, metric)) for metric in COLUMNS if metric != "accuracy"},
        "classification": asdict(pairs.classification) if pairs.classification else None,
        "calibration": _calibrated(pairs.calibration) if pairs.calibration else None,
        "scores": {k: list(v) for k, v in asdict(pairs.scores).items()} if pairs.scores else None,
        "refusals": _refusals(known.refused),
        "milliseconds_per_query": known.milliseconds_per_query,
        "cost": {part: known.cost.get(part) for part in COSTS},
    }


def _memory(frame: pl.DataFrame, close: Collection[str]) -> dict[str, Any]:
    """Accuracy on the questions that a training query asks in other words (with), and on all others (without)."""
    near = pl.col("question_id").is_in(list(close))
    parts = {"with": frame.filter(near), "without": frame.filter(~near)}
    return {
        side: {"n": len(part), **_accuracy(_values(part, "accuracy")), "hit@1": _mean(_values(part, "hit@1"))}
        for side, part in parts.items()
    }


def _calibrated(found: Calibration) -> dict[str, Any]:
    bins = [
        {"from": each.low, "to": each.high, "n": each.n, "predicted": each.predicted, "observed": each.observed}
        for each in found.bins
    ]
    return {"error": found.error, "bins": bins}


def _refusals(refused: ArrayLike) -> dict[str, Any] | None:
    """asked counts all questions, missing those without a verdict; share and interval are of the others."""
    values = np.asarray(refused, dtype=np.float64).ravel()
    if not values.size:
        return None
    found = values[~np.isnan(values)]
    interval = significance.wilson_interval(float(found.sum()), found.size) if found.size else None
    return {
        "asked": int(values.size),
        "missing": int(values.size - found.size),
        "refused": int(found.sum()),
        "share": _mean(values),
        "interval": list(interval) if interval else None,
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
