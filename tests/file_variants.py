# ruff: noqa: E501 - a variant a line
"""The ways in which one small table reaches a door: by encoding, separator, container, and what went wrong with it.

`VARIANTS` is the list; each makes the bytes of a file from rows (dictionaries of text, numbers, lists, None) and says
what a door is to make of them: READ (every row, nothing else), SOME (all but `lost` rows, which are set aside with a
count), or REFUSED (an error that says what to do).
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from openpyxl import Workbook

Rows = Sequence[Mapping[str, Any]]
READ, SOME, REFUSED = "read", "some", "refused"
LIMITS = {
    "max_line_characters": 5000,
    "max_megabytes": 4,
    "max_document_megabytes": 2,
    "max_json_depth": 20,
    "skip_bad": True,
}
"""Settings under which the over-long, the over-deep and the over-large among the variants are that."""


@dataclass(frozen=True)
class Variant:
    """make: rows to bytes. ending: of the file's name. lost: rows of the table that cannot be read."""

    name: str
    make: Callable[[Rows], bytes]
    ending: str = ".csv"
    outcome: str = READ
    lost: int = 0


def cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return "|".join(map(str, value))
    return str(value)


def json_lines(rows: Rows, *, end: str = "\n", ascii_only: bool = False) -> str:
    return "".join(json.dumps(row, ensure_ascii=ascii_only) + end for row in rows)


def table(rows: Rows, separator: str = ",", *, end: str = "\n", quoting: int = csv.QUOTE_MINIMAL) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=separator, lineterminator=end, quoting=quoting)
    writer.writerow(rows[0])
    writer.writerows([cell(value) for value in row.values()] for row in rows)
    return buffer.getvalue()


def workbook(*sheets: Iterable[Sequence[Any]]) -> bytes:
    book = Workbook()
    book.remove(book.active)
    for number, rows in enumerate(sheets, start=1):
        sheet = book.create_sheet(f"Sheet{number}")
        for row in rows:
            sheet.append([cell(value) if isinstance(value, list) else value for value in row])
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def sheet(rows: Rows) -> list[list[Any]]:
    return [list(rows[0]), *(list(row.values()) for row in rows)]


