"""The door: a delivery of annotations is accepted or quarantined as a whole, with reasons a person can act on.

Three Great Expectations suites look at it: its lines, the batch as one row of aggregates, and its annotators. A
critical expectation that fails quarantines the delivery; a warning is reported and the delivery accepted. A check that
cannot be evaluated counts as failed.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pyarrow as pa

from rerankops.annotation import _great_expectations as great_expectations
from rerankops.annotation.channel import FIELDS, OPTIONAL, Delivery
from rerankops.config.settings import AnnotationSettings
from rerankops.records import GRADES, RELEVANT_GRADE, Annotation

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""No annotation is older; seconds read as milliseconds, and zeros, land before it."""
CLOCK_SLACK = timedelta(days=1)
"""How far the clock of an annotator's machine may be ahead."""
CONTROL_TOLERANCE = 1
"""A control is passed within this many grades of its known grade (which is 0 or 3, see batches)."""
MIN_CONTROLS = 5
"""Control annotations of one annotator below which nothing is said about that annotator."""

Outcome = Literal["accept", "quarantine"]
_CRITICAL, _WARNING = "critical", "warning"
_NAMED = 5
"""Lines, tasks or annotators named in one sentence."""


@dataclass(frozen=True)
class Finding:
    """An expectation that failed. words: file, line, task and annotator where there is one, and what to do."""

    expectation: str
    severity: str
    column: str | None
    observed: str
    words: str


