"""What each section of the report shows, read from a ladder document; what was not measured is None or empty."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rerankops.evaluation.report.plots import Mark, Scale, Spread, covering, mark, spread
from rerankops.evaluation.report.words import known

ABOUT = {
    "retrieval_only": "retrieval's fused order, no reranker",
    "tuned_fusion": "fitted blend of retrieval signals, no cross-encoder",
    "base": "cross-encoder before training",
    "champion": "in production",
    "challenger": "newly trained",
    "teacher": "larger cross-encoder, shown for comparison",
}
RANKING = {
    "mrr@10": "MRR@10",
    "ndcg@10": "NDCG@10",
    "ndcg_exp@10": "NDCG@10, exp.",
    "map": "MAP",
    "hit@1": "Hit@1",
    "hit@6": "Hit@6",
    "hit@30": "Hit@30",
    "recall@1": "Recall@1",
    "recall@6": "Recall@6",
    "recall@30": "Recall@30",
}
LEGS = {
    "bm25_ms": "BM25 leg",
    "dense_ms": "dense leg",
    "fusion_ms": "fusion",
    "signals_ms": "signals",
    "cross_encoder_ms": "cross-encoder",
    "blend_ms": "blend",
    "reader_ms": "reader",
}
CLASSIFICATION = ("threshold", "precision", "recall", "f1", "accuracy", "n")

Row = Mapping[str, Any]
Pair = tuple[float, float]


@dataclass(frozen=True)
class Level:
    """A system of the ladder: its value with interval, and what it costs. missing: questions without a verdict."""

    name: str
    about: str
    value: float | None
    interval: Pair | None
    mark: Mark
    n: int | None
    missing: int
    milliseconds: float | None
    memory: float | None
    pairs: float | None


@dataclass(frozen=True)
class Rung:
    """What a system buys over another one: quality, and what it costs more. words: whether a gain is shown."""

    of: str
    against: str
    difference: float
    interval: Pair
    mark: Mark
    milliseconds: float | None
    memory: float | None
    words: str
    verdict: str


@dataclass(frozen=True)
class Difference:
    """A plotted difference; verdict: pass, fail or unsure."""

    name: str
    value: float
    interval: Pair | None
    mark: Mark
    verdict: str
    words: str


@dataclass(frozen=True)
class Piece:
    """A part of a stacked bar in per cent of the plot's width; number: its place in the legend, from 1."""

    number: int
    leg: str
    start: float
    width: float
    value: float


@dataclass(frozen=True)
class Stack:
    name: str
    pieces: tuple[Piece, ...]
    total: float


@dataclass(frozen=True)
class Bin:
    """A dot of a reliability diagram, in per cent of its square; radius in pixels, by the bin's share of pairs."""

    x: float
    y: float
    radius: float
    predicted: float
    observed: float
    n: int


@dataclass(frozen=True)
class Reliability:
    name: str
    error: float | None
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class Scores:
    """A system's scores of relevant and of other passages, on its own scale: scores of systems do not compare."""

    name: str
    scale: Scale
    relevant: Spread | None
    other: Spread | None
    medians: Mapping[str, float | None]


@dataclass(frozen=True)
class Refusal:
    name: str
    asked: int
    refused: int
    missing: int
    share: float | None
    interval: Pair | None
    mark: Mark


def pair(interval: Sequence[float] | None) -> Pair | None:
    """An interval whose both ends are known."""
    low, high = (known(end) for end in interval) if interval is not None and len(interval) == 2 else (None, None)
    return None if low is None or high is None else (low, high)


def levels(systems: Sequence[Row], metric: str, highlighted: str | None) -> tuple[Scale, list[Level]]:
    """One metric of every system on one scale."""
    found = [(row, known(row.get(metric)), _interval(row, metric)) for row in systems]
    values = [end for _, value, interval in found for end in (value, *(interval or ()))]
    scale = covering(values, unit="share", within=(0.0, 1.0))
    return scale, [
        Level(
            name=row["name"],
            about=ABOUT.get(row["name"], ""),
            value=value,
            interval=interval,
            mark=mark(scale, value, interval, "subject" if row["name"] == highlighted else ""),
            n=row.get("n"),
            missing=(row.get("missing") or 0) if metric == "accuracy" else 0,
            milliseconds=known(row.get("milliseconds_per_query")),
            memory=known(_cost(row).get("memory_mb")),
            pairs=known(_cost(row).get("pairs_per_query")),
        )
        for row, value, interval in found
    ]


def rungs(found: Sequence[Level], comparisons: Sequence[Row], metric: str) -> tuple[Scale, list[Rung]]:
    """Each system against the one before it, in the ladder's order."""
    steps = []
    for before, after in itertools.pairwise(found):
        row = compared(comparisons, after.name, before.name, metric)
        if row is not None:
            steps.append(
                (before, after, float(row["difference"]), (float(row["interval"][0]), float(row["interval"][1])))
            )
    scale = covering([0.0, *(end for *_, value, interval in steps for end in (value, *interval))], unit="points")
    return scale, [_rung(scale, *step) for step in steps]


def _rung(scale: Scale, before: Level, after: Level, difference: float, interval: Pair) -> Rung:
    verdict = "pass" if interval[0] > 0 else "fail" if interval[1] < 0 else "unsure"
    words = {"pass": "a gain is shown", "fail": "a loss is shown", "unsure": "neither gain nor loss is shown"}[verdict]
    return Rung(
        of=after.name,
        against=before.name,
        difference=difference,
        interval=interval,
        mark=mark(scale, difference, interval, verdict),
        milliseconds=_minus(after.milliseconds, before.milliseconds),
        memory=_minus(after.memory, before.memory),
        words=words,
        verdict=verdict,
    )


