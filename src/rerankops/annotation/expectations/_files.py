"""What is wrong with a file as a whole, recognised so that the reason can say it: another format or encoding, fields
under other names, columns in one another's place."""

from __future__ import annotations

import itertools
import json

import polars as pl

from rerankops.annotation.channel import FIELDS, OPTIONAL, Delivery
from rerankops.annotation.expectations._rows import TEXTS, timestamps
from rerankops.annotation.expectations._words import listed, quoted
from rerankops.annotation.label_studio.exports import is_flat

_MAGIC = (
    (b"%PDF", "a PDF; export JSON lines"),
    (b"<", "a web page; look what was downloaded"),
)
_LOOK = 1 << 16
"""Bytes looked at."""
_MOSTLY, _HARDLY = 0.9, 0.5
"""A column holds another's values when at least so many are such, and at most so many of its own are its own."""


def looks_like(content: bytes) -> str | None:
    """What a file that is no table seems to be, and what to do. None: nothing that is known."""
    start = content[:_LOOK].removeprefix(b"\xef\xbb\xbf").lstrip()
    for magic, words in _MAGIC:
        if start.startswith(magic):
            return f"the file looks like {words}"
    if start.count(0) * 3 > len(start):
        return "the file holds NUL bytes, as after a copy that broke off; copy it again"
    return None


def other_names(delivery: Delivery) -> str:
    """The names that the table, or the first line, has beside those that are known: ' (it has 'task' and 'who')'."""
    names = list(delivery.columns)
    if not names:
        first = delivery.content[:_LOOK].removeprefix(b"\xef\xbb\xbf").lstrip().split(b"\n", 1)[0]
        try:
            row = json.loads(first)
        except (ValueError, RecursionError):
            return ""
        names = list(row) if isinstance(row, dict) else []
    unknown = [name for name in names if name not in {*FIELDS, *OPTIONAL}]
    return f" (it has {listed(quoted(name) for name in unknown[:10])})" if unknown else ""


def remedy(delivery: Delivery) -> str:
    """What to do about fields that are missing."""
    if is_flat(delivery.columns):
        return (
            "this is Label Studio's CSV or JSON_MIN export, in which 'annotator' is a number or an address: deliver "
            "its JSON export, or rename annotator to annotator_id and updated_at to annotated_at"
        )
    return "add to every line what is missing"


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
        fits = values.str.normalize("NFKC").str.contains(r"^[0-3](\.0+)?$")
    else:
        fits = timestamps(values).is_not_null()
    return int(fits.sum()) / values.len()
