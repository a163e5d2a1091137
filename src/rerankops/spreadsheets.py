"""Tables for people's spreadsheets, written so that they come back unchanged.

A spreadsheet calculates cells that begin like a formula (OWASP, "CSV injection"; also with full-width signs). It turns
texts that look like numbers and dates into those: 0012 becomes 12, 73928e05 becomes 7.39E+09. In CSV such a text gets
an apostrophe before it, which `sent` removes; in a workbook the cells are text.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rerankops.plain import FORMULA

_SOURCE = r"(?s)^'*(?:" + FORMULA + r"|[\d.,:/%\s年月日时分秒+-]*\d[\d.,:/%eE\s年月日时分秒+-]*$|(?i:true|false)$)"
"""Formulas, numbers, dates, times and truth values, including those that already have an apostrophe."""
_RISKY = re.compile(_SOURCE)
_NO_CELL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
"""Characters that XML, and so a workbook, cannot hold."""
_LONGEST_CELL = 32_767
_WIDTHS = (12, 60)


def guarded(text: str) -> str:
    """A text as a cell of CSV may hold it."""
    return f"'{text}" if _RISKY.match(text) else text


def sent(cell: Any) -> Any:
    """The text that `guarded` made the cell from; any other cell unchanged."""
    return cell[1:] if isinstance(cell, str) and cell.startswith("'") and _RISKY.match(cell) else cell


def as_csv(columns: Sequence[str], rows: Iterable[Mapping[str, str | None]]) -> bytes:
    """UTF-8 with a byte order mark; without it Excel reads Chinese in another encoding."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([guarded(row[name] or "") for name in columns] for row in rows)
    return b"\xef\xbb\xbf" + buffer.getvalue().encode()


def as_workbook(columns: Sequence[str], rows: Iterable[Mapping[str, str | None]]) -> bytes:
    """An .xlsx with one sheet. All cells are formatted as text, including those to be filled in, so that what people
    type stays as they typed it. A text longer than a cell can hold (32,767 characters) is cut and ends with …."""
    from openpyxl import Workbook
    from openpyxl.styles import Alignment, Font

    book = Workbook()
    sheet = book.active
    sheet.title = "rerankops"
    wrapped, bold = Alignment(wrap_text=True, vertical="top"), Font(bold=True)
    longest = [len(name) for name in columns]
    for number, row in enumerate([dict(zip(columns, columns, strict=True)), *rows], start=1):
        for place, name in enumerate(columns, start=1):
            cell = sheet.cell(row=number, column=place)
            cell.number_format = "@"
            cell.alignment = wrapped
            text = _NO_CELL.sub(" ", row[name] or "")
            text = f"'{text}" if text.startswith("'") and _RISKY.match(text) else text  # `sent` removes one
            if text:
                cell.value = text if len(text) <= _LONGEST_CELL else f"{text[: _LONGEST_CELL - 1]}…"
                cell.data_type = "s"  # otherwise a text that begins with = would be a formula
            longest[place - 1] = max(longest[place - 1], *map(len, text.split("\n")))
            if number == 1:
                cell.font = bold
    for place, length in enumerate(longest, start=1):
        sheet.column_dimensions[_letters(place)].width = min(max(length + 2, _WIDTHS[0]), _WIDTHS[1])
    sheet.freeze_panes = "A2"
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def _letters(place: int) -> str:
    from openpyxl.utils import get_column_letter

    letters: str = get_column_letter(place)
    return letters
