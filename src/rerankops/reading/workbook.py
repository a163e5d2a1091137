"""Sheets of an Excel workbook (.xlsx), with values as entered: numbers, dates and truth values keep their types."""

from __future__ import annotations

import io
import warnings
import zipfile
import zlib
from collections.abc import Collection, Iterator
from datetime import date, datetime, time
from typing import Any

from rerankops.reading.contents import archive_of
from rerankops.reading.delimited import fitted, heading
from rerankops.reading.places import Place, Refused, Row, Unfit, Unusable, shortly, unusable

_MOST_COLUMNS = 256
"""Cells further to the right are ignored: a workbook may claim 16,384 in each row."""
_MOST_ROWS = 2**20
"""Excel's limit; a damaged workbook may claim any number."""
_DAMAGED = (
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    OSError,
    zipfile.BadZipFile,
    SyntaxError,
    zlib.error,
    NotImplementedError,
    RuntimeError,
)
"""Errors of openpyxl, its XML parser and zip on a file that is not a workbook."""


def sheet_rows(
    data: bytes, file: str, *, known: Collection[str], megabytes: float
) -> tuple[tuple[str, ...], Iterator[Row | Unusable]]:
    """Columns and rows of the sheet whose heading holds known names (if there are no known names: the first sheet that
    is not empty).

    Raises Refused when the workbook is damaged or too large, or when several sheets have such a heading.
    """
    archive = archive_of(data, megabytes=megabytes)
    names = set(archive.namelist())
    if "xl/workbook.xml" not in names:
        if {"mimetype", "content.xml"} <= names:
            raise Refused("an OpenDocument file", "is an OpenDocument file; save it as .xlsx or CSV UTF-8")
        if any(name.startswith("xl/") for name in names):
            raise Refused("a workbook that is no .xlsx", "is a workbook but no .xlsx; save it as .xlsx or CSV UTF-8")
        raise Refused("a zip archive", "is a zip archive; send the file in it")
    sheets = _sheets(data)
    filled = [(name, rows) for name, rows in sheets if rows]
    fitting = [(name, rows) for name, rows in filled if set(heading(rows[0][1], known)) & set(known)] or filled[:1]
    if len(fitting) > 1:
        raise Refused(
            "several sheets", f"has several sheets with our columns: {[name for name, _ in fitting]}; keep one"
        )
    if not fitting:
        return (), iter(())
    name, rows = fitting[0]
    sheet = name if len(sheets) > 1 else None
    columns = heading(rows[0][1], known)
    return columns, _rows(rows[1:], columns, file, sheet)


def _rows(
    rows: list[tuple[int, tuple[Any, ...]]], columns: tuple[str, ...], file: str, sheet: str | None
) -> Iterator[Row | Unusable]:
    for number, cells in rows:
        place = Place(file, row=number, sheet=sheet)
        try:
            broken = next((cell for cell in cells if isinstance(cell, str) and cell in _ERRORS), None)
            if broken is not None:
                column = columns[cells.index(broken)] if cells.index(broken) < len(columns) else "?"
                raise Unfit("an error of a formula", f"column {column} holds {broken}; type the value itself")
            yield Row(place, fitted(cells, columns, trimmed=True))
        except Unfit as error:
            yield unusable(place, error, shortly(repr(cells), 2000))


_ERRORS = frozenset({"#REF!", "#NAME?", "#VALUE!", "#DIV/0!", "#N/A", "#NUM!", "#NULL!"})


def _sheets(data: bytes) -> list[tuple[str, list[tuple[int, tuple[Any, ...]]]]]:
    """For each sheet, the rows that are not empty, with their numbers."""
    from openpyxl import load_workbook

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about extensions that openpyxl drops when it writes
            book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
            sheets = []
            for sheet in book.worksheets:
                sheet.reset_dimensions()  # programs other than Excel write wrong ones
                rows = enumerate(sheet.iter_rows(max_col=_MOST_COLUMNS, values_only=True), start=1)
                sheets.append((sheet.title, list(_filled(rows))))
    except _DAMAGED as error:
        raise Refused("a damaged workbook", f"is a damaged workbook ({shortly(str(error))}); save it again") from error
    return sheets


def _filled(rows: Iterator[tuple[int, tuple[Any, ...]]]) -> Iterator[tuple[int, tuple[Any, ...]]]:
    for number, cells in rows:
        if number > _MOST_ROWS:
            raise Refused("a damaged workbook", f"has more than {_MOST_ROWS:,} rows, which no Excel file has")
        if any(map(_holds, cells)):
            yield number, _trimmed(cells)


def _holds(cell: Any) -> bool:
    return cell is not None and (not isinstance(cell, str) or bool(cell.strip()))


def _trimmed(cells: tuple[Any, ...]) -> tuple[Any, ...]:
    last = max(at for at, cell in enumerate(cells) if _holds(cell))
    return tuple(_plain(cell) for cell in cells[: last + 1])


def _plain(cell: Any) -> Any:
    """Whole numbers as integers, texts without Excel's own codes."""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return int(cell)
    if isinstance(cell, str):
        return cell if cell.strip() else None
    return cell if isinstance(cell, int | float | bool | datetime | date | time) or cell is None else str(cell)
