"""Two registered versions side by side: their decisions' figures and, on common ground, the paired difference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from rerankops.errors import ArtefactMissing, InputError
from rerankops.pipeline.context import Context, step
from rerankops.pipeline.models import document, require, told
from rerankops.workspace import Address

if TYPE_CHECKING:
    from rerankops.promotion.registry import Registry, Version


@step
def comparison(context: Context, first: str, second: str) -> dict[str, Any]:
    """Two versions side by side: {"first", "second", "metrics": [...], "paired", "why_not", "notes"}.

    metrics: metric, first, second, as their decisions' ladders have them. paired: basis in words, and differences
    (second minus first; metric, stratum or None for all, difference, two-sided 95 % interval, p_value of a difference
    of at most zero, n), from the outcomes in the workspace question by question; None when there is no common ground,
    and then why_not says why. notes: what to bear in mind. Raises ArtefactMissing when a version is not registered.
    """
    book = require(context)
    one, two = book.resolve(first), book.resolve(second)
    if one.version == two.version:
        raise InputError(f"{first} and {second} are both version {one.version} of {book.model_name!r}; name two")
    rows = [_ladder_row(book, version) for version in (one, two)]
    notes: list[str] = []
    for version, row in zip((one, two), rows, strict=True):
        if not row:
            notes.append(f"the ladder of version {version.version} has no row of it")
    paired, why_not = None, None
    try:
        ground = _common_ground(context, one, two)
    except ArtefactMissing as error:
        why_not = f"the outcomes are not in this workspace: {error}"
    else:
        why_not = ground.why_not
        notes += ground.notes
        if why_not is None:
            paired = {"basis": ground.basis, "differences": _differences(context, ground)}
    return {
        "first": told(one),
        "second": told(two),
        "metrics": _side_by_side(*rows),
        "paired": paired,
        "why_not": why_not,
        "notes": notes,
    }


@dataclass(frozen=True)
class _Measured:
    """Where a version was measured. system: its row there; reading: the settings that decide what accuracy means."""

    version: str
    system: str
    gold: Address
    champion: str | None
    candidates: Address
    evaluation: Address
    reading: Mapping[str, Any]


@dataclass(frozen=True)
class _Ground:
    """Outcomes of two versions (records.QuestionOutcome) on the same questions, or why there are none."""

    first: pa.Table | None = None
    second: pa.Table | None = None
    basis: str = ""
    notes: tuple[str, ...] = ()
    left_out: frozenset[str] = frozenset()
    why_not: str | None = None


def _common_ground(context: Context, one: Version, two: Version) -> _Ground:
    """The evaluation of the one in which the other took part as champion; else their own, when the gold is the same."""
    from rerankops.pipeline.evaluation import read_outcomes

    first, second = _measured(context, one), _measured(context, two)
    for own, other in ((second, first), (first, second)):
        if own.champion == other.version:
            found = read_outcomes(context, own.evaluation)
            if {"champion", own.system} <= set(found):
                tables = {own.version: found[own.system], other.version: found["champion"]}
                basis = f"both in the evaluation of version {own.version}: the same gold questions and candidates"
                return _Ground(tables[first.version], tables[second.version], basis)
    if first.gold != second.gold:
        return _Ground(
            why_not=f"they were measured on different gold questions: version {first.version} on {first.gold}, "
            f"version {second.version} on {second.gold}"
        )
    notes: list[str] = []
    left_out: set[str] = set()
    if first.candidates != second.candidates:
        notes.append("the candidates differ, so the differences are of retrieval and ranking together")
    if first.reading != second.reading:
        left_out.add("accuracy")
        notes.append("reader or judge differ, so accuracies cannot be compared")
    outcomes = [read_outcomes(context, each.evaluation).get(each.system) for each in (first, second)]
    if outcomes[0] is None or outcomes[1] is None:
        lost = first if outcomes[0] is None else second
        return _Ground(why_not=f"the evaluation of version {lost.version} has no outcomes of {lost.system or 'it'}")
    basis = "each in its own evaluation, on the same gold questions"
    return _Ground(outcomes[0], outcomes[1], basis, tuple(notes), frozenset(left_out))


def _measured(context: Context, version: Version) -> _Measured:
    workspace = context.workspace
    plan_address, _, evaluation = workspace.manifest(version.decision).inputs
    inputs = workspace.manifest(evaluation).inputs
    sources = [*inputs, *(source for address in inputs for source in workspace.manifest(address).inputs)]
    frozen = [address for address in sources if workspace.manifest(address).step == "freeze_gold_candidates"]
    plan = workspace.read_document(plan_address)
    settings = plan["settings"]
    reading = {"top_k": settings["scoring"]["top_k"], "reader": settings["reader"], "judge": settings.get("judge")}
    if "llm" in {(reading[part] or {}).get("kind") for part in ("reader", "judge")}:
        reading["model"] = settings["llm"]["model"]
    return _Measured(
        version.version,
        version.system,
        plan["gold"],
        plan["champion_version"],
        (frozen or inputs[-1:])[0],
        evaluation,
        reading,
    )


def _differences(context: Context, ground: _Ground) -> list[dict[str, Any]]:
    from rerankops.evaluation import significance
    from rerankops.evaluation.ladder import COLUMNS, COMPARED

    settings = context.settings.evaluation
    columns = {metric: COLUMNS[metric] for metric in COMPARED if metric not in ground.left_out}
    first, second = (
        pl.DataFrame(table).select(
            "question_id", "stratum", *(pl.col(name).cast(pl.Float64).alias(metric) for metric, name in columns.items())
        )
        for table in (ground.first, ground.second)
    )
    joined = first.join(second, on="question_id", how="inner", suffix="/second").sort("question_id")
    strata: list[str | None] = [None, *joined["stratum"].unique().sort().to_list()]
    found = []
    for metric in columns:
        for stratum in strata if metric == context.settings.promotion.metrics[0] else [None]:
            part = joined if stratum is None else joined.filter(pl.col("stratum") == stratum)
            values = (part[f"{metric}/second"] - part[metric]).drop_nulls().drop_nans().to_numpy()
            if not values.size:
                continue
            interval = significance.bootstrap_interval(values, samples=settings.bootstrap_samples, seed=settings.seed)
            p_value = significance.p_greater(values, samples=settings.bootstrap_samples, seed=settings.seed)
            found.append(
                {
                    "metric": metric,
                    "stratum": stratum,
                    "difference": float(values.mean()),
                    "interval": list(interval),
                    "p_value": p_value,
                    "n": int(values.size),
                }
            )
    return found


def _ladder_row(book: Registry, version: Version) -> dict[str, Any]:
    rows = document(book, version, "ladder.json").get("systems", ())
    return next((row for row in rows if row["name"] == version.system), {})


def _side_by_side(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every figure that both rows or one of them has, in the order of the ladder; accuracy by stratum as well."""
    flat = [_flat(row) for row in (first, second)]
    names = dict.fromkeys([*flat[0], *flat[1]])
    return [{"metric": name, "first": flat[0].get(name), "second": flat[1].get(name)} for name in names]


def _flat(row: Mapping[str, Any]) -> dict[str, float]:
    found: dict[str, Any] = {name: value for name, value in row.items() if _is_number(value)}
    for stratum, figures in row.get("strata", {}).items():
        if _is_number(figures.get("accuracy")):
            found[f"accuracy, {stratum}"] = figures["accuracy"]
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
