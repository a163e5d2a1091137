"""The learning history: what each comparison measured and whether it promoted, over all decisions of a workspace.

A row is a dict, ready for JSON: {at, version, system, promoted, cannot_tell, accuracy, incumbent_accuracy, difference,
interval, gold, n, run_id}; what is not known is None. `entry` makes one, `learning` reads many.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_FOREMOST = ("challenger", "tuned_fusion", "champion", "base", "retrieval_only", "teacher")


def incumbent(systems: Iterable[str]) -> str | None:
    """The system in production among those compared: the champion or, before there is one, retrieval's own order."""
    names = set(systems)
    return next((name for name in ("champion", "retrieval_only") if name in names), None)


def subject(promoted: str | None, systems: Iterable[str]) -> str | None:
    """The system that a decision is about: the promoted one, else the foremost contender."""
    names = set(systems)
    return promoted or next((name for name in _FOREMOST if name in names), None)


def entry(
    decision: Mapping[str, Any],
    ladder: Mapping[str, Any],
    *,
    at: str | None,
    version: str | None = None,
    gold: str | None = None,
    run_id: str | None = None,
) -> dict[str, Any]:
    """One row of the history.

    decision: records.PromotionDecision as a document. ladder: of `ladder.ladder`. at: ISO 8601, when it was decided.
    version: in the registry, when one was promoted. gold: the gold set's address. run_id: MLflow's.
    difference and interval: of accuracy, the system against the incumbent, as the ladder compares them.
    """
    rows = {row["name"]: row for row in ladder.get("systems") or []}
    of, against = subject(decision.get("system"), rows), incumbent(rows)
    compared: Mapping[str, Any] = next(
        (
            row
            for row in ladder.get("comparisons") or []
            if (row["of"], row["against"], row["metric"]) == (of, against, "accuracy")
        ),
        {},
    )
    mine = rows.get(of or "", {})
    return {
        "at": at,
        "version": version,
        "system": of,
        "promoted": bool(decision.get("promote")),
        "cannot_tell": bool(decision.get("cannot_tell")),
        "accuracy": mine.get("accuracy"),
        "incumbent_accuracy": rows.get(against or "", {}).get("accuracy"),
        "difference": compared.get("difference"),
        "interval": compared.get("interval"),
        "gold": gold,
        "n": compared.get("n", mine.get("n")),
        "run_id": run_id,
    }


@dataclass(frozen=True)
class Step:
    """One decision of the history. number: counted from 1, oldest first. served: accuracy of what was in production
    after it: the contender's when promoted, else the incumbent's. fresh_gold: measured on other gold questions than
    the decision before it, so the two accuracies do not compare."""

    number: int
    row: Mapping[str, Any]
    outcome: str
    served: float | None
    fresh_gold: bool


@dataclass(frozen=True)
class Learning:
    """All decisions, oldest first. gained: sum of the differences that were promoted and measured, in shares."""

    steps: tuple[Step, ...]
    promoted: int
    refused: int
    undecided: int
    gained: float | None


def learning(rows: Sequence[Mapping[str, Any]]) -> Learning:
    """Reads rows in the order given, oldest first; a key that a row lacks counts as not known."""
    steps = []
    for number, row in enumerate(rows, start=1):
        promoted = bool(row.get("promoted"))
        outcome = "promoted" if promoted else "cannot tell" if row.get("cannot_tell") else "refused"
        before = rows[number - 2].get("gold") if number > 1 else None
        fresh = before is not None and row.get("gold") is not None and before != row["gold"]
        served = row.get("accuracy") if promoted else row.get("incumbent_accuracy")
        steps.append(Step(number, row, outcome, served, fresh))
    gains = [
        step.row["difference"]
        for step in steps
        if step.outcome == "promoted" and step.row.get("difference") is not None
    ]
    count = [step.outcome for step in steps].count
    return Learning(
        steps=tuple(steps),
        promoted=count("promoted"),
        refused=count("refused"),
        undecided=count("cannot tell"),
        gained=float(sum(gains)) if gains else None,
    )