@dataclass(frozen=True)
class Validation:
    """annotations: records.Annotation when accepted, else None. data_docs: the site's index.html.
    metrics: counts and shares; one that could not be measured is absent."""

    outcome: Outcome
    annotations: pa.Table | None
    findings: tuple[Finding, ...]
    data_docs: Path
    metrics: dict[str, float]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it was quarantined; empty when accepted."""
        return tuple(finding.words for finding in self.findings if finding.severity == _CRITICAL)


@dataclass(frozen=True)
class _Check:
    """An expectation, and how to put its failure into words: a function of the table, giving (observed, words)."""

    expectation: great_expectations.Expectation
    explain: Callable[[pl.DataFrame], tuple[str, str]]
    needs: frozenset[str] = frozenset()

    @property
    def column(self) -> str | None:
        arguments = self.expectation.arguments
        return arguments.get("column") or ", ".join(arguments.get("column_list", ())) or None


def validate(
    delivery: Delivery,
    tasks: pa.Table,
    near_gold: Set[str],
    settings: AnnotationSettings,
    *,
    data_docs: Path,
    now: datetime,
) -> Validation:
    """Whether a delivery may become judgments.

    tasks: records.AnnotationTask; those of other batches are ignored. near_gold: ids of queries that equal or nearly
    equal a gold question. data_docs: a folder of this delivery's own; running again replaces its pages.
    now: aware; annotations may not be later (by more than CLOCK_SLACK).
    """
    rows = _rows(delivery, tasks, near_gold)
    asked = pl.DataFrame(pl.from_arrow(tasks)).filter(pl.col("batch_id") == delivery.batch_id)
    annotators = _annotators(rows)
    metrics = _metrics(delivery, rows, asked, settings.annotators_per_task)
    summary = pl.DataFrame([{name: metrics.get(name) for name in _SUMMARY}], schema=dict.fromkeys(_SUMMARY, pl.Float64))
    absent = frozenset(FIELDS) - delivery.fields
    tables = {"lines": rows, "batch": summary, "annotators": annotators}
    checks = {
        "lines": _line_checks(delivery, now) if rows.height else [],
        "batch": _batch_checks(delivery, rows, asked, metrics, settings),
        "annotators": _annotator_checks(settings) if annotators.height else [],
    }
    asserted = [(name, check) for name, listed in checks.items() for check in listed if not check.needs & absent]
    unseen = absent | {"control_grade", "asked_text", "first_line"}
    results = great_expectations.run(
        [
            great_expectations.Suite(
                name, table.drop(unseen, strict=False), [check.expectation for of, check in asserted if of == name]
            )
            for name, table in tables.items()
            if checks[name]
        ],
        data_docs=data_docs,
        run_name=delivery.sha256[:12],
        run_time=now,
    )
    findings = tuple(
        _finding(delivery, check, results[name, check.expectation.name], tables[name])
        for name, check in asserted
        if not results[name, check.expectation.name].success
    )
    critical = any(finding.severity == _CRITICAL for finding in findings)
    return Validation(
        outcome="quarantine" if critical else "accept",
        annotations=None if critical else _annotations(rows),
        findings=findings,
        data_docs=data_docs / "index.html",
        metrics=metrics,
    )


# -- what the expectations look at ----------------------------------------------------------------------------------


def _rows(delivery: Delivery, tasks: pa.Table, near_gold: Set[str]) -> pl.DataFrame:
    """The readable lines with what can be computed beside them. A column named for a fault holds the faulty value."""
    about = (
        pl.DataFrame(pl.from_arrow(tasks.select(["batch_id", "task_id", "query_id", "query_text", "control_grade"])))
        .filter(pl.col("batch_id") == delivery.batch_id)
        .drop("batch_id")
        .rename({"query_text": "asked_text"})
        .with_columns(known=True)
    )
    gold = pl.Series(sorted(near_gold), dtype=pl.String)
    text = pl.col(*FIELDS, *OPTIONAL).str.strip_chars()
    return (
        pl.DataFrame(pl.from_arrow(delivery.rows))
        .with_columns(pl.when(text != "").then(text))
        .with_columns(
            grade_value=pl.when(pl.col("grade").str.contains(r"^[+-]?\d{1,9}(\.0+)?$")).then(
                pl.col("grade").str.replace(r"\.0+$", "").cast(pl.Int64, strict=False)
            ),
            annotated_at_value=_timestamp(pl.col("annotated_at")),
            first_line=pl.col("line").min().over("task_id", "annotator_id"),
        )
        .join(about, on="task_id", how="left", maintain_order="left")
        .with_columns(
            unreadable_grade=pl.when(pl.col("grade_value").is_null()).then(pl.col("grade")),
            unreadable_annotated_at=pl.when(pl.col("annotated_at_value").is_null()).then(pl.col("annotated_at")),
            other_batch_id=pl.when(pl.col("batch_id") != delivery.batch_id).then(pl.col("batch_id")),
            unknown_task_id=pl.when(pl.col("known").is_null()).then(pl.col("task_id")),
            query_near_gold=pl.when(pl.col("query_id").is_in(gold.implode())).then(pl.col("query_id")),
        )
        .drop("known", "query_id")
    )


def _timestamp(text: pl.Expr) -> pl.Expr:
    """ISO 8601, with a 'T' or a space; without an offset it is UTC. Null when it is anything else."""
    whole = text.str.replace(r"^(\d{4}-\d{2}-\d{2}) ", "${1}T").str.replace(r"(?i)z$", "+00:00")
    zoned = pl.when(whole.str.contains(r"T.*[+-]\d{2}:?\d{2}$")).then(whole).otherwise(whole + "+00:00")
    return zoned.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", time_unit="us", strict=False)


def _annotators(rows: pl.DataFrame) -> pl.DataFrame:
    """Each annotator's control annotations and the share of them that passed, where there are enough to tell."""
    return (
        rows.filter(pl.col("annotator_id").is_not_null())
        .group_by("annotator_id")
        .agg(controls=_passed().count(), control_accuracy=_passed().mean())
        .filter(pl.col("controls") >= MIN_CONTROLS)
        .sort("control_accuracy", "annotator_id")
    )


def _graded() -> pl.Expr:
    return pl.col("grade_value").is_in(GRADES)


def _passed() -> pl.Expr:
    """Whether a control annotation is within CONTROL_TOLERANCE; null for other annotations."""
    distance = (pl.col("grade_value") - pl.col("control_grade")).abs()
    return pl.when(_graded()).then(distance <= CONTROL_TOLERANCE)


_SUMMARY = ("unreadable_lines", "annotations", "completeness", "control_tasks", "control_accuracy", "positive_share")


