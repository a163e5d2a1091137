"""From what a log calls things to our events, with one clear line for every value that is none."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

import pyarrow as pa

from rerankops.config import QueryLogFields
from rerankops.errors import InputError
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
FLAGS = {"true": True, "1": True, "false": False, "0": False}
"""What a flat table may hold in the place of true and false."""
Row = tuple[str, Mapping[str, Any]]
"""Where it stands, in words for people, and what stands there under the log's own names."""


class EventFields:
    """Which of a log's fields is which of ours, as `query_log.fields` says.

    as_list: what a source holds in the place of a list of passages, as a list; ValueError when it cannot be one.
    """

    def __init__(self, fields: QueryLogFields, *, as_list: Callable[[Any], Any] = lambda value: value) -> None:
        self.theirs: dict[str, str] = {ours: name for ours, name in fields if name is not None}
        self._as_list = as_list

    def name(self, ours: str) -> str:
        """The field, for a message."""
        theirs = self.theirs.get(ours, ours)
        return theirs if theirs == ours else f"{theirs} (our {ours})"

    def require(self, place: str, there: Iterable[str], found: Container[str]) -> None:
        """Raises InputError when a table with the columns `there` lacks a field that every event has."""
        for ours in REQUIRED:
            if self.theirs[ours] not in found:
                raise InputError(
                    f"{place} has no column {self.name(ours)}; it has {sorted(there)}. Set query_log.fields.{ours} to "
                    "one of them"
                )

    def events(
        self, rows: Iterable[Row], since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[dict[str, Any]]:
        """RAW_EVENT rows with since <= issued_at < until. Raises InputError naming place, field and value."""
        for place, row in rows:
            issued_at = self._time(place, row)
            if (since is None or issued_at >= since) and (until is None or issued_at < until):
                yield {
                    "event_id": self._identifier(place, row),
                    "text": self._text(place, row, "text"),
                    "issued_at": issued_at,
                    "source": self._text(place, row, "source", default="query_log"),
                    "shown_passage_ids": self._identifiers(place, row, "shown_passage_ids"),
                    "clicked_passage_ids": self._identifiers(place, row, "clicked_passage_ids"),
                    "feedback": self._feedback(place, row),
                    "user_group": self._label(place, row, "user_group"),
                    "preferred_passage_id": self._label(place, row, "preferred_passage_id"),
                    "ranker": self._label(place, row, "ranker"),
                    "randomised": self._flag(place, row, "randomised"),
                }

    def _value(self, row: Mapping[str, Any], ours: str) -> Any:
        return reach(row, self.theirs[ours]) if ours in self.theirs else None

    def _text(self, place: str, row: Mapping[str, Any], ours: str, default: str | None = None) -> str:
        value = self._value(row, ours)
        if isinstance(value, str) and (value or default is None):
            return _encodable(place, self.name(ours), value)
        if value is not None and value != "":
            raise InputError(f"{place}: {self.name(ours)} must be text, found {type(value).__name__}")
        if default is None:
            raise self._missing(place, row, ours)
        return default

    def _identifier(self, place: str, row: Mapping[str, Any]) -> str:
        value = self._label(place, row, "event_id")
        if value is None:
            raise self._missing(place, row, "event_id")
        return value

    def _label(self, place: str, row: Mapping[str, Any], ours: str) -> str | None:
        value = self._value(row, ours)
        if value is None or value == "":
            return None
        if not _identifies(value):
            raise InputError(f"{place}: {self.name(ours)} must be text or a whole number, found {type(value).__name__}")
        return _encodable(place, self.name(ours), str(value))

    def _flag(self, place: str, row: Mapping[str, Any], ours: str) -> bool | None:
        value = self._value(row, ours)
        if value is None or value == "":
            return None
        known = FLAGS.get(str(value).lower()) if isinstance(value, str | int) else None
        if known is None:
            raise InputError(f"{place}: {self.name(ours)} is {value!r}, expected true or false")
        return known

    def _identifiers(self, place: str, row: Mapping[str, Any], ours: str) -> list[str]:
        try:
            values = self._as_list(self._value(row, ours))
        except ValueError as error:
            raise InputError(f"{place}: {self.name(ours)} is no list: {error}") from error
        if values is None or values == "":
            return []
        if not isinstance(values, list):
            raise InputError(f"{place}: {self.name(ours)} must be a list, found {type(values).__name__}")
        for value in values:
            if not _identifies(value):
                raise InputError(
                    f"{place}: {self.name(ours)} must hold texts or whole numbers, found {type(value).__name__}"
                )
        return [_encodable(place, self.name(ours), str(value)) for value in values]

    def _feedback(self, place: str, row: Mapping[str, Any]) -> str:
        value = self._value(row, "feedback") or "none"
        if value not in FEEDBACK:
            raise InputError(f"{place}: {self.name('feedback')} is {value!r}, allowed are {list(FEEDBACK)}")
        return str(value)

    def _time(self, place: str, row: Mapping[str, Any]) -> datetime:
        value = self._value(row, "issued_at")
        if value is None or value == "":
            raise self._missing(place, row, "issued_at")
        try:
            return moment(value)
        except TypeError as error:
            raise InputError(f"{place}: {self.name('issued_at')} {error}") from error
        except (ValueError, OverflowError) as error:
            raise InputError(
                f"{place}: {self.name('issued_at')} is {value!r}, expected ISO 8601 such as 2026-09-01T08:30:00Z"
            ) from error

    def _missing(self, place: str, row: Mapping[str, Any], ours: str) -> InputError:
        there = sorted(name for name, value in row.items() if value is not None)
        return InputError(
            f"{place}: {self.name(ours)} is missing; it has {there}. Mend it, or set query_log.fields.{ours}"
        )


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


def moment(value: Any) -> datetime:
    """A time in UTC from ISO 8601, a datetime or a date; UTC where no time zone is given.

    Raises TypeError for anything else, ValueError or OverflowError for text that is no time.
    """
    if isinstance(value, str):
        found = datetime.fromisoformat(value)
    elif isinstance(value, datetime):
        found = value
    elif isinstance(value, date):
        found = datetime.combine(value, time())
    else:
        raise TypeError(f"must be text (ISO 8601) or a timestamp, found {type(value).__name__}")
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def split_list(value: Any) -> Any:
    """A list that a flat table holds as text: JSON, or parts separated by `|`. Raises ValueError for broken JSON."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [part.strip() for part in value.split("|") if part.strip()]


def paged(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size`, the last one shorter, none empty."""
    left = iter(rows)
    while page := list(islice(left, size)):
        yield page


def as_table(events: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(events, schema=RAW_EVENT)


def _identifies(value: Any) -> bool:
    return isinstance(value, str | int | UUID) and not isinstance(value, bool)


def _encodable(place: str, name: str, value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{place}: {name} holds half of a surrogate pair, which is no text") from error
    return value
