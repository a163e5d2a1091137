"""The ranking score: signals combined by a conditional logit fitted to development judgments.

The probability that passage i of a query's judged list is the relevant one is exp(w·x_i) / sum_j exp(w·x_j)
(McFadden, "Conditional logit analysis of qualitative choice behavior", 1974). With several relevant passages the
likelihood is the cross entropy between the labels' distribution and the softmax: ListNet's top-one loss (Cao, Qin,
Liu, Tsai and Li, "Learning to rank: from pairwise approach to listwise approach", 2007) with a linear model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from rerankops.errors import InputError, NotFinite
from rerankops.records import RELEVANT_GRADE
from rerankops.scoring import finite

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Blend:
    """A fitted linear score over standardised signals, and how much better than chance it fits.

    weights, standard_errors: per standard deviation of the signal among the judged passages; mean, deviation: those
    of the signal there (deviation 1 for a constant signal, whose weight is 0).
    log_likelihood, null_log_likelihood: summed over queries, unpenalised; the null has all weights 0.
    likelihood_ratio: twice their difference. p_value: see `fit`. queries, pairs: what it was fitted on.
    """

    names: tuple[str, ...]
    weights: tuple[float, ...]
    standard_errors: tuple[float, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    l2: float
    log_likelihood: float
    null_log_likelihood: float
    likelihood_ratio: float
    p_value: float
    queries: int
    pairs: int

    def __post_init__(self) -> None:
        each = zip(self.names, self.weights, self.mean, self.deviation, strict=True)
        broken = [name for name, *numbers in each if not np.isfinite(numbers).all() or numbers[-1] == 0]
        if broken or not math.isfinite(self.p_value):
            raise NotFinite(
                f"the blend of {', '.join(self.names)} has {'a weight' if broken else 'a p-value'} that is no number"
                f"{f', that of {broken[0]}' if broken else ''}; fit it again (retrain), and look for extreme values "
                "among its signals when that does not help"
            )

    def score(self, signals: pa.Table) -> Array:
        """One score a row; only differences within a query mean anything. signals: records.Signal.
        Raises InputError when a signal that the blend uses is null, NotFinite when it is nan or infinite."""
        standardised = (_matrix(signals, self.names) - np.array(self.mean)) / np.array(self.deviation)
        return np.asarray(standardised @ np.array(self.weights), dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Blend:
        """Raises InputError when a value is missing or unknown, NotFinite when a weight is no number."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        try:
            return cls(**fields)
        except (TypeError, ValueError) as error:
            raise InputError(f"the stored blend is not one of this version: {error}") from error


def single(name: str) -> Blend:
    """The blend that is one signal as it stands, such as the bare logit of the cross-encoder; nothing is fitted."""
    return Blend((name,), (1.0,), (0.0,), (0.0,), (1.0,), 0.0, 0.0, 0.0, 0.0, 1.0, 0, 0)


