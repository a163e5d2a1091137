"""Files from outside: JSON lines, the corpus and the gold questions, local or under any fsspec URI.

Every error names the file and the line, so that the person who owns the file can mend it.
"""

from __future__ import annotations

import codecs
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import pyarrow as pa
from upath import UPath

from rerankops.errors import InputError, SettingsError
from rerankops.records import GRADES, GoldQuestion, Passage

JSON_LINES = (".jsonl", ".jsonl.gz")


def json_lines(location: str, *, setting: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file:line, object) of every line of a *.jsonl[.gz] file, or of every such file of a folder, in name order.

    Raises SettingsError when nothing is there, InputError naming file and line when a line is no JSON object.
    """
    for file in files_at(location, JSON_LINES, setting=setting):
        yield from json_rows(file)


def files_at(location: str, endings: Sequence[str], *, setting: str) -> list[UPath]:
    """The file, whatever it is called, or the files of the folder that end so, in name order. Raises SettingsError."""
    known = ", ".join(f"*{ending}" for ending in endings)
    if not location:
        raise SettingsError(f"setting {setting} names nothing: give a folder or a file, {known}")
    place = UPath(location)
    if place.is_dir():
        files = sorted((f for f in place.iterdir() if f.name.endswith(tuple(endings))), key=lambda f: f.name)
    else:
        files = [place] if place.is_file() else []
    if not files:
        raise SettingsError(f"{setting} is {location!r}: no such file, or a folder without {known}")
    return files


@contextmanager
def opened(file: UPath) -> Iterator[BinaryIO]:
    """The bytes of a file, *.gz unpacked. Whatever ends them early becomes an InputError that names the file."""
    try:
        with file.open("rb") as raw:
            stream = gzip.GzipFile(fileobj=raw) if file.name.endswith(".gz") else raw
            yield cast(BinaryIO, stream)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{file} cannot be read: {error}; is it complete?") from error


def text_lines(file: UPath) -> Iterator[str]:
    """The lines of a UTF-8 file, one in memory at a time, ends included. Raises InputError naming file and line."""
    with opened(file) as stream:
        for number, line in enumerate(stream, start=1):
            data = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            try:
                yield data.decode()
            except UnicodeDecodeError as error:
                raise InputError(f"{file}:{number}: not UTF-8; convert the file and try again") from error


def json_rows(file: UPath) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file:line, object) of every line. Raises InputError naming file and line when a line is no JSON object."""
    for number, line in enumerate(text_lines(file), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if "\\u" in line:
                json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{file}:{number}: holds half of a surrogate pair, which is no text") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"{file}:{number}: not valid JSON ({error})") from error
        if not isinstance(row, dict):
            raise InputError(f"{file}:{number}: expected an object, found {type(row).__name__}")
        yield f"{file}:{number}", row


def read_corpus(location: str) -> pa.Table:
    """records.Passage. `doc_id` or `_id` (BEIR) may stand for passage_id; title and metadata may be absent."""
    rows, seen = [], dict[str, str]()
    for place, row in json_lines(location, setting="sources.corpus"):
        metadata = row.get("metadata") or {}
        if not isinstance(metadata, dict):
            raise InputError(f"{place}: metadata must be an object, found {type(metadata).__name__}")
        rows.append(
            {
                "passage_id": _new(place, _text(place, row, "passage_id", "doc_id", "_id"), "passage_id", seen),
                "title": _text(place, row, "title", default=""),
                "text": _text(place, row, "text"),
                "metadata": [(key, str(value)) for key, value in sorted(metadata.items()) if value is not None],
            }
        )
    if not rows:
        raise InputError(f"sources.corpus {location} holds no passages")
    return Passage.table(rows)


def read_gold(location: str) -> pa.Table:
    """records.GoldQuestion. Raises InputError when a question has neither accepted answers nor relevant passages."""
    rows, seen = [], dict[str, str]()
    for place, row in json_lines(location, setting="sources.gold"):
        answers = _texts(place, row, "accepted_answers", "answers", numbers=True)
        relevant = _texts(place, row, "relevant_passage_ids", "relevant_doc_ids")
        grades = row.get("relevant_grades")
        if grades is not None and not (
            isinstance(grades, list) and len(grades) == len(relevant) and all(grade in GRADES for grade in grades)
        ):
            raise InputError(
                f"{place}: relevant_grades must be one of {list(GRADES)} for each of the {len(relevant)} relevant "
                f"passages; it is {grades!r}"
            )
        if not answers and not relevant:
            raise InputError(f"{place}: a gold question needs accepted_answers or relevant_passage_ids")
        rows.append(
            {
                "question_id": _new(place, _text(place, row, "question_id", "query_id", "_id"), "question_id", seen),
                "text": _text(place, row, "text"),
                "accepted_answers": answers,
                "stratum": _text(place, row, "stratum", default="all"),
                "relevant_passage_ids": relevant,
                "relevant_grades": grades,
            }
        )
    if not rows:
        raise InputError(f"sources.gold {location} holds no questions")
    return GoldQuestion.table(rows)


def _new(place: str, value: str, name: str, seen: dict[str, str]) -> str:
    if not value:
        raise InputError(f"{place}: {name} is empty")
    if value in seen:
        raise InputError(f"{place}: {name} {value!r} was already given in {seen[value]}")
    seen[value] = place
    return value


def _texts(place: str, row: dict[str, Any], *names: str, numbers: bool = False) -> list[str]:
    """The list of texts under the first of the names that is there; [] when none is."""
    name = next((name for name in names if row.get(name) is not None), names[0])
    values = row.get(name) or []
    if not isinstance(values, list):
        raise InputError(f"{place}: {name} must be a list, found {type(values).__name__}")
    for value in values:
        if not isinstance(value, str) and not (numbers and type(value) in (int, float)):
            raise InputError(f"{place}: {name} must hold texts, found {type(value).__name__}")
    return [str(value) for value in values]


def _text(place: str, row: dict[str, Any], *names: str, default: str | None = None) -> str:
    for name in names:
        value = row.get(name)
        if isinstance(value, str) and (value or default is None):
            return value
        if value is not None and value != "":
            raise InputError(f"{place}: {name} must be text, found {type(value).__name__}")
    if default is not None:
        return default
    raise InputError(f"{place}: {names[0]} is missing; the line has {sorted(row)}")
