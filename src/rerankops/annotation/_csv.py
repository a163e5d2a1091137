"""CSV as Excel and its kin write it, and as they read it.

Reading: UTF-8 with or without a byte order mark, UTF-16 with one ("Unicode text"), else GB18030, which is what Excel
saves on a Chinese Windows. Commas, semicolons or tabs. The first line names the columns.

Writing: UTF-8 with a byte order mark, without which Excel takes Chinese for something else. A cell that Excel would
calculate (a formula, see OWASP's "CSV injection") or turn into another number or a date gets an apostrophe before it,
which reading takes away again.
"""

from __future__ import annotations

import csv
import io

import polars as pl

from rerankops.annotation.deliveries import FIELDS, OPTIONAL, RAW, Lines, Unreadable, shortly
from rerankops.plain import FORMULA

_NAMES = (*FIELDS, *OPTIONAL)
_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_DELIMITERS = (",", ";", "\t")
_LARGEST_CELL = 2**24
_RISKY = r"(?s)^'*(?:" + FORMULA + r"|[\d.,:/%\s年月日时分秒+-]*\d[\d.,:/%eE\s年月日时分秒+-]*$|(?i:true|false)$)"
"""Formulas, numbers, dates and times, truth values; those that have an apostrophe already too."""


def guarded(text: pl.Expr) -> pl.Expr:
    """Text as a cell may hold it."""
    return pl.when(text.str.contains(_RISKY)).then(text.str.replace("^", "'")).otherwise(text)


def write(table: pl.DataFrame) -> bytes:
    """A table of text as CSV that Excel opens as it is."""
    return b"\xef\xbb\xbf" + table.with_columns(guarded(pl.col(pl.String))).write_csv(line_terminator="\r\n").encode()


def read(content: bytes) -> Lines:
    """Every line under the heading that holds anything, as a row or as unreadable."""
    text = _decoded(content)
    if text is None:
        return _nothing("is neither UTF-8 nor GB18030 text; save the file as CSV UTF-8")
    csv.field_size_limit(_LARGEST_CELL)
    delimiter = _delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    heading: list[str] | None = None
    numbers: list[int] = []
    rows: list[list[str]] = []
    unreadable: list[Unreadable] = []
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            unreadable.append(Unreadable(number, f"no CSV ({error})"))
            continue
        if cells is None:
            break
        if not any(cell.strip() for cell in cells):
            continue
        if heading is None:
            heading = [cell.strip() for cell in cells]
            twice = sorted({name for name in heading if name in _NAMES and heading.count(name) > 1})
            if twice or not set(heading) & set(_NAMES):
                words = f"column {twice[0]!r} is there twice" if twice else f"none of the columns {', '.join(FIELDS)}"
                return _nothing(f"is no heading ({words}): {shortly(repr(delimiter.join(cells)))}", number)
        elif len(cells) > len(heading) and any(cells[len(heading) :]):
            words = f"{len(cells)} cells under {len(heading)} columns: {shortly(repr(delimiter.join(cells)))}"
            unreadable.append(Unreadable(number, words))
        else:
            numbers.append(number)
            rows.append((cells + [""] * len(heading))[: len(heading)])
    if heading is None:
        return Lines(RAW.empty_table(), tuple(unreadable), frozenset())
    columns = dict(zip(heading, zip(*rows, strict=True) if rows else [()] * len(heading), strict=False))
    table = pl.DataFrame({name: columns.get(name) for name in _NAMES if name in columns}, schema_overrides=_TEXT)
    text_cells = pl.col(pl.String)
    as_sent = pl.when(text_cells.str.contains(r"^'") & text_cells.str.contains(_RISKY)).then(text_cells.str.slice(1))
    table = table.with_columns(pl.when(text_cells != "").then(as_sent.otherwise(text_cells)))
    table = table.with_columns(
        pl.Series("line", numbers, pl.Int64),
        *(pl.lit(None, pl.String).alias(name) for name in _NAMES if name not in columns),
    )
    fields = frozenset(name for name in _NAMES if name in columns)
    return Lines(table.select(RAW.names).to_arrow().cast(RAW), tuple(unreadable), fields)


_TEXT = dict.fromkeys(_NAMES, pl.String)


def _decoded(content: bytes) -> str | None:
    named = next((encoding for bom, encoding in _BOMS.items() if content.startswith(bom)), None)
    for encoding in [named] if named else ["utf-8", "gb18030"]:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        return None if "\0" in text else text
    return None


def _delimiter(text: str) -> str:
    """What stands between the names of the first line."""
    heading = next((line for line in io.StringIO(text) if line.strip()), "")
    return max(_DELIMITERS, key=lambda one: len({cell.strip('" \r\n') for cell in heading.split(one)} & {*_NAMES}))


def _nothing(words: str, line: int = 1) -> Lines:
    return Lines(RAW.empty_table(), (Unreadable(line, words),), frozenset())
