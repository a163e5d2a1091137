"""The delivery as a whole, its queries, and what is left of it when lines and people are set aside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from rerankops.annotation.channel import Delivery
from rerankops.annotation.expectations._annotators import CONTROL_TOLERANCE, passed, passed_reversed
from rerankops.annotation.expectations._drift import Drift
from rerankops.annotation.expectations._files import looks_like
from rerankops.annotation.expectations._statistics import SIGNIFICANCE, at_least, at_most
from rerankops.annotation.expectations._verdict import CRITICAL, SET_ASIDE, WARNING, Check, expectation
from rerankops.annotation.expectations._words import NAMED, listed, more, one_line, quoted, some
from rerankops.config.settings import AnnotationSettings
from rerankops.records import GRADES, RELEVANT_GRADE

_SCALE_ROWS = 20
"""Annotations without a 0 from which a 4 says that grades were counted from 1."""


@dataclass(frozen=True)
class Sums:
    """What the checks of the whole look at. set_aside: lines that cannot be used, unreadable ones among them.
    cut_off: the file ends in a line that cannot be read. Shares and bounds are null where nothing was measured."""

    values: dict[str, float | None]
    swapped: tuple[str, ...]
    drift: Drift | None

    def __getitem__(self, name: str) -> float:
        value = self.values[name]
        if value is None:
            raise KeyError(name)
        return value


def completeness(task: pl.Series, asked: pl.DataFrame, annotators_per_task: int) -> float | None:
    """Mean over the batch's tasks of the people who graded it over those asked, at most 1 a task."""
    if asked.is_empty():
        return None
    people = np.bincount(task.to_numpy().astype(np.int64), minlength=asked.height)
    return float(np.minimum(people, annotators_per_task).sum() / (asked.height * annotators_per_task))


def sums(
    delivery: Delivery,
    rows: pl.DataFrame,
    came: pl.Series,
    sound: pl.DataFrame,
    left: pl.DataFrame,
    asked: pl.DataFrame,
    settings: AnnotationSettings,
    *,
    unusable: int,
    swapped: Sequence[str],
    drift: Drift | None,
) -> Sums:
    """came: the task of each row that says something about it, whoever gave it. sound: rows that break no rule, one for
    each task and annotator. left: those whose annotators and queries are
    not set aside either. unusable: lines that break a rule.
    control_accuracy: share of annotations of control tasks within CONTROL_TOLERANCE.
    positive_share: share of grades >= RELEVANT_GRADE among the annotations of the other tasks."""
    lines = rows.height + len(delivery.unreadable)
    last = rows["line"].max() if rows.height else 0
    controls = sound.filter(pl.col("control_grade").is_not_null()).select(right=passed(), turned=passed_reversed())
    ordinary = sound.filter(pl.col("control_grade").is_null())
    positive, n = int((ordinary["grade_value"] >= RELEVANT_GRADE).sum()), ordinary.height
    has_controls = asked["control_grade"].count() > 0
    right, tried = int(controls["right"].sum()), controls.height
    grades = rows["grade_value"]
    from_one = rows.height >= _SCALE_ROWS and not (grades == GRADES[0]).any() and grades.max() == GRADES[-1] + 1
    surely = drift is not None and drift.p_value < SIGNIFICANCE
    values: dict[str, float | None] = {
        "lines": lines,
        "unreadable_lines": len(delivery.unreadable),
        "cut_off": float(bool(delivery.unreadable) and delivery.unreadable[-1].line > int(str(last))),
        "annotations": rows.height,
        "annotators": rows["annotator_id"].drop_nulls().n_unique(),
        "tasks": asked.height,
        "swapped_columns": len(swapped),
        "grades_from_one": float(from_one),
        "set_aside_share": (unusable + len(delivery.unreadable)) / lines if lines else None,
        "completeness": completeness(came, asked, settings.annotators_per_task),
        "completeness_left": completeness(left["task"], asked, settings.annotators_per_task) if sound.height else None,
        "control_tasks": asked["control_grade"].count(),
        "control_annotations": tried,
        "controls_returned": tried if has_controls and sound.height else None,
        "control_accuracy": right / tried if tried else None,
        "control_accuracy_at_most": float(at_most(right, tried)) if tried else None,
        "reversed_control_accuracy": float(controls["turned"].sum() / tried) if tried else None,
        "positive_share": positive / n if n else None,
        "positive_share_at_least": float(at_least(positive, n)) if n else None,
        "positive_share_at_most": float(at_most(positive, n)) if n else None,
        "grade_drift": drift.distance if drift else None,
        "grade_drift_p_value": drift.p_value if drift else None,
        "significant_grade_drift": drift.distance if drift and surely else None,
    }
    return Sums(values, tuple(swapped), drift)