def compared(comparisons: Iterable[Row], of: str | None, against: str | None, metric: str) -> Row | None:
    """The comparison of two systems by a metric."""
    wanted = (of, against, metric)
    return next((row for row in comparisons if (row["of"], row["against"], row["metric"]) == wanted), None)


def differences(
    rows: Sequence[tuple[str, float, Pair | None, str, str]], edges: Sequence[float] = ()
) -> tuple[Scale, list[Difference]]:
    """Name, value, interval, verdict and words, on one scale that shows zero and `edges` too."""
    values = [end for _, value, interval, *_ in rows for end in (value, *(interval or ()))]
    scale = covering([0.0, *edges, *values], unit="points")
    return scale, [
        Difference(name, value, interval, mark(scale, value, interval, verdict), verdict, words)
        for name, value, interval, verdict, words in rows
    ]


def stacks(
    systems: Sequence[Row], *, without: Sequence[str] = ()
) -> tuple[list[tuple[int, str, str]], list[Stack], Scale | None]:
    """Where the time of an answer goes: (number, key, leg) of every measured leg, a bar a system, and their scale."""
    keys = [
        key for key in LEGS if key not in without and any(known(_cost(row).get(key)) is not None for row in systems)
    ]
    legend = [(number, key, LEGS[key]) for number, key in enumerate(LEGS, start=1) if key in keys]
    timed = [(row["name"], {key: known(_cost(row).get(key)) for key in keys}) for row in systems]
    sums = {name: sum(value or 0.0 for value in parts.values()) for name, parts in timed}
    longest = max(sums.values(), default=0.0)
    if not longest:
        return legend, [], None
    scale = Scale(0.0, longest, margin=0.5)
    bars = []
    for name, parts in timed:
        if all(value is None for value in parts.values()):
            continue
        pieces, so_far = [], 0.0
        for number, key, leg in legend:
            value = parts[key]
            if value is not None:
                start, end = scale.at(so_far), scale.at(so_far + value)
                pieces.append(Piece(number, leg, start, round(end - start, 2), value))
                so_far += value
        bars.append(Stack(name, tuple(pieces), so_far))
    return legend, bars, scale


def strata(systems: Sequence[Row]) -> list[str]:
    return sorted({str(name) for row in systems for name in row.get("strata") or {}})


def reliabilities(systems: Sequence[Row]) -> list[Reliability]:
    """Stated against observed share of relevant pairs, of every system whose scores were calibrated."""
    return [
        Reliability(row["name"], known(row["calibration"].get("error")), _bins(row["calibration"].get("bins") or ()))
        for row in systems
        if row.get("calibration")
    ]


def _bins(bins: Sequence[Row]) -> tuple[Bin, ...]:
    filled = [row for row in bins if row.get("n") and known(row.get("observed")) is not None]
    total = sum(row["n"] for row in filled) or 1
    return tuple(
        Bin(
            x=round(100 * row["predicted"], 2),
            y=round(100 - 100 * row["observed"], 2),
            radius=round(2.5 + 9 * (row["n"] / total) ** 0.5, 1),
            predicted=row["predicted"],
            observed=row["observed"],
            n=row["n"],
        )
        for row in filled
        if known(row.get("predicted")) is not None
    )


def scores(systems: Sequence[Row]) -> list[Scores]:
    """Score distributions of every system that has them."""
    found = []
    for row in systems:
        sides = row.get("scores") or {}
        relevant, other = (_quantiles(sides.get(side)) for side in ("relevant", "other"))
        if relevant or other:
            ends = [quantiles[place] for quantiles in (relevant, other) if quantiles for place in (0, -1)]
            scale = covering(ends, unit="")
            bars = [spread(scale, quantiles) if quantiles else None for quantiles in (relevant, other)]
            medians = {"relevant": _median(relevant), "other": _median(other)}
            found.append(Scores(row["name"], scale, bars[0], bars[1], medians))
    return found


def _quantiles(values: Sequence[float] | None) -> tuple[float, ...] | None:
    found = tuple(value for value in map(known, values or ()) if value is not None)
    return found if len(found) >= 2 and len(found) == len(values or ()) else None


def _median(quantiles: tuple[float, ...] | None) -> float | None:
    if not quantiles:
        return None
    middle = len(quantiles) // 2
    return quantiles[middle] if len(quantiles) % 2 else (quantiles[middle - 1] + quantiles[middle]) / 2


def refusals(systems: Sequence[Row]) -> tuple[Scale, list[Refusal]]:
    """How often each system's reader refused when the answer had been taken out of the candidates."""
    asked = [row for row in systems if row.get("refusals") and row["refusals"].get("asked")]
    found = [(row, known(row["refusals"].get("share")), pair(row["refusals"].get("interval"))) for row in asked]
    scale = covering(
        [end for _, value, interval in found for end in (value, *(interval or ()))], unit="share", within=(0.0, 1.0)
    )
    return scale, [
        Refusal(
            row["name"],
            row["refusals"]["asked"],
            row["refusals"].get("refused") or 0,
            row["refusals"].get("missing") or 0,
            value,
            interval,
            mark(scale, value, interval),
        )
        for row, value, interval in found
    ]


def _interval(row: Row, metric: str) -> Pair | None:
    return pair(row.get("accuracy_interval")) if metric == "accuracy" else None


def _cost(row: Row) -> Row:
    return row.get("cost") or {}


def _minus(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before
