"""From what a log calls things to our events, with one clear line for every value that is none."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

import pyarrow as pa

from rerankops import reading
from rerankops.config import QueryLogSettings, ReadingSettings
from rerankops.errors import InputError
from rerankops.reading import Aside, Place, Row, Unfit, Unusable
from rerankops.records import FEEDBACK, STRINGS, TIMESTAMP

T = TypeVar("T")
RAW_EVENT = pa.schema(
    [
        ("event_id", pa.string()),
        ("text", pa.string()),
        ("issued_at", TIMESTAMP),
        ("source", pa.string()),
        ("shown_passage_ids", STRINGS),
        ("clicked_passage_ids", STRINGS),
        ("feedback", pa.string()),
        ("user_group", pa.string()),
        ("preferred_passage_id", pa.string()),
        ("ranker", pa.string()),
        ("randomised", pa.bool_()),
    ]
)
"""A log event as read, personal data still in it: it is redacted in memory and never stored so."""
REQUIRED = ("event_id", "text", "issued_at")
Places = Collection[tuple[int | None, int | None]]
"""Line and row of places in one file; (None, None) is all of it."""


class EventFields:
    """Which of a log's fields is which of ours, as `query_log.fields` says, and what its values mean."""

    def __init__(self, log: QueryLogSettings, settings: ReadingSettings) -> None:
        self.theirs: dict[str, str] = {ours: name for ours, name in log.fields if name is not None}
        self._values, self._separator = log.values, log.list_separator
        self._zone, self._order = settings.time_zone, settings.date_order

    @property
    def required(self) -> dict[str, str]:
        """The names of what every event has, and the settings that say so."""
        return {self.theirs[ours]: f"query_log.fields.{ours}" for ours in REQUIRED}

    def name(self, ours: str) -> str:
        """The field, for a message."""
        theirs = self.theirs.get(ours, ours)
        return theirs if theirs == ours else f"{theirs} (our {ours})"

    def events(
        self,
        rows: Iterable[Row | Unusable],
        since: datetime | None = None,
        until: datetime | None = None,
        *,
        flat: bool = False,
        aside: Aside | None = None,
        again: Places = (),
    ) -> Iterator[dict[str, Any]]:
        """RAW_EVENT rows with since <= issued_at < until. flat: a number may be text. again: places whose events count
        whenever they were issued. What is no event goes to `aside`; without one, InputError names place, field, value.
        """
        for place, values in reading.strictly(iter(rows), aside):
            try:
                issued_at = self._time(values)
                if since is not None and issued_at < since and not _among(place, again):
                    continue
                if until is not None and issued_at >= until:
                    continue
                yield self._event(values, issued_at, flat)
            except Unfit as error:
                if aside is None:
                    raise InputError(f"{place}: {error}") from error
                aside.put(reading.unusable(place, error, repr(dict(values))))

    def _event(self, row: Mapping[str, Any], issued_at: datetime, flat: bool) -> dict[str, Any]:
        return {
            "event_id": self._required(row, "event_id", self._label(row, "event_id")),
            "text": self._required(row, "text", self._text(row, "text", flat)),
            "issued_at": issued_at,
            "source": self._text(row, "source", flat) or "query_log",
            "shown_passage_ids": self._identifiers(row, "shown_passage_ids"),
            "clicked_passage_ids": self._identifiers(row, "clicked_passage_ids"),
            "feedback": self._feedback(row),
            "user_group": self._label(row, "user_group"),
            "preferred_passage_id": self._label(row, "preferred_passage_id"),
            "ranker": self._label(row, "ranker"),
            "randomised": self._flag(row),
        }

    def _value(self, row: Mapping[str, Any], ours: str) -> Any:
        return reach(row, self.theirs[ours]) if ours in self.theirs else None

    def _text(self, row: Mapping[str, Any], ours: str, flat: bool) -> str | None:
        try:
            return reading.text(self._value(row, ours), numbers=flat)
        except Unfit as error:
            raise self._named(ours, error) from error

    def _label(self, row: Mapping[str, Any], ours: str) -> str | None:
        try:
            return reading.identifier(self._value(row, ours))
        except Unfit as error:
            raise self._named(ours, error) from error

    def _identifiers(self, row: Mapping[str, Any], ours: str) -> list[str]:
        try:
            return reading.identifiers(self._value(row, ours), separator=self._separator)
        except Unfit as error:
            if error.kind == "a separator inside an identifier":
                error = Unfit(error.kind, f"{error}, or set query_log.list_separator")
            raise self._named(ours, error) from error

    def _flag(self, row: Mapping[str, Any]) -> bool | None:
        value = self._value(row, "randomised")
        found = reading.mapped(value, self._values.randomised)
        try:
            return reading.flag(found)
        except Unfit as error:
            raise self._named("randomised", Unfit(error.kind, f"{error}, or query_log.values.randomised")) from error

    def _feedback(self, row: Mapping[str, Any]) -> str:
        value = self._value(row, "feedback")
        found = reading.mapped(value, self._values.feedback)
        if reading.is_empty(found):
            return "none"
        if found not in FEEDBACK:
            words = f"is {value!r}, allowed are {list(FEEDBACK)}; query_log.values.feedback says what others mean"
            raise self._named("feedback", Unfit("no feedback", words))
        return str(found)

    def _time(self, row: Mapping[str, Any]) -> datetime:
        value = self._required(row, "issued_at", self._value(row, "issued_at"))
        try:
            return reading.moment(value, zone=self._zone, order=self._order)
        except Unfit as error:
            raise self._named("issued_at", error) from error

    def _named(self, ours: str, error: Unfit) -> Unfit:
        return Unfit(f"{self.name(ours)}: {error.kind}", f"{self.name(ours)} {error}")

    def _required(self, row: Mapping[str, Any], ours: str, value: T | None) -> T:
        if value is None or value == "":
            there = sorted(str(name) for name, found in row.items() if found is not None)
            raise Unfit(
                f"{self.name(ours)} is missing",
                f"{self.name(ours)} is missing; it has {there}. Mend it, or set query_log.fields.{ours}",
            )
        return value


def _among(place: Place, again: Places) -> bool:
    return bool(again) and ((place.line, place.row) in again or (None, None) in again)


def reach(row: Mapping[str, Any], name: str) -> Any:
    """What stands under a name; `a.b` is the field a.b, else b of the object a. None when there is nothing."""
    if name in row:
        return row[name]
    for at, letter in enumerate(name):
        if letter == "." and isinstance(below := row.get(name[:at]), Mapping):
            found = reach(below, name[at + 1 :])
            if found is not None:
                return found
    return None


def paged(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size`, the last one shorter, none empty."""
    left = iter(rows)
    while page := list(islice(left, size)):
        yield page


def as_table(events: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(events, schema=RAW_EVENT)
