"""What the suites are made of: rules on frames, run by Great Expectations, told in sentences.

A rule about rows knows which rows break it, so that its words can name one; a rule about the whole reads one row of
totals. Great Expectations decides and documents, the frames only explain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from rerankops.annotation import _great_expectations as great_expectations

CRITICAL, WARNING = "critical", "warning"
WHERE = "where"
"""The column by which a frame's rows are named in words, such as `event 'e7'`."""
UNSTRATIFIED = "all"
"""The stratum of a table that has none, as sources without strata are read."""
_NAMED = 3
"""Further rows that a sentence names."""


@dataclass(frozen=True)
class Rule:
    """One expectation on one frame.

    kind, arguments: of great_expectations.expectations. about: what holds when it is met. broken: the rows that break
    it, None for a rule about totals. words: what is wrong, a template over the columns of the first broken row (or of
    the totals). remedy: what to do.
    """

    name: str
    kind: str
    arguments: Mapping[str, Any]
    about: str
    severity: str
    broken: pl.Expr | None
    words: str
    remedy: str

    @property
    def columns(self) -> list[str]:
        return [self.arguments["column"]] if "column" in self.arguments else list(self.arguments["column_list"])


@dataclass(frozen=True)
class View:
    """A frame and the rules about it. A frame with rules about rows has the column WHERE."""

    name: str
    frame: pl.DataFrame
    rules: Sequence[Rule]


@dataclass(frozen=True)
class Suite:
    """What is expected of one table. totals: counts and shares that people may want to see."""

    table: str
    views: Sequence[View]
    totals: Mapping[str, float | None]


@dataclass(frozen=True)
class Finding:
    """A rule that is not met. words: an example row, how many more, and what to do."""

    rule: str
    expectation: str
    severity: str
    column: str
    observed: str
    words: str


@dataclass(frozen=True)
class Report:
    """findings: critical ones first. totals: those that could be measured. data_docs: index.html, None when no
    pages were asked for."""

    table: str
    findings: tuple[Finding, ...]
    totals: dict[str, float]
    data_docs: Path | None

    @property
    def critical(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == CRITICAL)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity != CRITICAL)


def check(suite: Suite, *, data_docs: Path | None, run_name: str, now: datetime) -> Report:
    """Runs a suite. data_docs: a folder of its own, running again replaces its pages; None: no pages. now: when it was
    run (aware).

    A rule that cannot be evaluated is a critical finding.
    """
    views = [view for view in suite.views if view.rules and view.frame.height]
    results = great_expectations.run(
        [
            great_expectations.Suite(
                f"{suite.table}.{view.name}",
                view.frame.select(list(dict.fromkeys(column for rule in view.rules for column in rule.columns))),
                [
                    great_expectations.Expectation(rule.name, rule.kind, rule.arguments, rule.about, rule.severity)
                    for rule in view.rules
                ],
            )
            for view in views
        ],
        data_docs=data_docs,
        run_name=run_name,
        run_time=now,
    )
    findings = [
        found
        for view in views
        for rule in view.rules
        if (found := _finding(rule, view.frame, results[f"{suite.table}.{view.name}", rule.name])) is not None
    ]
    findings.sort(key=lambda finding: finding.severity != CRITICAL)
    totals = {name: float(value) for name, value in suite.totals.items() if value is not None}
    return Report(suite.table, tuple(findings), totals, data_docs and data_docs / "index.html")


# -- rules ----------------------------------------------------------------------------------------------------------


def never(name: str, column: str, about: str, words: str, remedy: str, *, severity: str = CRITICAL) -> Rule:
    """A column that holds a value only where something is wrong: it must be null everywhere."""
    broken = pl.col(column).is_not_null()
    return Rule(name, "ExpectColumnValuesToBeNull", {"column": column}, about, severity, broken, words, remedy)


def filled(name: str, column: str, about: str, words: str, remedy: str, *, severity: str = CRITICAL) -> Rule:
    return Rule(
        name,
        "ExpectColumnValuesToNotBeNull",
        {"column": column},
        about,
        severity,
        pl.col(column).is_null(),
        words,
        remedy,
    )


def in_set(
    name: str, column: str, values: Sequence[Any], about: str, words: str, remedy: str, *, severity: str = CRITICAL
) -> Rule:
    broken = pl.col(column).is_not_null() & ~pl.col(column).is_in(list(values))
    arguments = {"column": column, "value_set": list(values)}
    return Rule(name, "ExpectColumnValuesToBeInSet", arguments, about, severity, broken, words, remedy)


