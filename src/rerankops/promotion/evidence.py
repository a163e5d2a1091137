"""What the gate is asked and what it knows. Nothing here is taken for granted: what is not given is not known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rerankops.evaluation import significance
from rerankops.promotion import words

Floats = NDArray[np.float64]

POWER = 0.8
"""A difference reported as detectable is noticed four times in five."""


class Thresholds(Protocol):
    """What the gate asks for; `settings.promotion` is one."""

    @property
    def alpha(self) -> float: ...
    @property
    def min_questions(self) -> int: ...
    @property
    def min_stratum_questions(self) -> int: ...
    @property
    def stratum_margin(self) -> float: ...
    @property
    def cheaper_margin(self) -> float: ...
    @property
    def max_latency_ms(self) -> float | None: ...
    @property
    def max_memory_mb(self) -> float | None: ...
    @property
    def blend_alpha(self) -> float: ...
    @property
    def max_missing_share(self) -> float: ...
    @property
    def smallest_effect(self) -> float: ...
    @property
    def gold_error_budget(self) -> float: ...
    @property
    def refusal_margin(self) -> float | None: ...
    @property
    def min_judge_agreement(self) -> float: ...


SHARES = ("alpha", "stratum_margin", "cheaper_margin", "blend_alpha", "max_missing_share", "smallest_effect",
          "min_judge_agreement", "refusal_margin")  # fmt: skip
AMOUNTS = ("min_questions", "min_stratum_questions", "gold_error_budget", "max_latency_ms", "max_memory_mb")
OPTIONAL = ("max_latency_ms", "max_memory_mb", "refusal_margin")
"""Thresholds that may be None: that rule is not gated."""


@dataclass(frozen=True)
class Evidence:
    """What is known when the gate decides. None, and a system that a mapping lacks: not known, which refuses when a
    rule asks for it.

    metric: the primary metric, in [0, 1]. values: it, question by question, a system; nan where there is no verdict.
    strata: each question's stratum, in the same order.
    incumbent: the system in production: "champion", or "retrieval_only" when there is none yet.
    contenders: who may be promoted, cheapest first.
    leaks: what was found of gold in the training data, in words or identifiers; () when nothing was.
    data_validated: whether what the contenders were trained on passed validation.
    champion_expected: the registry's champion that `values` were measured against; champion_now: the registry's now.
    blend_p_value: of the test that the blend fits the development labels better than chance.
    latency_ms: median per query of each system. memory_mb: of each system's model and working arrays.
    comparisons_before: other evaluations made on these gold questions, one that shared only a part of them counted by
    that part.
    refused: 1 refused, 0 answered, nan no verdict, a system, one value a question whose answer was taken out of the
    candidates, the same questions for all; {} when the reader cannot refuse.
    judged_by_llm: whether a language model judged any of `values`. judge_agreement: the share of a labelled sample's
    answers that were its to judge on which it says what people say, judge_interval: of that, at 95 %.
    """

    metric: str
    values: Mapping[str, ArrayLike]
    strata: Sequence[str]
    incumbent: str
    contenders: tuple[str, ...]
    leaks: tuple[str, ...] | None = None
    data_validated: bool | None = None
    champion_expected: str | None = None
    champion_now: str | None = None
    blend_p_value: float | None = None
    latency_ms: Mapping[str, float | None] = field(default_factory=dict)
    memory_mb: Mapping[str, float | None] = field(default_factory=dict)
    comparisons_before: float | None = None
    refused: Mapping[str, ArrayLike] | None = None
    judged_by_llm: bool | None = None
    judge_agreement: float | None = None
    judge_interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Difference:
    """mean with its central 1 - 2 alpha interval, one-sided p-value, and what a gold set like this would notice."""

    mean: float
    low: float
    high: float
    p: float
    detectable: float


class Case:
    """Evidence with its arrays in shape, and what was asked of it."""

    def __init__(self, evidence: Evidence, thresholds: Thresholds, samples: int, seed: int) -> None:
        self.evidence, self.asked = evidence, thresholds
        self.samples, self.seed = samples, seed
        self.values = {name: shares(values) for name, values in evidence.values.items()}
        self.n = len(evidence.strata)
        self._found: dict[tuple[str, str], Difference] = {}

    def has(self, name: str) -> bool:
        """Whether a system has a value, or a nan, for each of at least one question."""
        return self.n > 0 and name in self.values and self.values[name].size == self.n

    def comparable(self, name: str) -> bool:
        return name != self.evidence.incumbent and self.has(name) and self.has(self.evidence.incumbent)

    def differences(self, of: str, against: str) -> Floats:
        """Question by question; a missing verdict is wrong for the one and right for the other."""
        difference: Floats = np.nan_to_num(self.values[of], nan=0.0) - np.nan_to_num(self.values[against], nan=1.0)
        return difference

    def difference(self, of: str, against: str) -> Difference:
        if (of, against) not in self._found:
            values, alpha = self.differences(of, against), self.asked.alpha
            low, high = significance.bootstrap_interval(
                values, confidence=1 - 2 * alpha, samples=self.samples, seed=self.seed
            )
            p = significance.p_greater(values, samples=self.samples, seed=self.seed)
            detectable = significance.detectable_difference(values, alpha=alpha, power=POWER)
            self._found[of, against] = Difference(float(values.mean()), low, high, p, detectable)
        return self._found[of, against]

    def told(self, of: str, against: str, p: float) -> str:
        """The difference in words, with its interval and what the dearer of the two costs."""
        difference = self.difference(of, against)
        means = [_mean(self.values[name]) for name in (of, against)]
        return (
            f"{words.points(difference.mean)} of {self.evidence.metric} ({words.percent(means[0])} against "
            f"{words.percent(means[1])} of {against}, {self.n} questions; "
            f"{words.interval((difference.low, difference.high), self.asked.alpha)}, {words.p(p)})"
        )

    def cost(self, of: str, against: str) -> str | None:
        """Latency and memory of one system beside another's, as far as they are known."""
        known = [
            words.against(value, amount(measured.get(against)), unit)
            for measured, unit in ((self.evidence.latency_ms, "ms a query"), (self.evidence.memory_mb, "MB"))
            if (value := amount(measured.get(of))) is not None
        ]
        return " and ".join(known) if known else None


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan


def amount(value: float | None) -> float | None:
    """A measurement that can be believed: finite and not negative; None otherwise."""
    return value if value is not None and math.isfinite(value) and value >= 0 else None


def shares(values: ArrayLike) -> Floats:
    """One flat array; what is no number in [0, 1] is no verdict (nan)."""
    array = np.asarray(values, dtype=np.float64).ravel()
    kept: Floats = np.where((array >= 0) & (array <= 1), array, np.nan)
    return kept
