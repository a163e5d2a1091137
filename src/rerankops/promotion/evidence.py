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
SMALL = "small strata"
"""The strata below `min_stratum_questions`, put together."""
REFUSALS = "refusals"


class Thresholds(Protocol):
    """What the gate asks for; `settings.promotion` is one."""

    @property
    def metrics(self) -> Sequence[str]: ...
    @property
    def first_metric_share(self) -> float: ...
    @property
    def inferiority_margin(self) -> float: ...
    @property
    def alpha(self) -> float: ...
    @property
    def min_level(self) -> float: ...
    @property
    def min_questions(self) -> int: ...
    @property
    def min_stratum_questions(self) -> int: ...
    @property
    def stratum_alpha(self) -> float: ...
    @property
    def max_unnoticed_stratum_loss(self) -> float: ...
    @property
    def max_unnoticed_refusal_loss(self) -> float | None: ...
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
    def min_judge_agreement(self) -> float: ...


SHARES = ("alpha", "min_level", "first_metric_share", "inferiority_margin", "stratum_alpha", "cheaper_margin",
          "max_unnoticed_stratum_loss", "max_unnoticed_refusal_loss", "blend_alpha", "max_missing_share",
          "smallest_effect", "min_judge_agreement")  # fmt: skip
AMOUNTS = ("min_questions", "min_stratum_questions", "max_latency_ms", "max_memory_mb")
OPTIONAL = ("max_latency_ms", "max_memory_mb", "max_unnoticed_refusal_loss")
"""Thresholds that may be None: that rule is not gated."""


@dataclass(frozen=True)
class Evidence:
    """What is known when the gate decides. None, and a system that a mapping lacks: not known, which refuses when a
    rule asks for it.

    values: each metric of promotion.metrics, in [0, 1], a system, question by question; nan where there is no verdict.
    strata: each question's stratum, in the same order. unseen: whether no report has shown that question's results yet;
    a decision rests on those alone.
    level: of this look, as stored with it: half of what the earlier ones left of promotion.alpha (promotion.budget).
    accepted_strata: what a person accepted that the gate cannot tell about, a stratum (or SMALL, REFUSALS), and who
    that was and why.
    incumbent: the system in production: "champion", or "retrieval_only" when there is none yet.
    contenders: who may be promoted, cheapest first.
    leaks: what was found of gold in the training data, in words or identifiers; () when nothing was.
    data_validated: whether what the contenders were trained on passed validation.
    champion_expected: the registry's champion that `values` were measured against; champion_now: the registry's now.
    blend_p_value: of the test that the blend fits the development labels better than chance.
    latency_ms: median per query of each system. memory_mb: of each system's model and working arrays.
    refused: 1 refused, 0 answered, nan no verdict, a system, one value a question whose answer was taken out of the
    candidates, the same questions for all; {} when the reader cannot refuse.
    judged_by_llm: whether a language model judged any of `values`. judge_agreement: the share of a labelled sample's
    answers that were its to judge on which it says what people say, judge_interval: of that, at 95 %.
    """

    values: Mapping[str, Mapping[str, ArrayLike]]
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
    unseen: Sequence[bool] | None = None
    level: float | None = None
    accepted_strata: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, ArrayLike] | None = None
    judged_by_llm: bool | None = None
    judge_agreement: float | None = None
    judge_interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Difference:
    """Of two systems in one metric: mean with its central 1 - 2 alpha interval (Bonett and Price), p of "no better"."""

    metric: str
    mean: float
    low: float
    high: float
    p: float