def _metrics(delivery: Delivery, rows: pl.DataFrame, asked: pl.DataFrame, annotators_per_task: int) -> dict[str, float]:
    """completeness: mean over the batch's tasks of the people who graded it over those asked, at most 1 a task.
    control_accuracy: share of annotations of control tasks within CONTROL_TOLERANCE; 0 when no control came back.
    positive_share: share of grades >= RELEVANT_GRADE among the annotations of the other tasks."""
    valid = rows.filter(_graded(), pl.col("unknown_task_id").is_null(), pl.col("task_id").is_not_null())
    received = valid.group_by("task_id").agg(
        people=pl.col("annotator_id").n_unique().clip(upper_bound=annotators_per_task)
    )
    ordinary = valid.filter(pl.col("control_grade").is_null())
    control_tasks = int(asked["control_grade"].count())
    control_accuracy = valid.select(_passed().mean()).item() if control_tasks else None
    measured = {
        "lines": rows.height + len(delivery.unreadable),
        "unreadable_lines": len(delivery.unreadable),
        "annotations": rows.height,
        "annotators": rows["annotator_id"].drop_nulls().n_unique(),
        "tasks": asked.height,
        "control_tasks": control_tasks,
        "control_annotations": int(valid["control_grade"].count()),
        "completeness": received["people"].sum() / (asked.height * annotators_per_task) if asked.height else None,
        "control_accuracy": (control_accuracy or 0.0) if control_tasks else None,
        "positive_share": (ordinary["grade_value"] >= RELEVANT_GRADE).mean() if ordinary.height else None,
    }
    return {name: float(value) for name, value in measured.items() if isinstance(value, int | float)}


def _annotations(rows: pl.DataFrame) -> pa.Table:
    table = rows.select(
        "batch_id",
        "task_id",
        "annotator_id",
        grade=pl.col("grade_value").cast(pl.Int8),
        annotated_at="annotated_at_value",
        lead_seconds=pl.col("lead_seconds").cast(pl.Float64, strict=False),
    )
    return Annotation.conform(table.to_arrow())


# -- the expectations -----------------------------------------------------------------------------------------------


def _line_checks(delivery: Delivery, now: datetime) -> list[_Check]:
    """Every line: its fields are there, can be read, and are about this batch."""

    def check(
        rule: str, name: str, kind: str, about: str, broken: pl.Expr, words: str, remedy: str, **more: Any
    ) -> _Check:
        """name: the field it is about; without that field in the delivery the check is left out."""
        expectation = great_expectations.Expectation(f"{rule}: {name}", kind, more, about, _CRITICAL)
        explain = partial(_first_line, broken=broken, words=words, remedy=remedy, batch=repr(delivery.batch_id))
        return _Check(expectation, explain, frozenset({name}))

    def exists(name: str) -> _Check:
        about = f"lines have the field {name}"
        expectation = great_expectations.Expectation(
            f"exists: {name}", "ExpectColumnToExist", {"column": name}, about, _CRITICAL
        )
        return _Check(expectation, lambda _: ("absent", f"no line has the field {name!r}; add it to every line"))

    def filled(name: str) -> _Check:
        return check(
            "filled",
            name,
            "ExpectColumnValuesToNotBeNull",
            f"{name} is never empty",
            pl.col(name).is_null(),
            f"{{where}} has no {name}",
            "fill it in",
            column=name,
        )

    latest = now + CLOCK_SLACK
    return [
        *map(exists, FIELDS),
        *map(filled, FIELDS),
        check(
            "of this batch",
            "batch_id",
            "ExpectColumnValuesToBeNull",
            "all lines belong to the batch of most of them",
            pl.col("other_batch_id").is_not_null(),
            "{where} belongs to batch {batch_id}, the file to {batch}",
            "deliver each batch in its own file",
            column="other_batch_id",
        ),
        check(
            "known",
            "task_id",
            "ExpectColumnValuesToBeNull",
            "every task is one of the batch's",
            pl.col("unknown_task_id").is_not_null(),
            "{where} is about a task that batch {batch} does not have",
            "return batch and task ids as they were sent",
            column="unknown_task_id",
        ),
        check(
            "readable",
            "grade",
            "ExpectColumnValuesToBeNull",
            "every grade is a whole number",
            pl.col("unreadable_grade").is_not_null(),
            "{where} has grade {grade}, which is no whole number",
            f"grade with one of {_listed(GRADES)}",
            column="unreadable_grade",
        ),
        check(
            "in range",
            "grade",
            "ExpectColumnValuesToBeInSet",
            f"every grade is one of {_listed(GRADES)}",
            pl.col("grade_value").is_not_null() & ~_graded(),
            "{where} has grade {grade}, which is unknown",
            f"grade with one of {_listed(GRADES)}",
            column="grade_value",
            value_set=list(GRADES),
        ),
        check(
            "readable",
            "annotated_at",
            "ExpectColumnValuesToBeNull",
            "every time is ISO 8601",
            pl.col("unreadable_annotated_at").is_not_null(),
            "{where} was annotated at {annotated_at}, which is no time",
            "write times in ISO 8601, such as 2026-01-31T12:00:00Z",
            column="unreadable_annotated_at",
        ),
        check(
            "in range",
            "annotated_at",
            "ExpectColumnValuesToBeBetween",
            f"no time is before {EARLIEST.date()} or in the future",
            ~pl.col("annotated_at_value").is_between(EARLIEST, latest),
            f"{{where}} was annotated at {{annotated_at}}, which is before {EARLIEST.date()} or in the future",
            "correct the clock or the export",
            column="annotated_at_value",
            min_value=EARLIEST,
            max_value=latest,
        ),
        replace(
            check(
                "once",
                "task_id",
                "ExpectCompoundColumnsToBeUnique",
                "nobody grades a task twice",
                pl.all_horizontal(pl.col("task_id", "annotator_id").is_not_null())
                & (pl.col("line") != pl.col("first_line")),
                "{where} grades again what line {first_line} graded",
                "keep one grade a task and annotator",
                column_list=["task_id", "annotator_id"],
                ignore_row_if="any_value_is_missing",
            ),
            needs=frozenset({"task_id", "annotator_id"}),
        ),
        check(
            "no gold",
            "task_id",
            "ExpectColumnValuesToBeNull",
            "no task is about a gold question or a near-duplicate of one",
            pl.col("query_near_gold").is_not_null(),
            "{where} is about query {asked_text}, which is a gold question or nearly one",
            "drop that query's tasks; gold is never labelled for training",
            column="query_near_gold",
        ),
    ]


