"""Reading what lies outside: the query log, the corpus and the gold questions, from files (local or any fsspec URI).

Every error names the file and the line, so that the person who owns the file can mend it.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from upath import UPath

from rerankops.errors import InputError, SettingsError
from rerankops.records import FEEDBACK, GoldQuestion, Passage

RAW_EVENT = pa.schema(
    [
        ("event_id", pa.string()),
        ("text", pa.string()),
        ("issued_at", pa.timestamp("us", tz="UTC")),
        ("source", pa.string()),
        ("shown_passage_ids", pa.list_(pa.string())),
        ("clicked_passage_ids", pa.list_(pa.string())),
        ("feedback", pa.string()),
    ]
)
"""A log event as read, personal data still in it: it is redacted in memory and never stored so."""


def json_lines(location: str, *, setting: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file:line, object) of every line of a *.jsonl[.gz] file, or of every such file of a folder, in name order.

    Raises SettingsError when nothing is there, InputError naming file and line when a line is no JSON object.
    """
    place = UPath(location)
    if place.is_dir():
        files = sorted((f for f in place.iterdir() if f.name.endswith((".jsonl", ".jsonl.gz"))), key=lambda f: f.name)
    else:
        files = [place] if place.is_file() else []
    if not files:
        raise SettingsError(f"{setting} is {location!r}: no such file, or a folder without *.jsonl or *.jsonl.gz")
    for file in files:
        try:
            data = file.read_bytes()
            text = (gzip.decompress(data) if file.name.endswith(".gz") else data).decode("utf-8-sig")
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{file} cannot be read: {error}; is it complete?") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{file} is not UTF-8 at byte {error.start}; convert it and try again") from error
        for number, line in enumerate(text.split("\n"), start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InputError(f"{file}:{number}: not valid JSON ({error})") from error
            if not isinstance(row, dict):
                raise InputError(f"{file}:{number}: expected an object, found {type(row).__name__}")
            yield f"{file}:{number}", row


def read_events(location: str, *, since: datetime | None = None, until: datetime | None = None) -> pa.Table:
    """RAW_EVENT rows with since <= issued_at < until, in log order; an event_id seen twice is kept once."""
    rows: dict[str, dict[str, Any]] = {}
    for place, row in json_lines(location, setting="sources.query_log"):
        issued_at = _time(place, row)
        if (since and issued_at < since) or (until and issued_at >= until):
            continue
        feedback = row.get("feedback") or "none"
        if feedback not in FEEDBACK:
            raise InputError(f"{place}: feedback is {feedback!r}, allowed are {list(FEEDBACK)}")
        event_id = _text(place, row, "event_id")
        rows.setdefault(
            event_id,
            {
                "event_id": event_id,
                "text": _text(place, row, "text"),
                "issued_at": issued_at,
                "source": str(row.get("source") or "query_log"),
                "shown_passage_ids": list(row.get("shown_passage_ids") or []),
                "clicked_passage_ids": list(row.get("clicked_passage_ids") or []),
                "feedback": feedback,
            },
        )
    return pa.Table.from_pylist(list(rows.values()), schema=RAW_EVENT)


def read_corpus(location: str) -> pa.Table:
    """records.Passage. `doc_id` or `_id` (BEIR) may stand for passage_id; title and metadata may be absent."""
    rows = []
    for place, row in json_lines(location, setting="sources.corpus"):
        metadata = row.get("metadata") or {}
        if not isinstance(metadata, dict):
            raise InputError(f"{place}: metadata must be an object, found {type(metadata).__name__}")
        rows.append(
            {
                "passage_id": _text(place, row, "passage_id", "doc_id", "_id"),
                "title": str(row.get("title") or ""),
                "text": _text(place, row, "text"),
                "metadata": [(str(key), str(value)) for key, value in sorted(metadata.items())],
            }
        )
    if not rows:
        raise InputError(f"sources.corpus {location} holds no passages")
    return Passage.table(rows)


def read_gold(location: str) -> pa.Table:
    """records.GoldQuestion. Raises InputError when a question has neither accepted answers nor relevant passages."""
    rows = []
    for place, row in json_lines(location, setting="sources.gold"):
        answers = [str(a) for a in row.get("accepted_answers") or row.get("answers") or []]
        relevant = [str(p) for p in row.get("relevant_passage_ids") or row.get("relevant_doc_ids") or []]
        if not answers and not relevant:
            raise InputError(f"{place}: a gold question needs accepted_answers or relevant_passage_ids")
        rows.append(
            {
                "question_id": _text(place, row, "question_id", "query_id", "_id"),
                "text": _text(place, row, "text"),
                "accepted_answers": answers,
                "stratum": str(row.get("stratum") or "all"),
                "relevant_passage_ids": relevant,
                "relevant_grades": row.get("relevant_grades"),
            }
        )
    if not rows:
        raise InputError(f"sources.gold {location} holds no questions")
    return GoldQuestion.table(rows)


def _text(place: str, row: dict[str, Any], *names: str) -> str:
    for name in names:
        value = row.get(name)
        if isinstance(value, str):
            return value
        if value is not None:
            raise InputError(f"{place}: {name} must be text, found {type(value).__name__}")
    raise InputError(f"{place}: {names[0]} is missing; the line has {sorted(row)}")


def _time(place: str, row: dict[str, Any]) -> datetime:
    value = _text(place, row, "issued_at")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise InputError(f"{place}: issued_at is {value!r}, expected ISO 8601 such as 2026-09-01T08:30:00Z") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