def fit(signals: pa.Table, grades: pa.Table, names: Sequence[str], *, l2: float) -> Blend:
    """The weights that best explain which judged passages are relevant.

    signals: records.Signal, of at least the judged pairs. grades: query_id, passage_id, grade and, optionally,
    weight (1 when absent; 0 leaves the pair out). Only judged pairs belong here, never mined negatives: which
    passages were judged depends on the incumbent's order, so an unjudged candidate differs from a judged one by
    position alone, and a fit to such pairs would learn, and be called better than chance for, that position.
    names: which signals. l2: ridge; the penalty is l2 / 2 · |w|² for each query of the fit, w on standardised signals.

    A query takes part when it has a relevant (grade >= 2) and an irrelevant judged passage. A relevant passage's
    share of its query's label mass is weight · (2^grade − 1), the gain of NDCG: fully answering counts 7 against 3.
    Every query has mass 1 in all.

    p_value asks whether labels predict signals at all: Rao's score test of all weights 0, with the covariance of the
    score under permutations of the labels within each query. It is asymptotically what the likelihood ratio's
    chi-square is for one relevant passage a query, and stays calibrated where that one is not: with several relevant
    passages, and with weights. (Strasser and Weber, "On the asymptotic theory of permutation statistics", 1999.)

    Raises InputError when no query can take part, when a signal is null, or names are unknown.
    """
    x, target, starts = _lists(signals, grades, names)
    mean = x.mean(axis=0)
    spread = x.std(axis=0)
    constant = spread <= 1e-12 * np.maximum(1.0, np.abs(mean))
    deviation = np.where(constant, 1.0, spread)
    z = np.where(constant, 0.0, (x - mean) / deviation)
    sizes = np.diff(np.r_[starts, len(z)])
    queries = len(starts)

    def likelihood(weights: Array) -> tuple[float, Array]:
        log_probability = _log_softmax(z @ weights, starts, sizes)
        value = float(target @ log_probability)
        gradient = (target - np.exp(log_probability)) @ z
        return value, gradient

    def objective(weights: Array) -> tuple[float, Array]:
        value, gradient = likelihood(weights)
        return (
            -value / queries + 0.5 * l2 * float(weights @ weights),
            -gradient / queries + l2 * weights,
        )

    from scipy.optimize import minimize

    start = np.zeros(z.shape[1])
    weights = np.asarray(minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 1000}).x)
    value, _ = likelihood(weights)
    null, _ = likelihood(start)
    return Blend(
        names=tuple(names),
        weights=tuple(map(float, weights)),
        standard_errors=_standard_errors(z, weights, starts, sizes, constant),
        mean=tuple(map(float, mean)),
        deviation=tuple(map(float, deviation)),
        l2=l2,
        log_likelihood=value,
        null_log_likelihood=null,
        likelihood_ratio=2 * (value - null),
        p_value=_permutation_score_test(z, target, starts, sizes),
        queries=queries,
        pairs=len(z),
    )


def fit_on_top(fusion: Blend, signals: pa.Table, grades: pa.Table, *, l2: float) -> Blend:
    """A blend of an already fitted one with the cross-encoder's logit: two weights, one for the whole fusion, one for
    the logit (stacking; Wolpert, "Stacked generalization", 1992).

    The fusion can be fitted on every judged query, because nothing in it was trained on them; the logit is honest only
    on development queries, which are few, and two weights ask less of them than one a signal. signals, grades: of
    development queries, as in `fit`. The result's p_value and likelihoods are those of this second fit.
    """
    stacked = signals.set_column(
        signals.schema.get_field_index("reciprocal_rank"), "reciprocal_rank", pa.array(fusion.score(signals))
    )
    two = fit(stacked, grades, ["reciprocal_rank", "cross_encoder"], l2=l2)
    share = two.weights[0] / two.deviation[0]
    return replace(
        two,
        names=(*fusion.names, "cross_encoder"),
        weights=(*(weight * share for weight in fusion.weights), two.weights[1]),
        standard_errors=(*(error * abs(share) for error in fusion.standard_errors), two.standard_errors[1]),
        mean=(*fusion.mean, two.mean[1]),
        deviation=(*fusion.deviation, two.deviation[1]),
    )


