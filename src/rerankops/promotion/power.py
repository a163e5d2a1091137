"""What the gate can tell with a gold set: which gains it notices, and how many questions it takes.

Answered by asking the gate itself: questions are resampled from a population of real per-question outcomes, a contender
of known quality is made, and `gate.decide` decides, many times. Which loss in a stratum it notices is what its own
rules say (`strata.Group.noticed`). Pure: what is random takes a seed.

A contender of known quality starts from two real systems' outcomes with the pair of values of each question exchanged
at random. That contender is exactly as good as its incumbent, and as discordant with it as the real one was. A gain of
g then makes a share g / (1 - mean) of its imperfect questions perfect, a loss of l a share l / mean of the others
worthless, so that the expected difference is +g or -l whatever the metric in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rerankops.evaluation.significance import wilson_interval
from rerankops.promotion import budget, strata
from rerankops.promotion.evidence import POWER, REFUSALS, SMALL, Case
from rerankops.promotion.gate import Evidence, Thresholds, decide
from rerankops.records import PromotionDecision

Floats = NDArray[np.float64]
_CONTENDER = "challenger"
_INCUMBENT = "champion"


@dataclass(frozen=True)
class Population:
    """Per-question values in [0, 1] of two real systems on the same questions, and the questions' strata.

    values: a pair of arrays a metric, the gate's first metric first.
    """

    values: Mapping[str, tuple[Floats, Floats]]
    strata: NDArray[np.str_]

    def __post_init__(self) -> None:
        arrays = [values for pair in self.values.values() for values in pair]
        if not arrays or not len(self.strata) or any(len(values) != len(self.strata) for values in arrays):
            raise ValueError("both systems need a value for each of at least one question")

    @property
    def n(self) -> int:
        return len(self.strata)

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
    """gain: expected difference over all questions in the first metric. losses: stratum to expected loss there, in
    addition and as a positive number; the gain is then put on the other strata so that the overall difference still is
    `gain`. further: expected difference of other metrics."""

    gain: float = 0.0
    losses: Mapping[str, float] | None = None
    further: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Look:
    """n: questions that the decision rests on, None: as many as the population has. level: of the look, None: of the
    first. accepted: whether a person accepted every stratum that the gate cannot tell about."""

    n: int | None = None
    level: float | None = None
    accepted: bool = True


FIRST = Look()


def decisions(
    population: Population, thresholds: Thresholds, effect: Effect, *, runs: int, seed: int, look: Look = FIRST
) -> Iterator[PromotionDecision]:
    """The gate's decisions about a contender of that quality, run by run."""
    for run in range(runs):
        parts, pairs = made(
            population, effect, np.random.default_rng([seed, run]), population.n if look.n is None else look.n
        )
        values = {
            metric: {_CONTENDER: contender, _INCUMBENT: incumbent} for metric, (contender, incumbent) in pairs.items()
        }
        yield decide(_evidence(values, parts, thresholds, look), thresholds)


def made(
    population: Population, effect: Effect, rng: np.random.Generator, n: int
) -> tuple[NDArray[np.str_], dict[str, tuple[Floats, Floats]]]:
    """n resampled questions' strata, and a metric the values of a contender of that quality and of its incumbent."""
    chosen = population.resized(n, rng)
    parts = population.strata[chosen]
    swap, uniform = rng.random(chosen.size) < 0.5, rng.random(chosen.size)
    values = {}
    for place, (metric, (one, other)) in enumerate(population.values.items()):
        changed = effect if place == 0 else Effect(effect.further.get(metric, 0.0))
        contender = _changed(np.where(swap, one[chosen], other[chosen]), parts, changed, uniform)
        values[metric] = (contender, np.where(swap, other[chosen], one[chosen]))
    return parts, values