class Case:
    """Evidence with its arrays in shape, cut to the unseen questions, and what was asked of it.

    metrics: those of `asked.metrics` that any question has a value of, and the first one.
    """

    def __init__(self, evidence: Evidence, thresholds: Thresholds) -> None:
        self.evidence, self.asked = evidence, thresholds
        self.given = len(evidence.strata)
        unseen = np.asarray([] if evidence.unseen is None else evidence.unseen, dtype=bool).ravel()
        self.aligned = unseen.size == self.given
        kept = np.flatnonzero(unseen) if self.aligned else np.empty(0, dtype=np.int64)
        self.n = int(kept.size)
        self.strata = np.asarray(evidence.strata, dtype=np.str_)[kept]
        cut: dict[str, dict[str, Floats]] = {}
        for metric in thresholds.metrics:
            whole = {name: shares(values) for name, values in evidence.values.get(metric, {}).items()}
            cut[metric] = {name: values[kept] for name, values in whole.items() if values.size == self.given}
        known = [metric for metric in cut if any(not np.isnan(v).all() for v in cut[metric].values())]
        self.first: str = thresholds.metrics[0]
        for metric in known:
            if metric != self.first:  # what no system has a value of, as a question without relevant passages, has none
                had = ~np.all([np.isnan(values) for values in cut[metric].values()], axis=0)
                cut[metric] = {name: values[had] for name, values in cut[metric].items()}
        self.metrics = tuple(dict.fromkeys([self.first, *known]))
        self.values = cut
        self._found: dict[tuple[str, str, str], Difference] = {}

    @property
    def level(self) -> float:
        """Of this look; 0 when it is not known."""
        return amount(self.evidence.level) or 0.0

    def has(self, name: str, metric: str | None = None) -> bool:
        """Whether a system has a value, or a nan, for each of at least one question."""
        return self.n > 0 and name in self.values[metric or self.first]

    def comparable(self, name: str) -> bool:
        return name != self.evidence.incumbent and self.has(name) and self.has(self.evidence.incumbent)

    def usable(self, metric: str, *names: str) -> bool:
        """Whether a further metric is known of these systems on all but the tolerated share of those that have it."""
        if not all(self.has(name, metric) for name in names):
            return False
        missing = np.any([np.isnan(self.values[metric][name]) for name in names], axis=0)
        return float(np.mean(missing)) <= self.asked.max_missing_share

    def differences(self, of: str, against: str, metric: str | None = None) -> Floats:
        """Question by question; a missing verdict is wrong for the one and right for the other."""
        values = self.values[metric or self.first]
        difference: Floats = np.nan_to_num(values[of], nan=0.0) - np.nan_to_num(values[against], nan=1.0)
        return difference

    def difference(self, of: str, against: str, metric: str | None = None) -> Difference:
        metric = metric or self.first
        if (of, against, metric) not in self._found:
            values = self.differences(of, against, metric)
            low, high = interval(values, self.asked.alpha)
            mean = float(values.mean()) if values.size else math.nan
            self._found[of, against, metric] = Difference(metric, mean, low, high, significance.p_better(values))
        return self._found[of, against, metric]

    def detectable(self, of: str, against: str, level: float) -> float:
        """The true gain in the first metric that a test at this level notices four times in five."""
        if not 0 < level < 1:
            return math.inf
        return significance.detectable_difference(self.differences(of, against), alpha=level, power=POWER)

    def told(self, of: str, against: str, p: float, metric: str | None = None) -> str:
        """The difference in words, with its interval."""
        difference = self.difference(of, against, metric)
        means = [_mean(self.values[difference.metric][name]) for name in (of, against)]
        return (
            f"{words.points(difference.mean)} of {difference.metric} ({words.percent(means[0])} against "
            f"{words.percent(means[1])} of {against}, {self.values[difference.metric][of].size} questions; "
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


def interval(values: Floats, alpha: float) -> tuple[float, float]:
    """The central 1 - 2 alpha interval of a mean difference (Bonett and Price, 2012)."""
    if not 0 < alpha < 1:
        return (-1.0, 1.0)
    low = significance.non_inferiority_lower_bound(values, alpha=alpha)
    return (low, -significance.non_inferiority_lower_bound(-values, alpha=alpha))


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
