"""Deliveries that are no JSON lines: tables of every form that rerankops.reading takes, and Label Studio's JSON export.

A spreadsheet's cells become text as they stand, without the apostrophes of `rerankops.spreadsheets`. A number that was
typed into a cell is its digits; of an identifier that a spreadsheet has rounded it is said so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any

import polars as pl

from rerankops import reading
from rerankops.annotation.deliveries import FIELDS, OPTIONAL, RAW, Lines, Unreadable
from rerankops.annotation.label_studio import exports
from rerankops.config import ReadingSettings
from rerankops.plain import one_line
from rerankops.reading import Place, Refused, Row, Unfit, Unusable
from rerankops.spreadsheets import sent

_NAMES = (*FIELDS, *OPTIONAL)
_IDENTIFIERS = frozenset({"batch_id", "task_id", "annotator_id"})
_COLUMNS_NAMED = 10


def read(content: bytes, source: str, settings: ReadingSettings, server: str) -> Lines:
    """Every row that holds anything, as a row or as unreadable. server: the name of the Label Studio server whose
    exports these are (label_studio.name), which stands in annotators' ids."""
    kept: list[dict[str, Any]] = []
    unreadable: list[Unreadable] = []
    fields: set[str] = set()
    spreadsheet: dict[int, int] = {}
    columns: dict[str, None] = {}
    try:
        with reading.opened(content, settings, name=source, known=_NAMES, trimmed=True) as table:
            columns.update(dict.fromkeys(table.columns))
            if table.columns and not set(table.columns) & set(_NAMES) and not exports.is_flat(table.columns):
                named = ", ".join(table.columns[:_COLUMNS_NAMED])
                words = f"is no heading (none of the columns {', '.join(FIELDS)}); it has {reading.shortly(named)!r}"
                return _nothing(words)
            fields.update(name for name in table.columns if name in _NAMES)
            for item in table.rows:
                line = item.place.line or item.place.row or len(kept) + len(unreadable) + 1
                if item.place.row is not None and item.place.row != item.place.line:
                    spreadsheet[line] = item.place.row
                try:
                    rows = list(_rows(item, flat=table.flat, server=server))
                except Unfit as error:
                    unreadable.append(Unreadable(line, _told(item.place, str(error))))
                    continue
                for row in rows:
                    kept.append({"line": line, **row})
                    if not table.columns:
                        fields.update(name for name in row if name in _NAMES)
                        columns.update(dict.fromkeys(row))
    except Refused as error:
        unreadable.append(Unreadable(1, one_line(str(error).removeprefix(source).strip())))
    schema = {"line": pl.Int64} | dict.fromkeys(_NAMES, pl.String)
    frame = pl.DataFrame([{name: row.get(name) for name in schema} for row in kept], schema=schema, orient="row")
    return Lines(
        frame.select(RAW.names).to_arrow().cast(RAW),
        tuple(unreadable),
        frozenset(fields),
        tuple(name for name in columns if name),
        spreadsheet,
    )


def _rows(item: Row | Unusable, *, flat: bool, server: str) -> Iterator[Mapping[str, str | None]]:
    """The annotations of a row. Raises Unfit."""
    if isinstance(item, Unusable):
        raise Unfit(item.kind, f"{item.reason}: {reading.shortly(repr(item.content))}" if item.content else item.reason)
    values = item.values
    if exports.is_task(values):
        for row in exports.rows_of(values, server=server):
            yield {name: None if value is None else _text(name, value) for name, value in row.items()}
        return
    yield {
        name: None if value is None else _text(name, sent(value) if flat else value) for name, value in values.items()
    }


def _text(name: str, value: Any) -> str | None:
    """A cell or JSON value as text."""
    if name in _IDENTIFIERS and isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            return reading.identifier(value)
        except Unfit as error:
            raise Unfit(error.kind, f"column {name} {error}") from None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime | date):
        return value.isoformat()
    return exports.as_text(value)


def _told(place: Place, words: str) -> str:
    if place.line is None or place.row in (None, place.line):
        return words
    return f"{words} (spreadsheet row {place.row})"


def _nothing(words: str) -> Lines:
    return Lines(RAW.empty_table(), (Unreadable(1, words),), frozenset())