def parquet(rows: Rows, *, kind: Callable[[pa.Table], pa.Table] = lambda found: found, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(kind(pa.Table.from_pylist([dict(row) for row in rows])), buffer, **options)
    return buffer.getvalue()


def _cast(to: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    def change(found: pa.Table) -> pa.Table:
        return pa.table(
            {n: found[n].cast(to) if pa.types.is_string(found[n].type) else found[n] for n in found.column_names}
        )

    return change


def _dictionaries(found: pa.Table) -> pa.Table:
    return pa.table(
        {n: found[n].dictionary_encode() if pa.types.is_string(found[n].type) else found[n] for n in found.column_names}
    )


def _broken(rows: Rows, change: Callable[[str], str], *, at: int = 1) -> bytes:
    """JSON lines of which one is something else."""
    lines = json_lines(rows).splitlines(keepends=True)
    lines[at] = change(lines[at])
    return "".join(lines).encode()


def _added(rows: Rows, line: bytes, *, at: int = 1) -> bytes:
    """JSON lines and one more that is none."""
    lines = json_lines(rows).encode().splitlines(keepends=True)
    return b"".join([*lines[:at], line, *lines[at:]])


def _csv_line(rows: Rows, change: Callable[[bytes], bytes], *, at: int = 2) -> bytes:
    lines = table(rows).encode().splitlines(keepends=True)
    lines[at] = change(lines[at])
    return b"".join(lines)


def _reordered(rows: Rows) -> bytes:
    return table([dict(reversed(list(row.items()))) for row in rows]).encode()


def _more(rows: Rows) -> list[dict[str, Any]]:
    return [{"nr.": number, **row, "note": 'two\nlines, and a "quotation"'} for number, row in enumerate(rows, start=1)]


def _heading(rows: Rows, change: Callable[[str], str], separator: str = ",") -> bytes:
    head, rest = table(rows, separator).split("\n", 1)
    return f"{separator.join(map(change, head.split(separator)))}\n{rest}".encode()


def _pretty(rows: Rows) -> bytes:
    return json.dumps([dict(row) for row in rows], ensure_ascii=False, indent=2).encode()


def _line_array(rows: Rows) -> str:
    return "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n"


def _bulk(rows: Rows) -> bytes:
    return "".join(
        json.dumps({"index": {"_index": "x"}}) + "\n" + json.dumps(row, ensure_ascii=False) + "\n" for row in rows
    ).encode()


def _hits(rows: Rows) -> bytes:
    return json_lines([{"_index": "x", "_id": str(at), "_source": dict(row)} for at, row in enumerate(rows)]).encode()


def _zip(name: str, content: bytes, mimetype: bytes | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        if mimetype:
            archive.writestr("mimetype", mimetype)
        archive.writestr(name, content)
    return buffer.getvalue()


def _twice(rows: Rows) -> bytes:
    text = table(rows)
    head, rest = text.split("\n", 1)
    first = head.split(",")[0]
    return f"{head},{first}\n".encode() + "".join(f"{line},again\n" for line in rest.splitlines()).encode()


def _cut(content: bytes, share: float) -> bytes:
    return content[: int(len(content) * share)]


def _torn(content: bytes) -> bytes:
    """Bytes in the middle overwritten."""
    middle = len(content) // 2
    return content[:middle] + b"\xff" * 16 + content[middle + 16 :]


VARIANTS: tuple[Variant, ...] = (
    Variant("JSON lines", lambda rows: json_lines(rows).encode(), ".jsonl"),
    Variant("JSON lines, byte order mark", lambda rows: json_lines(rows).encode("utf-8-sig"), ".jsonl"),
    Variant("JSON lines, CRLF", lambda rows: json_lines(rows, end="\r\n").encode(), ".jsonl"),
    Variant("JSON lines, no last line end", lambda rows: json_lines(rows).rstrip("\n").encode(), ".jsonl"),
    Variant("JSON lines, blank lines", lambda rows: json_lines(rows, end="\n\n  \n").encode(), ".jsonl"),
    Variant("JSON lines, gzip", lambda rows: gzip.compress(json_lines(rows).encode()), ".jsonl.gz"),
    Variant("JSON lines, gzip without saying so", lambda rows: gzip.compress(json_lines(rows).encode()), ".jsonl"),
    Variant("JSON lines, two gzip members", lambda rows: b"".join(gzip.compress(json_lines([row]).encode()) for row in rows), ".jsonl.gz"),
    Variant("JSON lines, UTF-16", lambda rows: json_lines(rows).encode("utf-16"), ".jsonl"),
    Variant("JSON lines, UTF-16 without a mark", lambda rows: json_lines(rows).encode("utf-16-le"), ".jsonl"),
    Variant("JSON lines, big-endian UTF-16", lambda rows: b"\xfe\xff" + json_lines(rows).encode("utf-16-be"), ".jsonl"),
    Variant("JSON lines, UTF-32", lambda rows: json_lines(rows).encode("utf-32"), ".jsonl"),
    Variant("JSON lines, GB18030", lambda rows: json_lines(rows).encode("gb18030"), ".jsonl"),
    Variant("JSON lines, escapes", lambda rows: json_lines(rows, ascii_only=True).encode(), ".jsonl"),
    Variant("JSON lines called .ndjson", lambda rows: json_lines(rows).encode(), ".ndjson"),
    Variant("JSON lines called .csv", lambda rows: json_lines(rows).encode(), ".csv"),
    Variant("JSON lines called .json", lambda rows: json_lines(rows).encode(), ".json"),
    Variant("JSON lines without an ending", lambda rows: json_lines(rows).encode(), ""),
    Variant("JSON lines with NaN", lambda rows: json_lines([{**row, "spare": float("nan")} for row in rows]).encode(), ".jsonl"),
    Variant("JSON lines with more fields", lambda rows: json_lines([{**row, "context": {"a": [1]}} for row in rows]).encode(), ".jsonl"),
    Variant("JSON array, one line", lambda rows: json.dumps([dict(row) for row in rows]).encode(), ".json"),
    Variant("JSON array, pretty", _pretty, ".json"),
    Variant("JSON array, an item a line", lambda rows: _line_array(rows).encode(), ".json"),
    Variant("JSON array, gzip", lambda rows: gzip.compress(_pretty(rows)), ".json.gz"),
    Variant("JSON objects one after the other", lambda rows: "".join(json.dumps(row, indent=1) + "\n" for row in rows).encode(), ".json"),
    Variant("Elasticsearch's bulk format", _bulk, ".ndjson"),
    Variant("Elasticsearch's hits", _hits, ".json"),
    Variant("CSV", lambda rows: table(rows).encode()),
    Variant("CSV, byte order mark", lambda rows: table(rows).encode("utf-8-sig")),
    Variant("CSV, CRLF", lambda rows: table(rows, end="\r\n").encode()),
    Variant("CSV, old Macintosh line ends", lambda rows: table(rows, end="\r").encode()),
    Variant("CSV, no last line end", lambda rows: table(rows).rstrip("\n").encode()),
    Variant("CSV, everything quoted", lambda rows: table(rows, quoting=csv.QUOTE_ALL).encode()),
    Variant("CSV, semicolons", lambda rows: table(rows, ";").encode()),
    Variant("CSV, tabs", lambda rows: table(rows, "\t").encode(), ".tsv"),
    Variant("CSV, bars", lambda rows: table(rows, "|").encode()),
    Variant("CSV, carets", lambda rows: table(rows, "^").encode()),
    Variant("CSV, Hive's separator", lambda rows: table(rows, "\x01").encode(), ".txt"),
    Variant("CSV, full-width commas", lambda rows: table(rows, "，").encode()),
    Variant("CSV, full-width semicolons", lambda rows: table(rows, "；").encode()),
    Variant("CSV, sep=; line", lambda rows: b"sep=;\r\n" + table(rows, ";", end="\r\n").encode()),
    Variant("CSV, sep=, line after a mark", lambda rows: ("sep=,\n" + table(rows)).encode("utf-8-sig")),
    Variant("CSV, GB18030", lambda rows: table(rows).encode("gb18030")),
    Variant("CSV, GB18030 and semicolons", lambda rows: table(rows, ";", end="\r\n").encode("gb18030")),
    Variant("CSV, UTF-16 and tabs", lambda rows: table(rows, "\t", end="\r\n").encode("utf-16"), ".txt"),
    Variant("CSV, gzip", lambda rows: gzip.compress(table(rows).encode()), ".csv.gz"),
    Variant("CSV, blank rows", lambda rows: table(rows, end="\n\n").encode()),
    Variant("CSV, rows of empty cells", lambda rows: (table(rows) + "," * (len(rows[0]) - 1) + "\n").encode()),
    Variant("CSV, more empty columns", lambda rows: table(rows, end=",,\n").encode()),
    Variant("CSV, reordered columns", _reordered),
    Variant("CSV, more columns, with line ends", lambda rows: table(_more(rows)).encode()),
    Variant("CSV, spaces in the heading", lambda rows: _heading(rows, lambda name: f" {name} ")),
    Variant("CSV, capitals in the heading", lambda rows: _heading(rows, str.upper)),
    Variant("CSV called .json", lambda rows: table(rows).encode(), ".json"),
    Variant("CSV, end-of-file sign of DOS", lambda rows: table(rows).encode() + b"\x1a"),
    Variant("workbook", lambda rows: workbook(sheet(rows)), ".xlsx"),
    Variant("workbook, blank rows", lambda rows: workbook([line for row in sheet(rows) for line in (row, [], [None, " "])]), ".xlsx"),
    Variant("workbook, an empty sheet before", lambda rows: workbook([], sheet(rows)), ".xlsx"),
    Variant("workbook, notes on another sheet", lambda rows: workbook([["how to fill this in"]], sheet(rows)), ".xlsx"),
    Variant("workbook, more columns", lambda rows: workbook(sheet(_more(rows))), ".xlsx"),
    Variant("workbook called .csv", lambda rows: workbook(sheet(rows)), ".csv"),
    Variant("Parquet", parquet, ".parquet"),
    Variant("Parquet called .jsonl", parquet, ".jsonl"),
    Variant("Parquet, gzip", lambda rows: gzip.compress(parquet(rows)), ".parquet.gz"),
    Variant("Parquet, several row groups", lambda rows: parquet(rows, row_group_size=2), ".parquet"),
    Variant("Parquet, large strings", lambda rows: parquet(rows, kind=_cast(pa.large_string())), ".parquet"),
    Variant("Parquet, texts as bytes", lambda rows: parquet(rows, kind=_cast(pa.binary())), ".parquet"),
    Variant("Parquet, dictionaries", lambda rows: parquet(rows, kind=_dictionaries), ".parquet"),
    # what is set aside
    Variant("a broken line", lambda rows: _broken(rows, lambda line: line[: len(line) // 2] + "\n"), ".jsonl", SOME, 1),
    Variant("an escape that JSON does not have", lambda rows: _broken(rows, lambda line: line.replace('": "', '": "\\x22', 1)), ".jsonl", SOME, 1),
    Variant("an unfinished last line", lambda rows: json_lines(rows).encode()[:-9], ".jsonl", SOME, 1),
    Variant("a line that is no object", lambda rows: _added(rows, b"[1, 2]\n"), ".jsonl", SOME, 0),
    Variant("a name twice in an object", lambda rows: _broken(rows, lambda line: line.replace("{", '{"a": 1, "a": 2, ', 1)), ".jsonl", SOME, 1),
    Variant("half of a surrogate pair", lambda rows: _broken(rows, lambda line: line.replace("{", '{"a": "\\ud800", ', 1)), ".jsonl", SOME, 1),
    Variant("an over-long line", lambda rows: _broken(rows, lambda line: line.replace("{", '{"a": "' + "x" * 6000 + '", ', 1)), ".jsonl", SOME, 1),
    Variant("a line nested too deep", lambda rows: _added(rows, b'{"a": ' + b"[" * 50 + b"]" * 50 + b"}\n"), ".jsonl", SOME, 0),
    Variant("a line nested a hundred thousand deep", lambda rows: _added(rows, b"[" * 4000 + b"\n"), ".jsonl", SOME, 0),
    Variant("null bytes where a file was cut", lambda rows: _added(rows, b"\0" * 100 + b"\n"), ".jsonl", SOME, 0),
    Variant("a broken byte", lambda rows: _broken(rows, lambda line: line).replace(b'": "', b'": "\xff', 1), ".jsonl", SOME, 1),
    Variant("a line of another encoding", lambda rows: _added(rows, '{"a": "é"}\n'.encode("cp1252"), at=2), ".jsonl", SOME, 0),
    Variant("a broken item in an array", lambda rows: _line_array(rows).replace('": ', '" ', 1).encode(), ".json", SOME, 1),
    Variant("a CSV row of too many cells", lambda rows: _csv_line(rows, lambda line: line.rstrip(b"\n") + b",more,more\n"), outcome=SOME, lost=1),
    Variant("a quotation mark never closed", lambda rows: _csv_line(rows, lambda line: b'"' + line), outcome=SOME, lost=1),
    Variant("a broken byte in CSV", lambda rows: _csv_line(rows, lambda line: b"\xff" + line), outcome=SOME, lost=1),
    Variant("a CSV file cut in its last row", lambda rows: table(rows).encode().rstrip(b"\n").rsplit(b",", 1)[0], outcome=SOME, lost=1),
    # what is refused
    Variant("a column twice", _twice, outcome=REFUSED),
    Variant("other columns", lambda rows: table([{"a": 1, "b": 2}]).encode(), outcome=REFUSED),
    Variant("an old workbook", lambda rows: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, ".xls", REFUSED),
    Variant("an OpenDocument file", lambda rows: _zip("content.xml", b"<x/>", b"application/vnd.oasis.opendocument.spreadsheet"), ".ods", REFUSED),
    Variant("a zip archive", lambda rows: _zip("log.jsonl", json_lines(rows).encode()), ".zip", REFUSED),
    Variant("bzip2", lambda rows: bz2.compress(json_lines(rows).encode()), ".jsonl.bz2", REFUSED),
    Variant("zstd", lambda rows: b"\x28\xb5\x2f\xfd" + b"\0" * 60, ".jsonl", REFUSED),
    Variant("a web page", lambda rows: b"<!DOCTYPE html><html>Log in</html>", ".csv", REFUSED),
    Variant("a PDF", lambda rows: b"%PDF-1.7 ...", ".pdf", REFUSED),
    Variant("a cut workbook", lambda rows: _cut(workbook(sheet(rows)), 0.7), ".xlsx", REFUSED),
    Variant("a damaged workbook", lambda rows: _torn(workbook(sheet(rows))), ".xlsx", REFUSED),
    Variant("a workbook packed in a way that nobody unpacks", lambda rows: _packed_oddly(workbook(sheet(rows))), ".xlsx", REFUSED),
    Variant("a workbook with two tables", lambda rows: workbook(sheet(rows), sheet(rows)), ".xlsx", REFUSED),
    Variant("a cut Parquet file", lambda rows: _cut(parquet(rows), 0.6), ".parquet", REFUSED),
    Variant("encrypted Parquet", lambda rows: b"PARE" + b"\0" * 100 + b"PARE", ".parquet", REFUSED),
    Variant("a cut gzip file", lambda rows: _cut(gzip.compress(json_lines(rows).encode()), 0.5), ".jsonl.gz", REFUSED),
    Variant("a gzip bomb", lambda rows: gzip.compress(b" " * 2**23), ".jsonl.gz", REFUSED),
    Variant("a workbook bomb", lambda rows: _bomb(), ".xlsx", REFUSED),
    Variant("an empty file", lambda rows: b"", ".jsonl", REFUSED),
)  # fmt: skip


def _packed_oddly(content: bytes) -> bytes:
    """The parts claim a method of compression that does not exist."""
    at = content.rfind(b"PK\x01\x02")
    while at >= 0:
        content = content[: at + 10] + b"\x63\x00" + content[at + 12 :]
        at = content.rfind(b"PK\x01\x02", 0, at)
    return content


def _bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b" " * 2**23)
    return buffer.getvalue()