def _evidence(
    values: Mapping[str, Mapping[str, Floats]], parts: NDArray[np.str_], thresholds: Thresholds, look: Look
) -> Evidence:
    """Sound in everything but what is asked here."""
    names = [*np.unique(parts).tolist(), SMALL, REFUSALS] if look.accepted else []
    return Evidence(
        values=values,
        strata=parts.tolist(),
        incumbent=_INCUMBENT,
        contenders=(_CONTENDER,),
        unseen=np.ones(parts.size, dtype=bool).tolist(),
        level=budget.level(0.0, thresholds.alpha) if look.level is None else look.level,
        accepted_strata=dict.fromkeys(names, "as assumed"),
        leaks=(),
        data_validated=True,
        champion_expected="1",
        champion_now="1",
        blend_p_value=0.0,
        latency_ms={_CONTENDER: 0.0},
        memory_mb={_CONTENDER: 0.0},
        refused={},
        judged_by_llm=False,
    )


def simulate(
    population: Population, thresholds: Thresholds, effect: Effect, *, runs: int, seed: int, look: Look = FIRST
) -> Floats:
    """Whether the gate promoted the contender, run by run: shape (runs,), 0 or 1."""
    made = decisions(population, thresholds, effect, runs=runs, seed=seed, look=look)
    return np.asarray([decision.promote for decision in made], dtype=np.float64)


@dataclass(frozen=True)
class Noticed:
    """questions: of a stratum. loss: what is noticed there four times in five, None: not even all. needed: questions
    that notice what must be noticed, None: more than a million."""

    questions: int
    loss: float | None
    needed: int | None


def noticed_losses(population: Population, thresholds: Thresholds, *, refusals: bool = False) -> dict[str, Noticed]:
    """What the gate would say of each stratum of questions like these, between two systems as good and as discordant
    as the population's. refusals: whether they are tested beside the strata, which takes its part of the level."""
    metric, (one, other) = next(iter(population.values.items()))
    swap = np.zeros(population.n, dtype=bool)
    for name in np.unique(population.strata):  # every second discordant question, so that neither system is better
        swap[np.flatnonzero((population.strata == name) & (one != other))[::2]] = True
    values = {metric: {_INCUMBENT: np.where(swap, one, other), _CONTENDER: np.where(swap, other, one)}}
    groups = strata.groups_of(Case(_evidence(values, population.strata, thresholds, FIRST), thresholds), _CONTENDER)
    level = strata.level(len(groups) + (refusals and thresholds.max_unnoticed_refusal_loss is not None), thresholds)
    return {
        group.name: Noticed(int(group.differences.size), group.noticed(level), group.needed(level)) for group in groups
    }


def _changed(values: Floats, strata: NDArray[np.str_], effect: Effect, uniform: Floats) -> Floats:
    losses = effect.losses or {}
    if not effect.gain and not losses:
        return values
    harmed = np.isin(strata, list(losses))
    lost = sum(loss * float(np.mean(strata == name)) for name, loss in losses.items())
    spread = (effect.gain + lost) / max(float(np.mean(~harmed)), 1e-9)
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
    population: Population,
    thresholds: Thresholds,
    *,
    metric: str | None = None,
    runs: int,
    seed: int,
    look: Look = FIRST,
) -> float | None:
    """The smallest gain, in hundredths and halves of it, that is promoted with a chance of POWER; None above 0.25.
    metric: in which alone the contender gains; None: the first."""
    further = metric is not None and metric != next(iter(population.values))

    def promoted(gain: float) -> float:
        effect = Effect(further={str(metric): gain}) if further else Effect(gain)
        return float(simulate(population, thresholds, effect, runs=runs, seed=seed, look=look).mean())

    return _smallest(promoted, runs)


def sample_size(population: Population, thresholds: Thresholds, gain: float, *, runs: int, seed: int) -> int | None:
    """How many questions like these would notice a gain with a chance of POWER; None above 20 times as many."""

    def enough(n: int) -> bool:
        promoted = simulate(population, thresholds, Effect(gain), runs=runs, seed=seed, look=Look(n))
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
    return Population({metric: (np.isin(kind, [0, 2]).astype(float), np.isin(kind, [0, 3]).astype(float))}, strata)
