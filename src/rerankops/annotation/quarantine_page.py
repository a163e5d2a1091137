"""The quarantine page: what was not accepted, why, and what can be done. One file, no network, no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import resources
from typing import Literal

Status = Literal["waiting", "released", "rejected", "superseded"]
STATUSES: tuple[Status, ...] = ("waiting", "released", "rejected", "superseded")
"""The ones that a person has to look at first."""


@dataclass(frozen=True)
class Entry:
    """A quarantined delivery as people see it.

    short: enough of the delivery's digest to name it. when, decided_at: ISO 8601. reasons: the critical findings,
    noticed: the others, in words. links: name to address, relative to the page or whole. superseded_by: the short name
    of the delivery that took its place.
    """

    short: str
    delivery: str
    verdict: str
    batch_id: str
    source: str
    when: str
    status: Status
    reasons: Sequence[str]
    noticed: Sequence[str]
    metrics: Mapping[str, float]
    superseded_by: str | None = None
    decided_by: str | None = None
    decided_at: str | None = None
    decided_because: str | None = None
    decision: str | None = None
    links: Mapping[str, str] = field(default_factory=dict)


def render(entries: Sequence[Entry], *, written: datetime) -> str:
    """The page as one string. written: when (aware)."""
    from jinja2 import Environment, StrictUndefined

    template = resources.files("rerankops.annotation").joinpath("quarantine.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["moment"] = _moment
    ordered = sorted(entries, key=lambda entry: entry.when, reverse=True)
    groups = [(status, [entry for entry in ordered if entry.status == status]) for status in STATUSES]
    page = environment.from_string(template).render(
        groups=groups,
        total=len(ordered),
        waiting=len(groups[0][1]),
        written=written.isoformat(),
    )
    return page + "\n"


def _moment(value: str | None) -> str:
    """An ISO 8601 time to the minute, in UTC."""
    return "" if value is None else f"{datetime.fromisoformat(value).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