def _batch_checks(
    delivery: Delivery, rows: pl.DataFrame, asked: pl.DataFrame, metrics: dict[str, float], settings: AnnotationSettings
) -> list[_Check]:
    """The batch as a whole, each check on one aggregate."""

    def check(
        column: str,
        about: str,
        words: Callable[[], str],
        *,
        low: float | None = None,
        high: float | None = None,
        severity: str = _CRITICAL,
    ) -> _Check:
        arguments = {"column": column, "min_value": low, "max_value": high}
        expectation = great_expectations.Expectation(
            column, "ExpectColumnValuesToBeBetween", arguments, about, severity
        )
        return _Check(expectation, lambda _: (f"{metrics[column]:.4g}", words()))

    def incomplete() -> str:
        people = rows.filter(_graded()).group_by("task_id").agg(people=pl.col("annotator_id").n_unique())
        short = asked.join(people, on="task_id", how="left", maintain_order="left").filter(
            pl.col("people").fill_null(0) < settings.annotators_per_task
        )["task_id"]
        return (
            f"{metrics['completeness']:.1%} of the annotations asked for ({asked.height} tasks, "
            f"{settings.annotators_per_task} people each) came back, {settings.min_completeness:.1%} are needed; "
            f"{short.len()} task(s) lack some, such as {_listed(short.head(_NAMED))}; "
            "have them labelled and deliver the whole batch again"
        )

    def careless() -> str:
        worst = _annotators(rows).head(_NAMED)
        named = _listed(f"{who!r} ({share:.1%} of {count})" for who, count, share in worst.iter_rows())
        return (
            f"{metrics['control_accuracy']:.1%} of {metrics['control_annotations']:.0f} annotations of control tasks "
            f"are within {CONTROL_TOLERANCE} of the known grade, {settings.min_control_accuracy:.1%} are needed"
            f"{f'; lowest are annotators {named}' if named else ''}; "
            "explain the grades and have the batch labelled again"
        )

    low, high = settings.positive_share
    return [
        check(
            "unreadable_lines",
            "every line is a JSON object",
            lambda: (
                f"line {delivery.unreadable[0].line} is {delivery.unreadable[0].words}"
                f"{_more([bad.line for bad in delivery.unreadable])}; write one JSON object a line, in UTF-8"
            ),
            low=0,
            high=0,
        ),
        check(
            "annotations",
            "there is something to read",
            lambda: "it holds no annotation; deliver the batch again",
            low=1,
        ),
        check(
            "completeness",
            f"at least {settings.min_completeness:.1%} of the annotations asked for came back",
            incomplete,
            low=settings.min_completeness,
        ),
        check(
            "control_tasks",
            "the batch holds control tasks",
            lambda: (
                "the batch has no control task, so the care of its annotators was not measured; "
                "raise annotation.control_share or send larger batches"
            ),
            low=1,
            severity=_WARNING,
        ),
        check(
            "control_accuracy",
            f"at least {settings.min_control_accuracy:.1%} of the control annotations are within "
            f"{CONTROL_TOLERANCE} of the known grade",
            careless,
            low=settings.min_control_accuracy,
        ),
        check(
            "positive_share",
            f"between {low:.1%} and {high:.1%} of the grades are {RELEVANT_GRADE} or more",
            lambda: (
                f"{metrics['positive_share']:.1%} of the grades are {RELEVANT_GRADE} or more, between {low:.1%} and "
                f"{high:.1%} are expected; look at a sample by hand: were the grades turned round, or the same key "
                "pressed throughout?"
            ),
            low=low,
            high=high,
        ),
    ]