def unique(name: str, columns: Sequence[str], about: str, words: str, remedy: str) -> Rule:
    repeated = pl.struct(columns).is_duplicated()
    if len(columns) == 1:
        return Rule(
            name,
            "ExpectColumnValuesToBeUnique",
            {"column": columns[0]},
            about,
            CRITICAL,
            pl.col(columns[0]).is_not_null() & repeated,
            words,
            remedy,
        )
    arguments = {"column_list": list(columns), "ignore_row_if": "any_value_is_missing"}
    whole = pl.all_horizontal(pl.col(*columns).is_not_null())
    return Rule(name, "ExpectCompoundColumnsToBeUnique", arguments, about, CRITICAL, whole & repeated, words, remedy)


def between(
    name: str,
    column: str,
    about: str,
    words: str,
    remedy: str,
    *,
    low: float | None = None,
    high: float | None = None,
    severity: str = CRITICAL,
    rows: bool = False,
) -> Rule:
    """Every value of a column; rows: it is a column of rows, else one of totals. A null passes."""
    arguments = {"column": column, "min_value": low, "max_value": high}
    too_low = pl.col(column) < low if low is not None else pl.lit(False)
    too_high = pl.col(column) > high if high is not None else pl.lit(False)
    broken = too_low | too_high if rows else None
    return Rule(name, "ExpectColumnValuesToBeBetween", arguments, about, severity, broken, words, remedy)


def totals(values: Mapping[str, float | None], rules: Sequence[Rule]) -> View:
    """One row of the totals that the rules read; a rule about a total that could not be measured is left out."""
    known = {name: value for name, value in values.items() if value is not None}
    asked = [rule for rule in rules if rule.arguments["column"] in known]
    return View("totals", pl.DataFrame([known], schema=dict.fromkeys(known, pl.Float64)), asked)


def share(of: pl.Series) -> float | None:
    """The mean of a column of booleans or numbers; None of an empty one."""
    return float(of.cast(pl.Float64).mean()) if of.len() else None  # type: ignore[arg-type]


def named(noun: str, column: str = "", **more: str) -> pl.Expr:
    """The column WHERE: `event 'e7'`; several nouns are joined by ' of '."""
    parts = [pl.format("{} {}", pl.lit(of), quoted(name)) for of, name in {noun: column, **more}.items()]
    return pl.concat_str(parts, separator=" of ").alias(WHERE)


def quoted(column: str, length: int = 60) -> pl.Expr:
    """A value in quotes, cut; null reads none."""
    text = pl.col(column).cast(pl.String)
    cut = pl.when(text.str.len_chars() > length).then(text.str.slice(0, length - 1) + "…").otherwise(text)
    return pl.when(text.is_null()).then(pl.lit("none")).otherwise(pl.lit("'") + cut + pl.lit("'"))


# -- words ----------------------------------------------------------------------------------------------------------


def _finding(rule: Rule, frame: pl.DataFrame, result: great_expectations.Result) -> Finding | None:
    """None when the rule is met. A rule that could not be evaluated, or of which Great Expectations counts other rows
    than those that would be named, is not."""
    column = ", ".join(rule.columns)
    rows = None if rule.broken is None else frame.filter(rule.broken)
    doubt = result.error
    if doubt is None and rows is not None and result.unexpected != rows.height:
        doubt = f"{result.unexpected} rows do not meet it, {rows.height} were found"
    if doubt is not None:
        words = f"whether {rule.about} could not be evaluated ({doubt}); report this as a bug"
        return Finding(rule.name, result.kind, CRITICAL, column, "not evaluated", words)
    if result.success:
        return None
    if rows is None:
        row = frame.row(0, named=True)
        words = f"{rule.words.format(**row)}; {rule.remedy}"
        return Finding(rule.name, result.kind, rule.severity, column, f"{row[column]:.4g}", words)
    first = {name: _shown(value) for name, value in rows.row(0, named=True).items()}
    first["where"] = rows[WHERE][0]
    words = f"{rule.words.format(**first)}{_more(rows[WHERE])}; {rule.remedy}"
    return Finding(rule.name, result.kind, rule.severity, column, f"{rows.height} of {frame.height}", words)


def _more(where: pl.Series) -> str:
    """' (and 7 more: event 'e8', event 'e9', …)' for all rows but the first."""
    rest = where[1:].unique(maintain_order=True).to_list()
    if where.len() == 1:
        return ""
    listed = ", ".join([*rest[:_NAMED], *(["…"] if len(rest) > _NAMED else [])])
    return f" (and {where.len() - 1:,} more{f': {listed}' if listed else ''})"


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:59] + "…")
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)
