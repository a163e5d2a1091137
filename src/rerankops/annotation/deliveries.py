"""What comes back from people, exactly as it came, and read as text.

It is data from outside. Reading never fails and never repairs: the bytes are kept, every value is text, and a line that
cannot be read is listed with its number, so that `expectations.validate` can decide what becomes of the delivery.

What a file is, its content tells, not its name: JSON lines, any table that rerankops.reading takes, or Label Studio's
JSON export. A time that is written as spreadsheets and logs write it (rerankops.reading.times) becomes ISO 8601 where
it has one meaning.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import polars as pl
import pyarrow as pa

from rerankops import config, reading
from rerankops.config import ReadingSettings

FIELDS = ("batch_id", "task_id", "annotator_id", "grade", "annotated_at")
"""What one returned line must hold."""
OPTIONAL = ("lead_seconds", "query_text", "passage_title", "passage_text", "doubt")
"""What it may hold besides: the seconds a grade took, the texts as the annotator read them, and why the annotation tool
cannot tell whose grade it is (doubt; annotator_id is null then). More is ignored."""
RAW = pa.schema([("line", pa.int64()), *((name, pa.string()) for name in (*FIELDS, *OPTIONAL))])
"""Rows as they came: line number, and the fields as text or null."""
AHEAD = "ahead_until"
"""Measured of a delivery with moments in the future: when the first of them is none any more, seconds since 1970."""
SNAPSHOT = "_snapshot"
"""A first line that is an object with this key is a note of the channel to itself, no annotation."""

BATCH_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class Unreadable:
    """A line that is no annotation at all, and why."""

    line: int
    words: str


@dataclass(frozen=True)
class Delivery:
    """One file of returned annotations, exactly as it came, or all that a project of an annotation tool holds now.

    batch_id: the one that most rows name, else the file's name without its ending; always safe as a file name.
    rows: RAW, one row a readable line. fields: those of FIELDS and OPTIONAL that at least one line has.
    stream: what it is a state of, safe as a file name; a later delivery of the same stream replaces this one. A file
    never changes: its content is its stream. complete: False while people are still at it: stored, not judged.
    columns: the names of its table, () where lines are read one by one. spreadsheet: the row that a spreadsheet shows,
    by line, where that is another number.
    """

    batch_id: str
    source: str
    content: bytes
    sha256: str
    rows: pa.Table
    unreadable: tuple[Unreadable, ...]
    fields: frozenset[str]
    stream: str
    complete: bool = True
    columns: tuple[str, ...] = ()
    spreadsheet: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Lines:
    """What a reader makes of a file: rows (RAW), the lines it could not read, the fields that are there at all; columns
    and spreadsheet as in Delivery."""

    rows: pa.Table
    unreadable: tuple[Unreadable, ...]
    fields: frozenset[str]
    columns: tuple[str, ...] = ()
    spreadsheet: Mapping[int, int] = field(default_factory=dict)


def read(
    content: bytes,
    *,
    source: str,
    settings: ReadingSettings | None = None,
    server: str = "label-studio",
    stream: str | None = None,
    complete: bool = True,
) -> Delivery:
    """A delivery from its bytes, read leniently.

    source: the file's name, for messages. settings: None: those of configs/base.yaml. server: the name of the Label
    Studio server whose export it may be (label_studio.name). stream: None for a file.
    """
    from rerankops.annotation import _json_lines

    settings = settings or config.load(environ={}).reading
    lines = _table(content, source, settings, server)
    if lines is None:
        lines = _json_lines.read(_as_utf8(content, settings))
    sha256 = hashlib.sha256(content).hexdigest()
    return Delivery(
        batch_id=_batch_id(lines.rows, source),
        source=source,
        content=content,
        sha256=sha256,
        rows=_with_iso_times(lines.rows, settings),
        unreadable=lines.unreadable,
        fields=lines.fields,
        stream=f"file-{sha256[:32]}" if stream is None else stream,
        complete=complete,
        columns=lines.columns,
        spreadsheet=lines.spreadsheet,
    )


def _table(content: bytes, source: str, settings: ReadingSettings, server: str) -> Lines | None:
    """What is no JSON lines; None for JSON lines, which are read much faster."""
    from rerankops.annotation import _tables

    return None if _is_json_lines(content) else _tables.read(content, source, settings, server)


def _is_json_lines(content: bytes) -> bool:
    """Whether one of the first two lines that hold anything begins an object, and neither is the beginning of a JSON
    text that goes over several lines. True for nothing at all."""
    head = content[:_LOOK].removeprefix(b"\xef\xbb\xbf")
    first = [line for line in (one.strip() for one in head.split(b"\n")) if line][:2]
    if not first:
        return not head.strip()
    over_several_lines = first[0].startswith(b"[") or first[0] == b"{"
    wide = b"\0" in first[0][:_LOOK_FOR_NUL]
    old_ends = b"\r" in head.strip() and b"\n" not in content
    if over_several_lines or wide or old_ends or _is_wrapped(first[0]):
        return False
    return any(line.startswith(b"{") for line in first)


def _is_wrapped(line: bytes) -> bool:
    """Whether a line is an object without any of our names, as where Elasticsearch put its own around it."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and not found.keys() & {*FIELDS, *OPTIONAL, SNAPSHOT}


def _as_utf8(content: bytes, settings: ReadingSettings) -> bytes:
    """JSON lines in another encoding as UTF-8; as they are where only some lines are damaged."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        try:
            return reading.decoded(content, settings.encoding).encode()
        except reading.Refused:
            return content
    return content


def _with_iso_times(rows: pa.Table, settings: ReadingSettings) -> pa.Table:
    """RAW with each annotated_at that has one meaning in ISO 8601, in UTC where it says no zone and settings name one;
    what has none or several stays as it came."""
    at = pl.Series(pl.from_arrow(rows["annotated_at"]))
    plain = f"{_ISO}{_ZONE}{'?' if settings.time_zone == 'UTC' else ''}"
    odd = at.drop_nulls().unique().str.strip_chars()
    odd = odd.filter(~odd.str.contains(f"^{plain}$") & (odd != ""))
    if odd.is_empty():
        return rows
    meant = {}
    for text in odd.to_list():
        try:
            moment = reading.moment(text, zone=settings.time_zone, order=settings.date_order)
        except reading.Unfit:
            continue
        meant[text] = moment.isoformat()
    if not meant:
        return rows
    stripped = at.str.strip_chars()
    changed = stripped.replace_strict(meant, default=None, return_dtype=pl.String)
    place = rows.schema.get_field_index("annotated_at")
    column = changed.fill_null(at).rename("annotated_at").to_arrow().cast(pa.string())
    return rows.set_column(place, rows.schema.field("annotated_at"), column)


_LOOK = 1 << 16
_LOOK_FOR_NUL = 64
"""Bytes of a line in which UTF-16 without a mark shows."""
_ISO = r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(?:\.\d+)?"
_ZONE = r"(?:[zZ]|[+-]\d{2}:?\d{2})"


def _batch_id(rows: pa.Table, source: str) -> str:
    named = pl.Series(pl.from_arrow(rows["batch_id"])).drop_nulls().value_counts(name="count", sort=True)
    usable = [(-count, name) for name, count in named.iter_rows() if BATCH_ID.fullmatch(name)]
    if usable:
        return str(min(usable)[1])
    stem = re.sub(r"[^\w.-]+", "-", PurePosixPath(source).stem).strip(".-")[:128]
    return stem or "delivery"