def _annotator_checks(settings: AnnotationSettings) -> list[_Check]:
    """Each annotator with enough controls; only a warning, because adjudication weighs a careless one down."""

    def explain(table: pl.DataFrame) -> tuple[str, str]:
        low = table.filter(pl.col("control_accuracy") < settings.min_control_accuracy)
        named = _listed(f"{who!r} ({share:.1%} of {count})" for who, count, share in low.head(_NAMED).iter_rows())
        return (
            f"{low.height} of {table.height} annotators",
            f"annotator(s) {named} passed fewer than {settings.min_control_accuracy:.1%} of their control tasks; "
            "talk to them before the next batch",
        )

    return [
        _Check(
            great_expectations.Expectation(
                "annotator_control_accuracy",
                "ExpectColumnValuesToBeBetween",
                {"column": "control_accuracy", "min_value": settings.min_control_accuracy},
                f"each annotator passes at least {settings.min_control_accuracy:.1%} of their control tasks",
                _WARNING,
            ),
            explain,
        )
    ]


# -- words ----------------------------------------------------------------------------------------------------------


def _finding(delivery: Delivery, check: _Check, result: great_expectations.Result, table: pl.DataFrame) -> Finding:
    if result.error is not None:
        observed, severity = "not evaluated", _CRITICAL
        words = f"whether {check.expectation.about} could not be evaluated ({result.error}); report this as a bug"
    else:
        severity = check.expectation.severity
        observed, words = check.explain(table)
    return Finding(result.kind, severity, check.column, observed, f"{delivery.source}: {words}")


def _first_line(table: pl.DataFrame, *, broken: pl.Expr, words: str, remedy: str, batch: str) -> tuple[str, str]:
    """The first broken line in full, the next ones by number."""
    lines = table.filter(broken)
    first = {name: _quoted(value) for name, value in lines.row(0, named=True).items()}
    first["where"] = f"line {first['line']} (task {first['task_id']}, annotator {first['annotator_id']})"
    return (
        f"{lines.height} of {table.height} lines",
        f"{words.format(**first, batch=batch)}{_more(lines['line'].to_list())}; {remedy}",
    )


def _more(lines: list[int]) -> str:
    """' (and 7 more: lines 3, 5, 8, 9, 11, …)' for all lines but the first; nothing when there is only one."""
    rest = lines[1:]
    if not rest:
        return ""
    return f" (and {len(rest):,} more: {_listed([*rest[:_NAMED], *(['…'] if len(rest) > _NAMED else [])])})"


def _listed(values: Any) -> str:
    return ", ".join(str(value) for value in values)


def _quoted(value: Any) -> str:
    if not isinstance(value, str):
        return "none" if value is None else str(value)
    return repr(value if len(value) <= 60 else value[:59] + "…")
