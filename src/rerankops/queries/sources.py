"""Tables from outside that stand beside the query log: corpus and gold questions, local or under any fsspec URI.

Every error names the file and the line, so that the person who owns the file can mend it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
from upath import UPath

from rerankops import reading
from rerankops.config import ReadingSettings
from rerankops.errors import InputError
from rerankops.reading import Aside, Place, Refused, Unfit, Unusable
from rerankops.records import GRADES, GoldQuestion, Passage

PASSAGE_IDS = ("passage_id", "doc_id", "_id", "docid")
"""What the passages' identifier may be called: ours, our data sets', BEIR's, Tevatron's."""
QUESTION_IDS = ("question_id", "query_id", "_id")
_BETWEEN_ANSWERS = re.compile(r"[|｜\n]")


class Line(NamedTuple):
    """A row. flat: of a table whose cells hold what a spreadsheet shows."""

    place: Place
    row: dict[str, Any]
    flat: bool


def table_rows(
    location: str,
    how: ReadingSettings,
    *,
    setting: str,
    columns: Sequence[Sequence[str]] = (),
    more: Sequence[str] = (),
    aside: Aside | None = None,
) -> Iterator[Line]:
    """Every row of a file, or of every file of a folder, in the order of names.

    setting: names the location. columns: those that each row has, each with the names that it may have; more: others
    that are looked for. aside: takes what cannot be read, which without it raises InputError naming file and line.
    Raises SettingsError when nothing is there.
    """
    listing = reading.files_at(location, setting=setting)
    if aside is not None:
        aside.left_out.extend(listing.left_out)
    known = [name for names in columns for name in names] + list(more)
    for file in listing.files:
        try:
            with reading.opened(file, how, known=known) as table:
                for names in columns:
                    if not set(names) & set(table.columns):
                        table.require({names[0]: ""})
                if aside is not None:
                    aside.files += 1
                flat = table.form not in ("JSON lines", "JSON")
                for place, row in reading.strictly(table.rows, aside):
                    yield Line(place, row, flat)
        except Refused as error:
            if len(listing.files) == 1 or reading.is_data(file.name):
                _set_aside(file, error, aside)
            elif aside is not None:
                aside.left_out.append(_whole(file, error))


def read_corpus(location: str, how: ReadingSettings, *, aside: Aside | None = None) -> pa.Table:
    """records.Passage. The identifier may be called any of PASSAGE_IDS; title and metadata may be absent. aside: takes
    rows that are no passages."""
    seen: dict[str, Place] = {}

    def passage(line: Line) -> dict[str, Any]:
        return {
            "title": _text(line, "title", default=""),
            "text": _text(line, "text"),
            "metadata": _metadata(line),
            "passage_id": _new(line, PASSAGE_IDS, seen),
        }

    lines = table_rows(
        location,
        how,
        setting="sources.corpus",
        columns=(PASSAGE_IDS, ("text",)),
        more=("title", "metadata"),
        aside=aside,
    )
    rows = list(_each(lines, passage, aside))
    if not rows:
        raise InputError(f"sources.corpus {location} holds no passages{_why(aside)}")
    return Passage.table(rows)


def read_gold(location: str, how: ReadingSettings, *, aside: Aside | None = None) -> pa.Table:
    """records.GoldQuestion. Raises InputError when a question has neither accepted answers nor relevant passages."""
    seen: dict[str, Place] = {}

    def question(line: Line) -> dict[str, Any]:
        answers = _answers(line)
        relevant = _identifiers(line, "relevant_passage_ids", "relevant_doc_ids")
        if not answers and not relevant:
            raise Unfit("no answer", "a gold question needs accepted_answers or relevant_passage_ids")
        return {
            "text": _text(line, "text"),
            "accepted_answers": answers,
            "stratum": _text(line, "stratum", default="all"),
            "relevant_passage_ids": relevant,
            "relevant_grades": _grades(line, len(relevant)),
            "question_id": _new(line, QUESTION_IDS, seen),
        }

    lines = table_rows(
        location,
        how,
        setting="sources.gold",
        columns=(QUESTION_IDS, ("text",)),
        more=("accepted_answers", "answers", "relevant_passage_ids", "relevant_doc_ids", "relevant_grades", "stratum"),
        aside=aside,
    )
    rows = list(_each(lines, question, aside))
    if not rows:
        raise InputError(f"sources.gold {location} holds no questions{_why(aside)}")
    return GoldQuestion.table(rows)


def _each(
    lines: Iterator[Line], make: Callable[[Line], dict[str, Any]], aside: Aside | None
) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            yield make(line)
        except Unfit as error:
            if aside is None:
                raise InputError(f"{line.place}: {error}") from error
            aside.put(reading.unusable(line.place, error, repr(line.row)))


def _why(aside: Aside | None) -> str:
    return f": {aside.words()}" if aside is not None and aside.reasons else ""


def _set_aside(file: UPath, error: Refused, aside: Aside | None) -> None:
    if aside is None:
        raise error
    aside.files += 1
    aside.put(_whole(file, error))


def _whole(file: UPath, error: Refused) -> Unusable:
    name = reading.shown(file)
    return Unusable(Place(name), error.kind, str(error).removeprefix(f"{name} "))


def _new(line: Line, names: Sequence[str], seen: dict[str, Place]) -> str:
    name = next((name for name in names if not reading.is_empty(line.row.get(name))), None)
    if name is None:
        if any(line.row.get(name) is not None for name in names):
            raise Unfit(f"{names[0]} is empty")
        raise _missing(line, names[0])
    try:
        value = reading.identifier(line.row[name])
    except Unfit as error:
        raise Unfit(f"{name}: {error.kind}", f"{name} {error}") from error
    if value in seen:
        raise Unfit(f"{names[0]} twice", f"{names[0]} {value!r} was already given in {seen[str(value)]}")
    seen[str(value)] = line.place
    return str(value)


def _text(line: Line, name: str, default: str | None = None) -> str:
    value = line.row.get(name)
    if value == "" and default is None:
        return ""  # a passage may be its title alone
    try:
        found = reading.text(value, numbers=line.flat)
    except Unfit as error:
        raise Unfit(f"{name}: {error.kind}", f"{name} {error}") from error
    if found is None:
        if default is None:
            raise _missing(line, name)
        return default
    return found


def _missing(line: Line, name: str) -> Unfit:
    return Unfit(f"{name} is missing", f"{name} is missing; the line has {sorted(map(str, line.row))}")


def _metadata(line: Line) -> list[tuple[str, str]]:
    value = line.row.get("metadata")
    if line.flat and isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise Unfit("metadata is no JSON", f'metadata is no JSON ({error}); write {{"model": "L5"}}') from error
    if isinstance(value, list) and all(isinstance(one, tuple) and len(one) == 2 for one in value):
        value = dict(value)  # a map of Parquet
    if not isinstance(value or {}, dict):
        raise Unfit("metadata is no object", f"metadata must be an object, found {type(value).__name__}")
    return [(str(key), str(found)) for key, found in sorted((value or {}).items()) if found is not None]


def _identifiers(line: Line, *names: str) -> list[str]:
    name = next((name for name in names if not reading.is_empty(line.row.get(name))), names[0])
    value = line.row.get(name)
    if isinstance(value, str) and not line.flat:
        raise Unfit(f"{name} is no list", f"{name} must be a list, found str")
    try:
        return reading.identifiers(value)
    except Unfit as error:
        raise Unfit(f"{name}: {error.kind}", f"{name} {error}") from error


def _answers(line: Line) -> list[str]:
    """A list of texts or numbers; in a cell, JSON or texts with | or a line end between them."""
    names = ("accepted_answers", "answers")
    name = next((name for name in names if not reading.is_empty(line.row.get(name))), names[0])
    value = line.row.get(name)
    if reading.is_empty(value):
        return []
    if line.flat and not isinstance(value, list):
        text = str(reading.text(value, numbers=True))
        value = reading.identifiers(text) if text.lstrip().startswith("[") else _BETWEEN_ANSWERS.split(text)
    if not isinstance(value, list):
        raise Unfit(f"{name} is no list", f"{name} must be a list, found {type(value).__name__}")
    for one in value:
        if not isinstance(one, str) and type(one) not in (int, float):
            raise Unfit(f"{name} holds no texts", f"{name} must hold texts, found {type(one).__name__}")
    return [text for one in value if (text := str(one).strip() if line.flat else str(one))]


def _grades(line: Line, relevant: int) -> list[int] | None:
    given = line.row.get("relevant_grades")
    if reading.is_empty(given):
        return None
    grades = given
    if line.flat and not isinstance(given, list):
        grades = [reading.whole(one) for one in reading.identifiers(given if isinstance(given, str) else [given])]
    if not isinstance(grades, list) or len(grades) != relevant or not all(grade in GRADES for grade in grades):
        words = f"must be one of {list(GRADES)} for each of the {relevant} relevant passages; it is {given!r}"
        raise Unfit("relevant_grades do not fit", f"relevant_grades {words}")
    return [int(grade) for grade in grades]
