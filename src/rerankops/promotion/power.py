"""What the gate can tell with a gold set: which gains it notices, which losses it stops, how many questions it takes.

Answered by asking the gate itself: questions are resampled from a population of real per-question outcomes, a contender
of known quality is made, and `gate.decide` decides, many times. Pure: what is random takes a seed.

A contender of known quality starts from two real systems' outcomes with the pair of values of each question exchanged
at random. That contender is exactly as good as its incumbent, and as discordant with it as the real one was. A gain of
g then makes a share g / (1 - mean) of its imperfect questions perfect, a loss of l a share l / mean of the others
worthless, so that the expected difference is +g or -l whatever the metric in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rerankops.evaluation.significance import wilson_interval
from rerankops.promotion.gate import Evidence, Thresholds, decide

Floats = NDArray[np.float64]
POWER = 0.8
_CONTENDER = "challenger"
_INCUMBENT = "champion"
_BOOTSTRAP = 500
"""Resamples inside one simulated decision."""


@dataclass(frozen=True)
class Population:
    """Per-question values in [0, 1] of two real systems on the same questions, and the questions' strata."""

    metric: str
    one: Floats
    other: Floats
    strata: NDArray[np.str_]

    def __post_init__(self) -> None:
        if not len(self.one) == len(self.other) == len(self.strata) > 0:
            raise ValueError("both systems need a value for each of at least one question")

    @property
    def n(self) -> int:
        return len(self.one)

    def resized(self, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Indices of n questions drawn with replacement, every stratum with its share (at least one question)."""
        names, counts = np.unique(self.strata, return_counts=True)
        drawn = [
            rng.choice(np.flatnonzero(self.strata == name), max(1, round(n * count / self.n)))
            for name, count in zip(names, counts, strict=True)
        ]
        return np.concatenate(drawn)


@dataclass(frozen=True)
class Effect:
    """gain: expected difference over all questions. losses: stratum to expected loss there, in addition and as a
    positive number; the gain is then put on the other strata so that the overall difference still is `gain`."""

    gain: float = 0.0
    losses: Mapping[str, float] | None = None


def simulate(
    population: Population, thresholds: Thresholds, effect: Effect, *, runs: int, seed: int, n: int | None = None
) -> Floats:
    """Whether the gate promoted the contender, run by run: shape (runs,), 0 or 1. n: questions of the gold set,
    None: as many as the population has."""
    promoted = np.zeros(runs)
    for run in range(runs):
        rng = np.random.default_rng([seed, run])
        chosen = population.resized(n or population.n, rng)
        strata = population.strata[chosen]
        swap = rng.random(chosen.size) < 0.5
        base = np.where(swap, population.other[chosen], population.one[chosen])
        contender = _changed(np.where(swap, population.one[chosen], population.other[chosen]), strata, effect, rng)
        evidence = Evidence(
            metric=population.metric,
            values={_INCUMBENT: base, _CONTENDER: contender},
            strata=strata.tolist(),
            incumbent=_INCUMBENT,
            contenders=(_CONTENDER,),
            leaks=(),
            data_validated=True,
            champion_expected="1",
            champion_now="1",
            blend_p_value=0.0,
            latency_ms={_CONTENDER: 0.0},
            memory_mb={_CONTENDER: 0.0},
            comparisons_before=0,
            refused={},
            judged_by_llm=False,
        )
        promoted[run] = decide(evidence, thresholds, bootstrap_samples=_BOOTSTRAP, seed=seed + run).promote
    return promoted


def _changed(values: Floats, strata: NDArray[np.str_], effect: Effect, rng: np.random.Generator) -> Floats:
    losses = effect.losses or {}
    harmed = np.isin(strata, list(losses))
    lost = sum(loss * float(np.mean(strata == name)) for name, loss in losses.items())
    spread = (effect.gain + lost) / max(float(np.mean(~harmed)), 1e-9)
    uniform = rng.random(values.size)
    changed = values.copy()
    room = 1 - values[~harmed]
    if spread > 0 and room.sum() > 0:
        better = ~harmed & (values < 1) & (uniform < spread * room.size / room.sum())
        changed[better] = 1.0
    for name, loss in losses.items():
        here = strata == name
        total = float(values[here].sum())
        if total > 0:
            changed[here & (values > 0) & (uniform < loss * int(here.sum()) / total)] = 0.0
    return changed


def detectable_gain(
    population: Population, thresholds: Thresholds, *, runs: int, seed: int, n: int | None = None
) -> float | None:
    """The smallest gain, in hundredths and halves of it, that is promoted with a chance of POWER; None above 0.25."""

    def promoted(gain: float) -> float:
        return float(simulate(population, thresholds, Effect(gain), runs=runs, seed=seed, n=n).mean())

    return _smallest(promoted, runs)


def stopped_loss(
    population: Population, thresholds: Thresholds, stratum: str, *, gain: float, runs: int, seed: int
) -> float | None:
    """The smallest loss in one stratum that is stopped with a chance of POWER although the contender gains `gain`
    overall; None above 0.25."""

    def stopped(loss: float) -> float:
        promoted = simulate(population, thresholds, Effect(gain, {stratum: loss}), runs=runs, seed=seed)
        return 1 - float(promoted.mean())

    return _smallest(stopped, runs)


def sample_size(population: Population, thresholds: Thresholds, gain: float, *, runs: int, seed: int) -> int | None:
    """How many questions like these would notice a gain with a chance of POWER; None above 20 times as many."""

    def enough(n: int) -> bool:
        promoted = simulate(population, thresholds, Effect(gain), runs=runs, seed=seed, n=n)
        return _surely(float(promoted.mean()), runs)

    low, high = 0, population.n
    while not enough(high):
        low, high = high, high * 2
        if high > 20 * population.n:
            return None
    while high - low > max(10, high // 20):
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _smallest(reached: Callable[[float], float], runs: int) -> float | None:
    """The smallest of 0.5, 1, 1.5 … 25 points at which `reached` surely is POWER or more, found by bisection."""
    grid = [step / 200 for step in range(1, 51)]
    low, high = 0, len(grid) - 1
    if not _surely(reached(grid[high]), runs):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _surely(reached(grid[middle]), runs) else (middle + 1, high)
    return grid[low]


def _surely(share: float, runs: int) -> bool:
    """Whether a share of simulated decisions shows that the true one is POWER or more (95 %, one-sided)."""
    return wilson_interval(share * runs, runs, confidence=0.9)[0] >= POWER


def assumed(metric: str, strata: NDArray[np.str_], *, right: float, discordant: float, seed: int) -> Population:
    """A population before anything was measured: two equal systems that are right on a share `right` of the questions
    and disagree on a share `discordant`. Raises ValueError when no two such systems exist."""
    if not 0 < discordant / 2 <= min(right, 1 - right):
        raise ValueError(
            f"two systems that are right on {right:g} of the questions can disagree on "
            f"{2 * min(right, 1 - right):g} of them at most, not on {discordant:g}"
        )
    rng = np.random.default_rng(seed)
    kind = rng.choice(4, strata.size, p=[right - discordant / 2, 1 - right - discordant / 2, *[discordant / 2] * 2])
    return Population(metric, np.isin(kind, [0, 2]).astype(float), np.isin(kind, [0, 3]).astype(float), strata)
