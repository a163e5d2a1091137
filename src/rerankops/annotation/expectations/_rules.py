"""What each line of a delivery must hold, and what becomes of one that does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import polars as pl

from rerankops.annotation.channel import FIELDS, Delivery
from rerankops.annotation.expectations._rows import CLOCK_SLACK, EARLIEST, TEXTS
from rerankops.annotation.expectations._verdict import ASIDE, CRITICAL, SET_ASIDE, WARNING, Check, expectation
from rerankops.annotation.expectations._words import listed, more, quoted, spelt
from rerankops.records import GRADES

LONGEST_ID = 128
_LOWEST, _HIGHEST = GRADES[0], GRADES[-1]


@dataclass(frozen=True)
class RowRule:
    """What every line must hold.

    name: of the fault. about_field: without that field in the delivery it is not asked. column: where the values that
    break it stand, null elsewhere; kind and arguments: the expectation on that column. broken: the rows that break it.
    words: what is wrong with a line, continuing 'line 5 …', a template over the columns. severity: SET_ASIDE becomes
    CRITICAL when too many lines break it, but not where it is about_person: who gave the line, not what it says.
    """

    name: str
    about_field: str
    column: str
    about: str
    broken: pl.Expr
    words: str
    remedy: str
    kind: str = "ExpectColumnValuesToBeNull"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    severity: str = SET_ASIDE
    about_person: bool = False

    @property
    def sets_aside(self) -> bool:
        return self.severity != WARNING

    @property
    def spoils(self) -> bool:
        """Whether too many such lines say that the whole delivery is wrong."""
        return self.sets_aside and not self.about_person


def row_rules(delivery: Delivery, *, now: datetime, sent_at: datetime | None) -> list[RowRule]:
    """The rules for the fields that the delivery has. Each looks at one line alone."""
    batch = quoted(delivery.batch_id).replace("{", "{{").replace("}", "}}")
    latest, known = now + CLOCK_SLACK, pl.col("task").is_not_null()
    at, odd_id = pl.col("annotated_at_value"), rf"[\p{{Cc}}\p{{Cf}}\p{{Co}}<>{{}}\[\]\"`\\]|.{{{LONGEST_ID + 1}}}"
    rules = [
        *(
            RowRule(
                f"no {name}",
                name,
                name,
                f"{name} is never empty",
                pl.col(name).is_null() & (pl.col("doubt").is_null() if name == "annotator_id" else pl.lit(value=True)),
                f"has no {name}",
                "fill it in",
                "ExpectColumnValuesToNotBeNull",
            )
            for name in FIELDS
        ),
        RowRule(
            "another batch",
            "batch_id",
            "other_batch_id",
            "all lines belong to the batch of most of them",
            pl.col("batch_id") != delivery.batch_id,
            f"belongs to batch {{batch_id}}, the file to {batch}",
            "deliver each batch in its own file",
        ),
        RowRule(
            "unknown task",
            "task_id",
            "unknown_task_id",
            "every task is one of the batch's",
            pl.col("task_id").is_not_null() & ~known,
            f"is about task {{task_id}}, which batch {batch} does not have",
            "return batch and task ids as they were sent",
        ),
        RowRule(
            "odd annotator_id",
            "annotator_id",
            "odd_annotator_id",
            f"annotators' ids are at most {LONGEST_ID} characters without markup",
            pl.col("annotator_id").str.contains(odd_id),
            f"has annotator_id {{annotator_id}}, which is longer than {LONGEST_ID} characters or holds markup",
            "give people short plain ids",
        ),
        RowRule(
            "doubtful account",
            "doubt",
            "doubted_annotator_id",
            "nobody grades under another's name",
            pl.col("doubt").is_not_null(),
            "cannot be told whose it is: {doubt}",
            "have the task graded again by somebody who signs in",
            about_person=True,
        ),
        RowRule(
            "unreadable grade",
            "grade",
            "unreadable_grade",
            "every grade is a whole number",
            pl.col("grade").is_not_null() & pl.col("grade_value").is_null(),
            "has grade {grade}, which is no whole number",
            f"grade with one of {listed(GRADES)}",
        ),
        RowRule(
            "grade out of range",
            "grade",
            "grade_value",
            f"every grade is one of {listed(GRADES)}",
            ~pl.col("grade_value").is_between(_LOWEST, _HIGHEST),
            "has grade {grade}, which is unknown",
            f"grade with one of {listed(GRADES)}",
            "ExpectColumnValuesToBeInSet",
            {"value_set": list(GRADES)},
        ),
        RowRule(
            "unreadable time",
            "annotated_at",
            "unreadable_annotated_at",
            "every time is ISO 8601",
            pl.col("annotated_at").is_not_null() & at.is_null(),
            "was annotated at {annotated_at}, which is no time",
            "write times in ISO 8601, such as 2026-01-31T12:00:00Z; what 05/06/2026 is, reading.date_order can say",
        ),
        RowRule(
            "time out of range",
            "annotated_at",
            "annotated_at_value",
            f"no time is before {EARLIEST.date()} or in the future",
            ~at.is_between(EARLIEST, latest),
            f"was annotated at {{annotated_at}}, which is before {EARLIEST.date()} or in the future",
            "correct the clock or the export",
            "ExpectColumnValuesToBeBetween",
            {"min_value": EARLIEST, "max_value": latest},
        ),
        RowRule(
            "gold question",
            "task_id",
            "query_near_gold",
            "no task is about a gold question or a near-duplicate of one",
            pl.col("gold_text").is_not_null(),
            "asks {gold_text}, which is a gold question or nearly one",
            "drop that query's tasks; gold is never labelled for training",
            severity=CRITICAL,
        ),
        *(
            RowRule(
                f"another {name}",
                name,
                f"changed_{name}",
                f"{name} is what was sent",
                pl.col(f"changed_{name}"),
                f"was graded with another {name} than was sent: {{{name}}}",
                "have the task graded as it was sent; an export must not change its texts",
            )
            for name in TEXTS
            if name in delivery.fields
        ),
        RowRule(
            "unreadable lead_seconds",
            "lead_seconds",
            "unreadable_lead_seconds",
            "seconds are a number of at least 0",
            pl.col("lead_seconds").is_not_null() & pl.col("seconds").is_null(),
            "took {lead_seconds} seconds, which is no time that a person can take",
            "correct the export; the grade counts, its seconds do not",
            severity=WARNING,
        ),
    ]
    if sent_at is not None:
        earliest = sent_at - CLOCK_SLACK
        rules.append(
            RowRule(
                "too early",
                "annotated_at",
                "annotated_before",
                "no task was graded before its batch could be made",
                at.is_between(EARLIEST, earliest, closed="left"),
                f"was annotated at {{annotated_at}}, before the batch was made ({sent_at:%Y-%m-%dT%H:%MZ})",
                "correct the clock or the export, and look whether these are grades of another batch",
            )
        )
    return [rule for rule in rules if rule.about_field in delivery.fields]


CONTRADICTED = RowRule(
    "contradicting grades",
    "task_id",
    "contradicted_task_id",
    "nobody grades a task twice, differently",
    pl.col("contradicts").is_not_null(),
    "grades {grade} what line {contradicts} of the same annotator grades differently",
    "keep one grade a task and annotator",
)
REPEATED = RowRule(
    "repeated",
    "task_id",
    "repeated_task_id",
    "nobody grades a task twice",
    pl.col("repeats").is_not_null(),
    "says again what line {repeats} says",
    "it counts once; deliver each line once",
    severity=WARNING,
)


# -- what Great Expectations sees, and words ------------------------------------------------------------------------


def looked_at(rows: pl.DataFrame, rules: Sequence[RowRule], masks: pl.DataFrame) -> pl.DataFrame:
    """The table of the expectations. Values that break a rule stand there as they are, of others only as much as the
    expectation needs: whether there is one, or the number."""
    columns = []
    for rule in rules:
        if rule.kind == "ExpectColumnValuesToNotBeNull":
            columns.append(pl.when(~masks[rule.name]).then(pl.lit(1.0, pl.Float32)).alias(rule.column))
        elif rule.kind == "ExpectColumnValuesToBeNull":
            columns.append(pl.when(masks[rule.name]).then(pl.col(rule.about_field)).alias(rule.column))
        else:
            columns.append(pl.col(rule.column))
    return rows.select(columns)


def any_of(masks: pl.DataFrame, rules: Sequence[RowRule]) -> pl.Series:
    """Which rows break any of the rules."""
    if not rules:
        return pl.zeros(masks.height, dtype=pl.Boolean, eager=True)
    return masks.select(pl.any_horizontal(rule.name for rule in rules)).to_series()


def row_checks(rows: pl.DataFrame, rules: Sequence[RowRule], masks: pl.DataFrame, *, most: int) -> list[Check]:
    """most: lines that may break a rule before it is the whole delivery that is wrong."""
    made = []
    for rule in rules:
        broken = int(masks[rule.name].sum())
        severity = CRITICAL if rule.spoils and broken > most else rule.severity
        expected = expectation(rule.name, rule.kind, {"column": rule.column, **rule.arguments}, rule.about, severity)
        made.append(Check(expected, severity, partial(_first, rows, rule, masks[rule.name]), broken, broken))
    return made


def _first(rows: pl.DataFrame, rule: RowRule, mask: pl.Series, _: pl.DataFrame) -> tuple[str, str]:
    """The first broken line in full, the next ones by number."""
    lines = rows.filter(mask)
    where = "{place} (task {task_id}, annotator {annotator_id}) "
    first = lines.head(1).select(spelt(where + rule.words, _texts(rows))).item()
    return f"{lines.height} of {rows.height} lines", f"{first}{more(lines['line'].to_list())}; {rule.remedy}"


def aside(rows: pl.DataFrame, rules: Sequence[RowRule], masks: pl.DataFrame) -> pl.DataFrame:
    """ASIDE for the rows that break a rule that sets aside, with all such rules that they break."""
    setting = [rule for rule in rules if rule.sets_aside]
    broken = any_of(masks, setting)
    bad, why = rows.filter(broken), masks.filter(broken)
    texts = _texts(rows)
    reasons = [
        pl.when(why[rule.name]).then(spelt(f"{rule.words}; {rule.remedy.replace('{', '{{')}", texts)).alias(rule.name)
        for rule in setting
        if why[rule.name].any()
    ]
    if not reasons:
        return pl.DataFrame(ASIDE.empty_table())
    joined = pl.concat_str(reasons, separator=". It also ", ignore_nulls=True)
    return bad.select("line", "task_id", "annotator_id", reason="it " + joined).select(ASIDE.names)


def _texts(rows: pl.DataFrame) -> list[str]:
    return [name for name, kind in rows.schema.items() if kind == pl.String and name != "place"]
