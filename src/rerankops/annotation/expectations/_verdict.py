"""What validation says of a delivery."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pyarrow as pa

from rerankops.annotation._great_expectations import Expectation

Outcome = Literal["accept", "accept_in_part", "quarantine"]
CRITICAL, SET_ASIDE, WARNING = "critical", "set_aside", "warning"
"""Severities of a finding: it quarantines the delivery, sets rows aside, or is told."""

ASIDE = pa.schema(
    [("line", pa.int64()), ("task_id", pa.string()), ("annotator_id", pa.string()), ("reason", pa.string())]
)
"""Lines that are set aside, task and annotator as they came, and why in words."""
GRADE_COUNTS = pa.schema([("stratum", pa.string()), ("grade", pa.int8()), ("tasks", pa.float64())])
"""Tasks of a stratum with a grade; a task on which people differ is shared out among their grades."""


@dataclass(frozen=True)
class Finding:
    """An expectation that failed. words: one line naming file, line, task and annotator where there is one, and what
    to do. lines: how many lines it is about; 0 when it is about the delivery as a whole."""

    expectation: str
    severity: str
    column: str | None
    observed: str
    words: str
    lines: int = 0


@dataclass(frozen=True)
class Validation:
    """What a delivery is worth.

    annotations: records.Annotation when accepted, whole or in part, else None. set_aside: ASIDE, empty when it is
    accepted whole. readable: in quarantine, records.Annotation of every line that breaks no rule, whoever gave it: what
    a person may release; else None. grade_counts: GRADE_COUNTS of `annotations` (in quarantine of
    `readable`), history for later deliveries. data_docs: the site's index.html; None when no pages were asked for.
    metrics: counts and shares; one that could not be measured is absent.
    """

    outcome: Outcome
    annotations: pa.Table | None
    findings: tuple[Finding, ...]
    data_docs: Path | None
    metrics: dict[str, float]
    set_aside: pa.Table = field(default_factory=ASIDE.empty_table)
    readable: pa.Table | None = None
    grade_counts: pa.Table = field(default_factory=GRADE_COUNTS.empty_table)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it was quarantined, or, when accepted in part, why lines were set aside; empty when accepted whole."""
        severity = CRITICAL if self.outcome == "quarantine" else SET_ASIDE
        return tuple(finding.words for finding in self.findings if finding.severity == severity)


@dataclass(frozen=True)
class Check:
    """An expectation, what its failure does, and how to put it into words.

    explain: of the table that was looked at, (observed, words). broken: rows of the table that fail, counted
    independently of Great Expectations; None for an expectation about a column as a whole. lines: see Finding.
    """

    expectation: Expectation
    severity: str
    explain: Callable[[pl.DataFrame], tuple[str, str]]
    broken: int | None = None
    lines: int = 0

    @property
    def column(self) -> str | None:
        column: str | None = self.expectation.arguments.get("column")
        return column


def expectation(name: str, kind: str, arguments: Mapping[str, Any], about: str, severity: str) -> Expectation:
    """An expectation; Great Expectations has critical, warning and info, and lines are set aside as a warning."""
    return Expectation(name, kind, arguments, about, CRITICAL if severity == CRITICAL else WARNING)