def _lists(signals: pa.Table, grades: pa.Table, names: Sequence[str]) -> tuple[Array, Array, NDArray[np.int64]]:
    """Judged lists, end to end: signals, label mass (sums to 1 a query), and where each query starts."""
    unknown = [name for name in names if name not in signals.column_names]
    if unknown or not names:
        raise InputError(f"no signal {unknown[0]!r} to blend" if unknown else "no signals to blend")
    judged = pl.DataFrame(pl.from_arrow(grades)).filter(pl.col("grade").is_not_null())
    if "weight" not in judged.columns:
        judged = judged.with_columns(weight=pl.lit(1.0))
    judged = judged.filter(pl.col("weight") > 0)
    relevant = pl.col("grade") >= RELEVANT_GRADE
    joined = (
        pl.DataFrame(pl.from_arrow(signals))
        .join(judged.select("query_id", "passage_id", "grade", "weight"), on=["query_id", "passage_id"])
        .with_columns(gain=pl.when(relevant).then(pl.col("weight") * (2.0 ** pl.col("grade") - 1)).otherwise(0.0))
        .filter(relevant.any().over("query_id") & (~relevant).any().over("query_id"))
        .sort("query_id", "passage_id")
    )
    if joined.is_empty():
        raise InputError(
            "no judged query has both a relevant and an irrelevant passage among its candidates: nothing to fit"
        )
    x = _matrix(joined.to_arrow(), names)
    pairs = joined["query_id"].to_list(), joined["passage_id"].to_list()
    finite.refuse(joined["gain"], "the label's weight", *pairs, "correct the confidence of this judgment")
    target = (joined["gain"] / joined.select(pl.col("gain").sum().over("query_id"))["gain"]).to_numpy()
    query_ids = joined["query_id"].to_numpy()
    starts = np.flatnonzero(np.r_[True, query_ids[1:] != query_ids[:-1]])
    return x, target, starts


def _matrix(signals: pa.Table, names: Sequence[str]) -> Array:
    columns = []
    for name in names:
        values = signals.column(name)
        if values.null_count:
            raise InputError(f"signal {name!r} is null in {values.null_count} of {len(values)} rows; score them first")
        columns.append(values.to_numpy().astype(np.float64))
        if not np.isfinite(columns[-1]).all():
            pairs = signals["query_id"].to_pylist(), signals["passage_id"].to_pylist()
            finite.refuse(columns[-1], f"signal {name!r}", *pairs, "make the signals again")
    return np.column_stack(columns) if columns else np.zeros((signals.num_rows, 0))


def _log_softmax(scores: Array, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> Array:
    shifted = scores - np.repeat(np.maximum.reduceat(scores, starts), sizes)
    total = np.add.reduceat(np.exp(shifted), starts)
    return np.asarray(shifted - np.repeat(np.log(total), sizes))


def _standard_errors(
    z: Array, weights: Array, starts: NDArray[np.int64], sizes: NDArray[np.int64], constant: NDArray[np.bool_]
) -> tuple[float, ...]:
    """Square roots of the diagonal of the inverse Fisher information, unpenalised; nan where there is none."""
    probability = np.exp(_log_softmax(z @ weights, starts, sizes))
    centred = z - np.repeat(np.add.reduceat(probability[:, None] * z, starts, axis=0), sizes, axis=0)
    information = (probability[:, None] * centred).T @ centred
    variance = np.diag(np.linalg.pinv(information, hermitian=True))
    return tuple(math.sqrt(v) if v > 0 and not fixed else math.nan for v, fixed in zip(variance, constant, strict=True))


def _permutation_score_test(z: Array, mass: Array, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> float:
    """P(chi-square >= S), S = g' V⁺ g with g = sum over queries of (mass − 1/n)·z and V its covariance when the
    masses of each query are permuted at random: V = sum of |mass − 1/n|² / (n − 1) · scatter(z)."""
    from scipy.stats import chi2

    excess = mass - np.repeat(1.0 / sizes, sizes)
    centred = z - np.repeat(np.add.reduceat(z, starts, axis=0) / sizes[:, None], sizes, axis=0)
    factor = np.add.reduceat(excess**2, starts) / (sizes - 1)
    gradient = excess @ centred
    covariance = (np.repeat(factor, sizes)[:, None] * centred).T @ centred
    rank = int(np.linalg.matrix_rank(covariance, hermitian=True))
    if not rank:
        return 1.0
    statistic = float(gradient @ np.linalg.pinv(covariance, hermitian=True) @ gradient)
    return float(chi2.sf(statistic, rank))
