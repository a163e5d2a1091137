"""What comes back from people, exactly as it came, and read as text.

It is data from outside. Reading never fails and never repairs: the bytes are kept, every value is text, and a line that
cannot be read is listed with its number, so that `expectations.validate` can decide what becomes of the delivery.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

import polars as pl
import pyarrow as pa

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


@dataclass(frozen=True)
class Lines:
    """What a reader makes of a file: rows (RAW), the lines it could not read, the fields that are there at all."""

    rows: pa.Table
    unreadable: tuple[Unreadable, ...]
    fields: frozenset[str]


def read(content: bytes, *, source: str, stream: str | None = None, complete: bool = True) -> Delivery:
    """A delivery from its bytes: CSV when the source's name ends in .csv, else JSON lines; read leniently.

    source: the file's name, for messages. stream: None for a file.
    """
    from rerankops.annotation import _csv, _json_lines

    lines = (_csv if source.lower().endswith(".csv") else _json_lines).read(content)
    sha256 = hashlib.sha256(content).hexdigest()
    return Delivery(
        batch_id=_batch_id(lines.rows, source),
        source=source,
        content=content,
        sha256=sha256,
        rows=lines.rows,
        unreadable=lines.unreadable,
        fields=lines.fields,
        stream=f"file-{sha256[:32]}" if stream is None else stream,
        complete=complete,
    )


def shortly(text: str, length: int = 80) -> str:
    """Text from outside as a message may quote it."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _batch_id(rows: pa.Table, source: str) -> str:
    named = pl.Series(pl.from_arrow(rows["batch_id"])).drop_nulls().value_counts(name="count", sort=True)
    usable = [(-count, name) for name, count in named.iter_rows() if BATCH_ID.fullmatch(name)]
    if usable:
        return str(min(usable)[1])
    stem = re.sub(r"[^\w.-]+", "-", PurePosixPath(source).stem).strip(".-")[:128]
    return stem or "delivery"
