"""Files that people read and fill in, beside the workspace: written whole, and read strictly."""

from __future__ import annotations

import csv
import io
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rerankops.errors import InputError


def write_whole(path: Path, text: str) -> None:
    """Replaces a file by rename, so that nobody sees half of it. A device or pipe is written to as it is: renaming
    something over it would take it away."""
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8", newline="")
        return
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")  # another process may be writing it as well
    try:
        temporary.write_text(text, encoding="utf-8", newline="")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def private_folder(path: Path) -> Path:
    """A folder, made when it is missing, that nobody but its owner may look into. Raises OSError when another user has
    one of that name."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.chmod(0o700)
    return path


def write_private(path: Path, text: str) -> None:
    """Replaces a file by rename; from its first byte on only its owner may read it."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def as_json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """A JSON object a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def read_rows(
    content: bytes, place: str, *, columns: Sequence[str], advice: str
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, row) of a table that a person filled in: JSON lines when the first sign is a brace, else CSV.

    place: the file, for the messages. columns: those that a CSV must have; advice: what to do when it lacks one.
    Raises InputError naming place and line.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{place}: not UTF-8; save it as UTF-8 (CSV UTF-8) and give it again") from error
    return _from_json(text, place) if text.lstrip().startswith("{") else _from_csv(text, place, columns, advice)


def _from_json(text: str, place: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, content in enumerate(text.split("\n"), start=1):
        if content.strip():
            try:
                row = json.loads(content)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{place}: line {line} is not valid JSON ({error})") from error
            if not isinstance(row, dict):
                raise InputError(f"{place}: line {line} is no object")
            yield line, row


def _from_csv(text: str, place: str, columns: Sequence[str], advice: str) -> Iterator[tuple[int, dict[str, Any]]]:
    delimiter = max(",;\t", key=text.partition("\n")[0].count)  # spreadsheets of some countries write semicolons
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise InputError(f"{place}: column {missing[0]!r} is missing; {advice}")
        for row in reader:
            if None in row or None in row.values():
                raise InputError(f"{place}: line {reader.line_num} has more or fewer cells than the heading")
            yield reader.line_num, row
    except csv.Error as error:
        raise InputError(f"{place}: line {reader.line_num} is no CSV ({error})") from error