def batch_checks(
    delivery: Delivery,
    came: pl.Series,
    people: pl.DataFrame,
    asked: pl.DataFrame,
    measured: Sums,
    settings: AnnotationSettings,
    *,
    most: int,
    causes: Sequence[tuple[int, str]],
    gone: pl.DataFrame,
) -> list[Check]:
    """Each on one number. most: see row_checks. causes: (lines, fault) for what sets lines aside. gone: annotators set
    aside, see condemned."""
    v, batch = measured, quoted(delivery.batch_id)
    bad = delivery.unreadable

    def check(
        column: str,
        about: str,
        words: Callable[[], str],
        *,
        low: float | None = None,
        high: float | None = None,
        severity: str = CRITICAL,
        name: str | None = None,
        lines: int = 0,
    ) -> Check:
        arguments = {"column": column, "min_value": low, "max_value": high}
        expected = expectation(name or column, "ExpectColumnValuesToBeBetween", arguments, about, severity)
        value = measured.values[column]
        broken = value is not None and ((low is not None and value < low) or (high is not None and value > high))
        return Check(expected, severity, lambda _: (f"{v[column]:.4g}", words()), int(broken), lines)

    def unreadable() -> str:
        what = looks_like(delivery.content) if len(bad) > most else None
        return (
            f"line {bad[0].line}: {one_line(bad[0].words)}{more([line.line for line in bad])}; "
            f"{what or 'write one JSON object a line, in UTF-8, or a table with a heading'}"
        )

    def unusable() -> str:
        named = listed(f"{rule}: {lines:,}" for lines, rule in sorted(causes, reverse=True)[:NAMED])
        return (
            f"{v['set_aside_share']:.1%} of {v['lines']:,.0f} lines cannot be used ({named}), "
            f"{settings.max_set_aside_share:.1%} may be; correct them and deliver the whole batch again"
        )

    def without() -> str:
        whose = f" of annotators {some(gone['faults'].to_list())}" if gone.height else ""
        return (
            f"{v['completeness_left']:.1%} of the annotations asked for are left without what is set aside{whose}, "
            f"{settings.min_completeness_left:.1%} are needed; have the batch graded by other people"
        )

    def short() -> pl.DataFrame:
        people = np.bincount(came.to_numpy().astype(np.int64), minlength=asked.height)
        return asked.filter(pl.Series(people < settings.annotators_per_task))

    def incomplete() -> str:
        lacking = short()
        return (
            f"{v['completeness']:.1%} of the annotations asked for ({asked.height:,} tasks, "
            f"{settings.annotators_per_task} people each) came back, {settings.min_completeness:.1%} are needed; "
            f"{lacking.height:,} task(s) of {lacking['query_id'].n_unique():,} queries lack some, such as "
            f"{listed(lacking['task_id'].head(NAMED))}; have them labelled and deliver the whole batch again"
        )

    def careless() -> str:
        turned = v["reversed_control_accuracy"] >= settings.min_control_accuracy
        return (
            f"{v['control_accuracy']:.1%} of {v['control_annotations']:.0f} annotations of control tasks "
            f"are within {CONTROL_TOLERANCE} of the known grade, {settings.min_control_accuracy:.1%} are needed"
            f"{f'; lowest are {_lowest(people)}' if people.height else ''}; "
            + (
                f"turned round ({GRADES[-1]} for {GRADES[0]}) they would pass: correct the key of the export"
                if turned
                else "explain the grades and have the batch labelled again"
            )
        )

    def positives() -> str:
        return (
            f"{v['positive_share']:.1%} of the grades are {RELEVANT_GRADE} or more, between {low:.1%} and {high:.1%} "
            "are expected; look at a sample by hand: were the grades turned round, or the same key pressed throughout?"
        )

    def drifted() -> str:
        found = measured.drift
        if found is None:
            raise KeyError("grade_drift")
        turned = found.turned < found.distance / 2
        return (
            f"{found.distance:.1%} of the grades of {found.tasks:,.0f} tasks would have to be others to look like "
            f"those of {found.earlier:,.0f} earlier ones (chance {found.p_value:.1g}); "
            + (
                f"turned round ({GRADES[-1]} for {GRADES[0]}) it is {found.turned:.1%}: correct the key of the export"
                if turned
                else "look at a sample by hand, and release it if the queries have become others"
            )
        )

    low, high = settings.positive_share
    told, severe = settings.grade_drift
    accuracy = settings.min_control_accuracy
    certain = v.values["control_accuracy_at_most"]
    sure = certain is not None and certain < accuracy
    drifts = v.values["significant_grade_drift"]
    return [
        check(
            "annotations",
            "there is something to read",
            lambda: "it holds no annotation; deliver the batch again",
            low=1,
        ),
        check(
            "unreadable_lines",
            "every line can be read",
            unreadable,
            high=0,
            severity=CRITICAL if len(bad) > most else SET_ASIDE,
            lines=len(bad),
        ),
        check(
            "cut_off",
            "the file ends with a whole line",
            lambda: (
                f"line {bad[-1].line}, the last: {one_line(bad[-1].words)}; "
                "the file was cut off or something was added to its end: deliver it whole"
            ),
            high=0,
        ),
        check(
            "tasks",
            "the batch was sent from here",
            lambda: f"batch {batch} was never sent from here; return batch and task ids as they were sent",
            low=1,
        ),
        check(
            "swapped_columns",
            "no column holds another's values",
            lambda: f"{listed(measured.swapped)}; put each value under its own name",
            high=0,
        ),
        check(
            "grades_from_one",
            "grades are counted from 0",
            lambda: (
                f"grades are {GRADES[0] + 1} to {GRADES[-1] + 1} and none is {GRADES[0]}, as if counted from 1; "
                f"grade with {listed(GRADES)}, or take 1 from each"
            ),
            high=0,
        ),
        check(
            "set_aside_share",
            f"at most {settings.max_set_aside_share:.1%} of the lines cannot be used",
            unusable,
            high=settings.max_set_aside_share,
        ),
        check(
            "completeness",
            f"at least {settings.min_completeness:.1%} of the annotations asked for came back",
            incomplete,
            low=settings.min_completeness,
        ),
        check(
            "completeness_left",
            f"at least {settings.min_completeness_left:.1%} of them are left when people are set aside",
            without,
            low=settings.min_completeness_left,
        ),
        check(
            "control_tasks",
            "the batch holds control tasks",
            lambda: (
                "the batch has no control task, so the care of its annotators was not measured; "
                "raise annotation.control_share or send larger batches"
            ),
            low=1,
            severity=WARNING,
        ),
        check(
            "controls_returned",
            "control tasks came back",
            lambda: (
                f"none of the batch's {v['control_tasks']:.0f} control tasks came back with a grade that can be used, "
                "as if somebody knew them; have the missing tasks labelled and deliver the whole batch again"
            ),
            low=1,
        ),
        check(
            "control_accuracy_at_most" if sure else "control_accuracy",
            f"at least {accuracy:.1%} of the control annotations are within {CONTROL_TOLERANCE} of the known grade",
            careless,
            low=accuracy,
            severity=CRITICAL if sure else WARNING,
            name="control_accuracy",
        ),
        check(
            "positive_share_at_most",
            f"at least {low:.1%} of the grades are {RELEVANT_GRADE} or more",
            positives,
            low=low,
        ),
        check(
            "positive_share_at_least",
            f"at most {high:.1%} of the grades are {RELEVANT_GRADE} or more",
            positives,
            high=high,
        ),
        check(
            "significant_grade_drift",
            f"at most {told:.1%} of the grades would have to be others to look like earlier ones, beyond chance",
            drifted,
            high=told,
            severity=CRITICAL if drifts is not None and drifts > severe else WARNING,
        ),
    ]


def _lowest(people: pl.DataFrame) -> str:
    worst = people.filter(pl.col("controls") > 0).head(NAMED).select("annotator_id", "control_accuracy", "controls")
    return f"annotators {listed(f'{quoted(who)} ({share:.1%} of {count})' for who, share, count in worst.iter_rows())}"
