"""The order of things: lines, then people, then queries, then what is left; Great Expectations decides."""

from __future__ import annotations

from collections.abc import Set
from datetime import datetime
from pathlib import Path

import polars as pl
import pyarrow as pa

from rerankops.annotation import _great_expectations as great_expectations
from rerankops.annotation.channel import FIELDS, Delivery
from rerankops.annotation.deliveries import AHEAD
from rerankops.annotation.expectations import _annotators, _batch, _queries, _rows, _rules
from rerankops.annotation.expectations._drift import drift, grade_counts
from rerankops.annotation.expectations._files import other_names, remedy, swapped
from rerankops.annotation.expectations._verdict import (
    ASIDE,
    CRITICAL,
    GRADE_COUNTS,
    SET_ASIDE,
    Check,
    Finding,
    Outcome,
    Validation,
    expectation,
)
from rerankops.annotation.expectations._words import listed, one_line
from rerankops.config.settings import AnnotationSettings


def validate(
    delivery: Delivery,
    tasks: pa.Table,
    near_gold: Set[str],
    settings: AnnotationSettings,
    *,
    data_docs: Path | None,
    now: datetime,
    received_at: datetime | None = None,
    sent_at: datetime | None = None,
    history: pa.Table | None = None,
) -> Validation:
    """Whether a delivery may become judgments, and which of its lines.

    tasks: records.AnnotationTask; those of other batches are ignored. near_gold: ids of queries that equal or nearly
    equal a gold question. data_docs: a folder of this delivery's own, running again replaces its pages; None: the same
    verdict without pages. now: aware; annotations may not be later, by more than a day. received_at: aware; the time
    that the pages show, None: now. sent_at: aware; annotations may not be earlier either. history: GRADE_COUNTS of
    earlier deliveries.
    """
    asked = _rows.asked_tasks(tasks, delivery.batch_id, near_gold)
    rows = _rows.read_rows(delivery, asked)
    rules, rows, masks = _line_faults(delivery, rows, now=now, sent_at=sent_at)
    lines = rows.height + len(delivery.unreadable)
    most = int(settings.max_set_aside_share * lines)
    apart = _rules.any_of(masks, [rule for rule in rules if rule.sets_aside])
    spoilt = _rules.any_of(masks, [rule for rule in rules if rule.spoils])
    once = rows["repeats"].is_null()
    came = rows.filter(~spoilt & once & _all_there(rows, "batch_id", "task", "grade_value", "annotated_at_value"))[
        "task"
    ]
    sound = _rows.sound_rows(rows, ~apart & once & _all_there(rows))
    annotators = _rows.annotators_of(rows)

    people = _annotators.with_doubts(_annotators.measured(sound, annotators, settings), settings)
    person_rules = _annotators.person_rules(people, settings)
    condemned = _annotators.condemned(people, person_rules, settings)
    kept = sound.join(condemned, on="annotator", how="anti", maintain_order="left")
    queries = _queries.measured(kept, asked, settings)
    torn = asked.join(queries.filter("torn"), on="query_id", how="semi").select("task")
    left = kept.join(torn, on="task", how="anti", maintain_order="left")
    unfinished = kept.join(torn, on="task", how="semi", maintain_order="left")

    counts = grade_counts(left, asked)
    causes = [(int(masks[rule.name].sum()), rule.name) for rule in rules if rule.spoils]
    causes.append((len(delivery.unreadable), "unreadable"))
    measured = _batch.sums(
        delivery,
        rows,
        came,
        sound,
        left,
        asked,
        settings,
        unusable=int(spoilt.sum()),
        swapped=swapped(delivery, rows, asked),
        drift=drift(counts, history) if history is not None else None,
    )
    checks: dict[str, tuple[pl.DataFrame, list[Check]]] = {
        "lines": (
            _rules.looked_at(rows, rules, masks),
            [_fields(delivery), *_rules.row_checks(rows, rules, masks, most=most)] if rows.height else [],
        ),
        "annotators": (people, _annotators.person_checks(people, person_rules, settings) if people.height else []),
        "queries": (
            queries,
            _queries.checks(queries, settings, lines=unfinished.height) if queries.height and left.height else [],
        ),
        "batch": (
            pl.DataFrame([measured.values], schema=dict.fromkeys(measured.values, pl.Float64)),
            _batch.batch_checks(
                delivery,
                came,
                people,
                asked,
                measured,
                settings,
                most=most,
                causes=[cause for cause in causes if cause[0]],
                gone=condemned,
            ),
        ),
    }
    findings = _decided(delivery, checks, data_docs=data_docs, run_time=received_at or now)
    aside = _aside(
        delivery,
        _rules.aside(rows, rules, masks),
        _rows.named(sound.join(condemned, on="annotator"), asked, annotators),
        _rows.named(unfinished, asked, annotators),
    )
    severities = {finding.severity for finding in findings}
    outcome: Outcome = "accept"
    if CRITICAL in severities:
        outcome = "quarantine"
    elif SET_ASIDE in severities:
        outcome = "accept_in_part"
    refused = outcome == "quarantine"
    annotations = _rows.annotations_of(sound if refused else left, delivery.batch_id, asked, annotators)
    metrics = measured.values | {
        "set_aside": float(aside.num_rows),
        "annotators_set_aside": float(condemned.height),
        "repeated_lines": float(rows["repeats"].count()),
        AHEAD: _ahead(rows, now),
    }
    return Validation(
        outcome=outcome,
        annotations=None if refused else annotations,
        findings=findings,
        data_docs=data_docs / "index.html" if data_docs else None,
        metrics={name: float(value) for name, value in metrics.items() if value is not None},
        set_aside=aside,
        readable=annotations if refused else None,
        grade_counts=(grade_counts(sound, asked) if refused else counts).cast(GRADE_COUNTS),
    )


