"""The suites: what is expected of every table that crosses a boundary, as code in one place.

| table | module | asked by |
|---|---|---|
| query events | `suites.query_events` | before they are distilled into queries |
| candidates | `suites.candidates` | before they become tasks, groups or gold candidates |
| annotations | `annotation.expectations` | at the door, a delivery at a time |
| judgments | `suites.judgments` | before they are trained on |
| gold questions | `suites.gold_questions` | when they are frozen |

A suite is a pure function of its table, what it is checked against, and settings. `check` runs it by Great
Expectations and writes Data Docs. A *critical* rule that is not met stops the step; a *warning* is told.
"""

from rerankops.annotation.suites import candidates, gold_questions, judgments, query_events
from rerankops.annotation.suites._checks import CRITICAL, WARNING, Finding, Report, Rule, Suite, View, check

VERSION = 1
"""Raised when the rules change: tables that were checked are checked again."""

__all__ = [
    "CRITICAL",
    "VERSION",
    "WARNING",
    "Finding",
    "Report",
    "Rule",
    "Suite",
    "View",
    "candidates",
    "check",
    "gold_questions",
    "judgments",
    "query_events",
]
