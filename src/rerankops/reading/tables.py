"""A file as a table: recognises the content, then yields the rows one by one."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from upath import UPath

from rerankops.config import ReadingSettings
from rerankops.reading import json_text
from rerankops.reading.contents import kind_of, unpacked, whole
from rerankops.reading.delimited import Rows
from rerankops.reading.encodings import Line, LineReader, decoded
from rerankops.reading.folders import shown
from rerankops.reading.parquet import ParquetRows, Window
from rerankops.reading.places import Place, Refused, Row, Unfit, Unusable
from rerankops.reading.workbook import sheet_rows

Source = bytes | Path | UPath
Form = Literal["JSON lines", "JSON", "text", "Parquet", "workbook"]
_BLANK = " \t\r\n\ufeff\x1a"


@dataclass(frozen=True)
class Table:
    """columns: names in the heading or schema; () where rows are JSON objects, each with its own names. flat: cells
    hold what a spreadsheet shows. rows: in the order of the file; they can be iterated once."""

    file: str
    form: Form
    columns: tuple[str, ...]
    rows: Iterator[Row | Unusable]

    @property
    def flat(self) -> bool:
        return self.form in ("text", "workbook")

    def require(self, columns: Mapping[str, str]) -> None:
        """Raises Refused when the heading lacks one of these columns. columns: name, and the setting that holds this
        name ("": there is none)."""
        if self.form in ("JSON lines", "JSON"):
            return
        for name, setting in columns.items():
            if name not in self.columns:
                change = f"set {setting} to one of them" if setting else "rename one of them"
                raise Refused(
                    "a column is missing",
                    f"has no column {name}; it has {[column for column in self.columns if column]}. If it is called "
                    f"otherwise there, {change}",
                )


@contextmanager
def opened(
    source: Source,
    settings: ReadingSettings,
    *,
    name: str | None = None,
    known: Collection[str] = (),
    window: Window | None = None,
    objects: bool = True,
    trimmed: bool = False,
) -> Iterator[Table]:
    """Opens a file, or bytes that messages call `name`, as a table. Raises Refused when it cannot be read at all. A
    file that ends early raises Refused from its rows, after the rows before that point.

    known: the names that the door looks for. They decide the separator and the sheet, and none may head two columns;
    for Parquet they are the columns to read. window: requested rows of Parquet. objects: a JSON value that is not an
    object is unusable. trimmed: rows may lack their last cells, which programs leave out when they are empty.
    """
    file = name if name is not None else shown(source if not isinstance(source, bytes) else "input")
    with ExitStack() as stack, _named(file):
        stream = stack.enter_context(unpacked(source, megabytes=settings.max_megabytes))
        kind = kind_of(stream)
        if kind == "parquet":
            path = stack.enter_context(_local(source, stream))
            parquet = ParquetRows(
                path,
                file,
                wanted=list(known) or None,
                window=window,
                megabytes=settings.max_document_megabytes,
                utc=settings.time_zone == "UTC",
            )
            rows = stack.enter_context(parquet.opened())
            table = Table(file, "Parquet", parquet.columns, _guarded(rows, file))
        elif kind == "workbook":
            megabytes = settings.max_document_megabytes
            data = whole(stream, megabytes=megabytes, what="a workbook")
            columns, sheet = sheet_rows(data, file, known=known, megabytes=megabytes)
            table = Table(file, "workbook", columns, _guarded(sheet, file))
        else:
            table = _text(stream, file, settings, known=known, objects=objects, trimmed=trimmed)
        yield table


def text_lines(source: Source, settings: ReadingSettings, *, name: str | None = None) -> Iterator[Line]:
    """Lines of a text file: number, text (an Unfit if it is not text), what messages may show of it. Raises Refused."""
    file = name if name is not None else shown(source if not isinstance(source, bytes) else "input")
    with _named(file), unpacked(source, megabytes=settings.max_megabytes) as stream:
        kind_of(stream)
        yield from LineReader(stream, settings.encoding, settings.max_line_characters)


def whole_document(source: Source, settings: ReadingSettings, *, name: str | None = None) -> Any:
    """The value of a file that is one JSON text. Raises Refused."""
    file = name if name is not None else shown(source if not isinstance(source, bytes) else "input")
    with _named(file), unpacked(source, megabytes=settings.max_megabytes) as stream:
        if kind_of(stream) != "text":
            raise Refused("no JSON", "is no JSON text")
        data = whole(stream, megabytes=settings.max_document_megabytes, what="a JSON document")
        try:
            return json_text.parse(decoded(data, settings.encoding), depth=settings.max_json_depth)
        except Unfit as error:
            raise Refused(error.kind, f"is {error}" if error.kind == "not valid JSON" else str(error)) from error


def _text(
    stream: io.BufferedReader[Any],
    file: str,
    settings: ReadingSettings,
    *,
    known: Collection[str],
    objects: bool,
    trimmed: bool,
) -> Table:
    lines = iter(LineReader(stream, settings.encoding, settings.max_line_characters))
    head: list[Line] = []
    filled: list[str] = []
    for line in lines:
        head.append(line)
        if isinstance(line[1], Unfit) or line[1].strip(_BLANK):
            filled.append("" if isinstance(line[1], Unfit) else line[1].strip(_BLANK))
        if len(filled) == 2:
            break
    rest = chain(head, lines)
    depth = settings.max_json_depth
    form = _form(filled, depth)
    if form == "JSON lines":
        rows: Iterator[Row | Unusable] = json_text.lines(rest, file, depth=depth, objects=objects)
        return Table(file, "JSON lines", (), _guarded(rows, file))
    if form == "JSON":
        text = _joined(rest, settings.max_document_megabytes)
        return Table(file, "JSON", (), _guarded(json_text.document(text, file, depth=depth, objects=objects), file))
    table = Rows(rest, file, known=known, longest=settings.max_line_characters, trimmed=trimmed)
    return Table(file, "text", table.columns, _guarded(iter(table), file))


def _form(filled: list[str], depth: int) -> Form:
    """JSON lines if the first or second line that is not blank is a JSON text by itself; JSON if they begin a text of
    several lines; otherwise a table in text."""
    if not filled:
        return "JSON lines"
    first = filled[0]
    if first[:1] not in ("{", "["):
        return "JSON lines" if len(filled) == 2 and not first and filled[1][:1] == "{" else "text"
    values = [_value(line) for line in filled]
    if first[:1] == "[" and isinstance(values[0], list):
        of_objects = bool(values[0]) and isinstance(values[0][0], dict)
        return "JSON" if len(filled) == 1 and (of_objects or not values[0]) else "JSON lines"
    if values[0] is not None or (
        len(filled) == 2 and isinstance(values[1], dict) and first[:1] == "{" and first != "{"
    ):
        return "JSON lines"
    return "JSON" if len(filled) == 2 or first[:1] == "[" else "JSON lines"


def _value(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _joined(lines: Iterator[Line], megabytes: float) -> str:
    parts: list[str] = []
    size, limit = 0, int(megabytes * 2**20)
    for number, text, _ in lines:
        if isinstance(text, Unfit):
            raise Refused(text.kind, f"line {number} {text}")
        size += len(text)
        if size > limit:
            raise Refused(
                "the JSON document is too large",
                f"is a JSON document of more than {megabytes:g} MiB, which is read at once; write it as JSON lines, or "
                "raise reading.max_document_megabytes",
            )
        parts.append(text)
    return "".join(parts)


@contextmanager
def _local(source: Source, stream: io.BufferedReader[Any]) -> Iterator[Path]:
    """A path where another process finds the unpacked file."""
    if isinstance(source, UPath) and source.protocol in {"", "file", "local"}:
        source = Path(source.path)
    if isinstance(source, Path) and not isinstance(source, UPath) and stream.peek(4)[:4] == _head(source):
        yield source
        return
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        shutil.copyfileobj(stream, file)
        file.flush()
        yield Path(file.name)


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(4)


def _guarded(rows: Iterator[Row | Unusable], file: str) -> Iterator[Row | Unusable]:
    """The rows; an error that ends them early comes as the last one."""
    try:
        yield from rows
    except Refused as error:
        yield Unusable(Place(file), error.kind, str(error))


@contextmanager
def _named(file: str) -> Iterator[None]:
    """Puts the file's name before the error message."""
    try:
        yield
    except Refused as error:
        if str(error).startswith(file):
            raise
        raise Refused(error.kind, f"{file} {error}") from error
