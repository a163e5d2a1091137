"""What is wrong with a file as a whole, recognised so that the reason can say it: another format or encoding, fields
under other names, columns in one another's place."""

from __future__ import annotations

import itertools
import json

import polars as pl

from rerankops.annotation.channel import FIELDS, OPTIONAL, Delivery
from rerankops.annotation.expectations._rows import TEXTS, timestamps
from rerankops.annotation.expectations._words import listed, quoted

_MAGIC = (
    (b"\xff\xfe\x00\x00", "UTF-32; save it as UTF-8"),
    (b"\xff\xfe", "UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "UTF-16; save it as UTF-8"),
    (b"\x1f\x8b", "gzip; unpack it"),
    (b"PK\x03\x04", "a zip or Excel file; export JSON lines"),
    (b"PAR1", "Parquet; export JSON lines"),
    (b"%PDF", "a PDF; export JSON lines"),
    (b"<", "a web page; look what was downloaded"),
    (b"[", "one JSON array; write one JSON object a line"),
)
_LOOK = 1 << 16
"""Bytes looked at."""
_MOSTLY, _HARDLY = 0.9, 0.5
"""A column holds another's values when at least so many are such, and at most so many of its own are its own."""


def looks_like(content: bytes) -> str | None:
    """What a file that is no JSON lines in UTF-8 seems to be, and what to do. None: nothing that is known."""
    start = content[:_LOOK].removeprefix(b"\xef\xbb\xbf").lstrip()
    for magic, words in _MAGIC:
        if start.startswith(magic):
            return f"the file looks like {words}"
    zeros = start[::2].count(0), start[1::2].count(0)
    if sum(zeros) * 3 > len(start):
        if max(zeros) * 2 > len(start) * _MOSTLY and min(zeros) * 2 < len(start) * _HARDLY:
            return "the file looks like UTF-16 without its mark; save it as UTF-8"
        return "the file holds NUL bytes, as after a copy that broke off; copy it again"
    if start.split(b"\n", 1)[0].strip() == b"{":
        return "one JSON object stands on several lines; write each on one line"
    if not _decodes(start, "utf-8"):
        chinese = _decodes(start, "gb18030")
        return f"the file is not in UTF-8{' (GB18030, perhaps)' if chinese else ''}; save it as UTF-8"
    return None


def _decodes(start: bytes, encoding: str) -> bool:
    """Whether it is in that encoding; the last character may be cut."""
    try:
        start[:-4].decode(encoding) if len(start) == _LOOK else start.decode(encoding)
    except UnicodeDecodeError as error:
        return len(start) == _LOOK and error.start > _LOOK - 8
    return True


def other_names(delivery: Delivery) -> str:
    """The names that the first line has beside those that are known: ' (the first line has 'task' and 'who')'."""
    first = delivery.content[:_LOOK].removeprefix(b"\xef\xbb\xbf").lstrip().split(b"\n", 1)[0]
    try:
        row = json.loads(first)
    except (ValueError, RecursionError):
        return ""
    unknown = [name for name in row if name not in {*FIELDS, *OPTIONAL}] if isinstance(row, dict) else []
    return f" (the first line has {listed(quoted(name) for name in unknown[:10])})" if unknown else ""


def swapped(delivery: Delivery, rows: pl.DataFrame, asked: pl.DataFrame) -> list[str]:
    """Which columns hold another's values: ["the values of grade stand in annotator_id"]."""
    given = [name for name in (*FIELDS, *OPTIONAL) if name in delivery.fields]
    if rows.height < 2:
        return []
    if asked.is_empty():
        several = rows["batch_id"].n_unique() > 1
        constant = [name for name in ("task_id", "annotator_id") if several and rows[name].n_unique() == 1]
        return [f"the values of batch_id seem to stand in {name}" for name in constant if name in given][:1]
    found = []
    known = [name for name in ("batch_id", "task_id", "grade", "annotated_at") if name in delivery.fields]
    doubtful = [name for name in known if _share(rows, asked, delivery, name, name) <= _HARDLY]
    for lost, place in itertools.product(doubtful, given):
        if lost != place and _share(rows, asked, delivery, lost, place) >= _MOSTLY:
            found.append(f"the values of {lost} seem to stand in {place}")
    for name, place in itertools.permutations([name for name in TEXTS if name in delivery.fields], 2):
        sent = asked.select("task", sent=pl.col(name).str.strip_chars())
        there = rows.head(_LOOK).filter(pl.col("task").is_not_null(), pl.col(place).is_not_null())
        there = (
            there.select("task", place, name).join(sent, on="task", how="left").filter(pl.col(name) != pl.col("sent"))
        )
        many = there.height * 2 > min(rows.height, _LOOK)
        if many and (there[place] == there["sent"]).sum() >= _MOSTLY * there.height:
            found.append(f"the values of {name} seem to stand in {place}")
    return found


def _share(rows: pl.DataFrame, asked: pl.DataFrame, delivery: Delivery, name: str, place: str) -> float:
    """Share of the values of the column `place` that are such as `name` should hold."""
    values = rows[place].head(_LOOK)
    if values.null_count() == values.len():
        return 0.0
    if name == "batch_id":
        fits = values == delivery.batch_id
    elif name == "task_id":
        fits = values.is_in(asked["task_id"].implode())
    elif name == "grade":
        fits = values.str.contains(r"^[0-3](\.0+)?$")
    else:
        fits = timestamps(values).is_not_null()
    return int(fits.sum()) / values.len()