def _ahead(rows: pl.DataFrame, now: datetime) -> float | None:
    """When, in seconds since 1970, the first of the moments that are too far ahead of the clock is so no more; None
    when none is. Clocks are set; a delivery that was only early is then looked at again."""
    early = rows["annotated_at_value"].filter(rows["annotated_at_value"] > now + _rows.CLOCK_SLACK)
    first = early.min()
    return (first - _rows.CLOCK_SLACK).timestamp() if isinstance(first, datetime) else None


def _line_faults(
    delivery: Delivery, rows: pl.DataFrame, *, now: datetime, sent_at: datetime | None
) -> tuple[list[_rules.RowRule], pl.DataFrame, pl.DataFrame]:
    """The rules about lines; the rows with `contradicts` and `repeats`; a column for each rule: who breaks it."""
    rules = _rules.row_rules(delivery, now=now, sent_at=sent_at)
    masks = rows.select(pl.col("line").is_null().alias(""), *(_broken(rule) for rule in rules))
    apart = _rules.any_of(masks, [rule for rule in rules if rule.sets_aside])
    rows = rows.hstack(_rows.doubles(rows, ~apart & _all_there(rows)))
    twice = [_rules.CONTRADICTED, _rules.REPEATED]
    return [*rules, *twice], rows, masks.hstack(rows.select(map(_broken, twice)))


def _broken(rule: _rules.RowRule) -> pl.Expr:
    return rule.broken.fill_null(value=False).alias(rule.name)


def _all_there(rows: pl.DataFrame, *needed: str) -> pl.Series:
    """Whether everything that an annotation needs could be read: also where a whole field is missing."""
    needed = needed or ("batch_id", "task", "annotator_id", "grade_value", "annotated_at_value")
    return rows.select(pl.all_horizontal(pl.col(needed).is_not_null())).to_series()


def _fields(delivery: Delivery) -> Check:
    """One expectation for all fields: each costs Great Expectations as much as a look at many lines."""

    def absent(_: pl.DataFrame) -> tuple[str, str]:
        missing = [name for name in FIELDS if name not in delivery.fields]
        named = f"field{'s' if len(missing) > 1 else ''} {listed(map(repr, missing))}"
        return listed(missing), f"no line has the {named}{other_names(delivery)}; {remedy(delivery)}"

    about = f"lines have the fields {listed(FIELDS)}"
    arguments = {"column_set": list(FIELDS), "exact_match": False}
    return Check(expectation("fields", "ExpectTableColumnsToMatchSet", arguments, about, CRITICAL), CRITICAL, absent)


def _decided(
    delivery: Delivery,
    checks: dict[str, tuple[pl.DataFrame, list[Check]]],
    *,
    data_docs: Path | None,
    run_time: datetime,
) -> tuple[Finding, ...]:
    """What Great Expectations finds wrong."""
    results = great_expectations.run(
        [
            great_expectations.Suite(name, table, [check.expectation for check in listed])
            for name, (table, listed) in checks.items()
            if listed
        ],
        data_docs=data_docs,
        run_name=delivery.sha256[:12],
        run_time=run_time,
    )
    found = [
        _finding(delivery, check, results[name, check.expectation.name], table)
        for name, (table, listed) in checks.items()
        for check in listed
    ]
    return tuple(finding for finding in found if finding is not None)


def _finding(
    delivery: Delivery, check: Check, result: great_expectations.Result, table: pl.DataFrame
) -> Finding | None:
    """None when the expectation holds. One that could not run, or that counts other rows than those that would be set
    aside, fails."""
    doubt = result.error
    if doubt is None and check.broken is not None and result.unexpected != check.broken:
        doubt = f"{result.unexpected} rows fail, {check.broken} would be set aside"
    severity = check.severity
    if doubt is not None:
        observed, severity = "not evaluated", CRITICAL
        words = f"whether {check.expectation.about} could not be evaluated ({doubt}); report this as a bug"
    elif result.success:
        return None
    else:
        observed, words = check.explain(table)
    return Finding(result.kind, severity, check.column, observed, one_line(f"{delivery.source}: {words}"), check.lines)


def _aside(delivery: Delivery, broken: pl.DataFrame, condemned: pl.DataFrame, unfinished: pl.DataFrame) -> pa.Table:
    """ASIDE, in the order of the lines: unreadable lines, those that break a rule, those of people and of queries that
    are set aside. condemned has `why`."""
    unreadable = pl.DataFrame(
        [(line.line, None, None, f"{one_line(line.words)}; write the line again") for line in delivery.unreadable],
        schema=dict(zip(ASIDE.names, (pl.Int64, pl.String, pl.String, pl.String), strict=True)),
        orient="row",
    )
    torn = "its query has grades for too few of its tasks; have the rest of them labelled"
    parts = [
        unreadable,
        broken,
        condemned.select("line", "task_id", "annotator_id", reason="why"),
        unfinished.select("line", "task_id", "annotator_id", reason=pl.lit(torn)),
    ]
    found = pl.concat(parts).sort("line")
    if delivery.spreadsheet:
        row = pl.col("line").replace_strict(dict(delivery.spreadsheet), default=None, return_dtype=pl.Int64)
        said = pl.col("reason").str.contains("spreadsheet row")
        told = pl.format("{} (spreadsheet row {})", "reason", row)
        found = found.with_columns(reason=pl.when(row.is_null() | said).then("reason").otherwise(told))
    return found.to_arrow().cast(ASIDE)
