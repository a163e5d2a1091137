"""Forms for people: one file an annotator, JSON lines, CSV or a workbook, filled in with any editor and read back
strictly, whatever program saved it (rerankops.reading).

A form repeats for each question what the person reads (question, candidate passages) beside what they give: accepted
answers, a grade for each passage, whether the question cannot be answered, whether it is none, a comment. What was left
empty is not answered yet. Every refusal names file, line, spreadsheet row, question, column and value.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from rerankops import reading
from rerankops.config import ReadingSettings
from rerankops.errors import InputError
from rerankops.reading import Aside, Place, Unfit
from rerankops.records import GRADES, RELEVANT_GRADE, GoldAnswer
from rerankops.spreadsheets import as_csv, as_workbook, sent

Form = Literal["jsonl", "csv", "xlsx"]
ANNOTATOR, RESOLVER = "annotator", "resolver"

GUIDELINES = """\
# How to answer / 怎么填写

For each question, without looking at what others wrote / 每个问题请独立填写:

- **accepted_answers**: the shortest texts that any right answer contains, with their units (450 L). Several wordings
  are welcome: in a spreadsheet one a line of the cell, or with | between them. /
  正确答案必须包含的最短文字，带单位；可写多个。
- **grades** of the passages: 0 irrelevant, 1 same topic, 2 partly answers, 3 answers fully. In JSON the field `grade`
  of a candidate; in a spreadsheet `number=grade`, such as `1=3; 4=2`. /
  段落评分：0 无关，1 同一主题，2 部分回答，3 完全回答。
- **other_passages**: passages that are not listed but answer: their ids, in a spreadsheet `id=grade`. /
  未列出的段落编号。
- **unanswerable**: true (yes, 是) when the documents do not answer it. / 资料里没有答案时填“是”。
- **discard**: true when it is no question one could answer at all; say why in comment. / 不成问题时填“是”并说明原因。

Leave a row empty to answer it later; change nothing else. / 暂时不填可留空；其他栏请勿改动。
"""

_COLUMNS = (
    "draft", "annotator", "role", "question_id", "stratum", "question", "candidates", "given", "accepted_answers",
    "grades", "other_passages", "unanswerable", "discard", "comment",
)  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """A candidate passage as the person reads it."""

    passage_id: str
    title: str
    text: str


@dataclass(frozen=True)
class Asked:
    """One question of a form. given: what others answered, in words; for a resolver alone."""

    question_id: str
    text: str
    stratum: str
    candidates: tuple[Shown, ...] = ()
    given: tuple[str, ...] = ()


@dataclass(frozen=True)
class Header:
    """Whose form it is."""

    draft: str
    annotator: str
    role: str


def render(header: Header, questions: list[Asked], form: Form) -> bytes:
    """The form, empty."""
    if form == "jsonl":
        return "".join(json.dumps(_json_row(header, asked), ensure_ascii=False) + "\n" for asked in questions).encode()
    written = as_csv if form == "csv" else as_workbook
    return written(_COLUMNS, [_cells(header, asked) for asked in questions])


def header_of(content: bytes, place: str, settings: ReadingSettings) -> Header:
    """Whose form a returned file is. Raises InputError when it is no form, or of several people."""
    headers: dict[Header, Place] = {}
    for at, row in _rows(content, place, settings, Aside() if settings.skip_bad else None):
        try:
            header = Header(*(_name(row, name) for name in ("draft", "annotator", "role")))
        except Unfit as error:
            if settings.skip_bad:
                continue  # `parse` sets it aside
            raise InputError(f"{at}: {error}") from error
        headers.setdefault(header, at)
    if not headers:
        raise InputError(f"{place}: an empty form; send the file back that `rerankops gold forms` wrote")
    if len(headers) > 1:
        raise InputError(
            f"{list(headers.values())[1]}: of another draft, person or role than an earlier row; one file each"
        )
    (header,) = headers
    if not header.draft or not header.annotator or header.role not in (ANNOTATOR, RESOLVER):
        raise InputError(
            f"{place}: no form of ours: draft {header.draft!r}, annotator {header.annotator!r}, role {header.role!r}"
        )
    return header


def parse(
    content: bytes,
    place: str,
    header: Header,
    questions: Mapping[str, Asked],
    settings: ReadingSettings,
    aside: Aside | None = None,
) -> pa.Table:
    """records.GoldAnswer of the rows that are answered.

    questions: by id, with the candidates in the order of this person's form (a spreadsheet names them by number).
    A row is unusable when it contradicts itself, names an unknown question, passage or grade, when the question's text
    was changed, or a question is answered twice: it goes to `aside`; without that, raises InputError naming file, row,
    question, column and value.
    """
    found: dict[str, dict[str, Any]] = {}
    for at, row in _rows(content, place, settings, aside):
        try:
            answer = _answer_to(row, header, questions, found)
        except Unfit as error:
            if aside is None:
                raise InputError(f"{at}: {error}") from error
            aside.put(reading.unusable(at, error, json.dumps(row, ensure_ascii=False, default=str)))
            continue
        if answer is not None:
            found[answer["question_id"]] = answer | {"annotator_id": header.annotator, "role": header.role}
    return GoldAnswer.table(found[name] for name in sorted(found))


def _answer_to(
    row: Mapping[str, Any], header: Header, questions: Mapping[str, Asked], found: Mapping[str, object]
) -> dict[str, Any] | None:
    """None where nothing is answered. Raises Unfit."""
    name = _name(row, "question_id")
    asked = questions.get(name)
    if asked is None:
        raise Unfit(f"question {name!r} is not in draft {header.draft!r}")
    try:
        if _same(str(row.get("question"))) != _same(asked.text):
            raise Unfit(f"the text of the question was changed; it is {asked.text!r}")
        answer = _answer(row, asked)
        if answer is not None and name in found:
            raise Unfit("the question is answered twice")
    except Unfit as error:
        raise Unfit(error.kind, f"question {name}: {error}") from error
    return answer


def _name(row: Mapping[str, Any], column: str) -> str:
    try:
        return reading.identifier(row.get(column)) or ""
    except Unfit as error:
        raise Unfit(error.kind, f"column {column} {error}") from error


def _same(text: str) -> str:
    """What does not change a text: white space, control characters, and how a program composes its characters."""
    return " ".join(re.sub(r"[\x00-\x1f]", " ", unicodedata.normalize("NFC", text)).split())


def _answer(row: Mapping[str, Any], asked: Asked) -> dict[str, Any] | None:
    answers = list(dict.fromkeys(text.strip() for text in _texts(row.get("accepted_answers")) if text.strip()))
    grades = dict(_grades(row, asked))
    unanswerable, discard = (_flag(name, row.get(name)) for name in ("unanswerable", "discard"))
    comment = str(row.get("comment") or "").strip()
    if not (answers or grades or unanswerable or discard):
        if comment:
            raise Unfit("a comment but no answer; give one, or mark it unanswerable or discard")
        return None
    relevant = [name for name, grade in grades.items() if grade >= RELEVANT_GRADE]
    contradictions = {
        "both unanswerable and discard": unanswerable and discard,
        "unanswerable, but with accepted answers": unanswerable and answers,
        f"unanswerable, but with a passage of grade {RELEVANT_GRADE} or more": unanswerable and relevant,
        "grades, but neither an accepted answer nor unanswerable": not answers and not unanswerable and not discard,
        "discard without a comment that says why": discard and not comment,
    }
    for words, holds in contradictions.items():
        if holds:
            raise Unfit(f"it has {words}")
    return {
        "question_id": asked.question_id,
        "accepted_answers": [] if discard else answers,
        "unanswerable": unanswerable,
        "discard": discard,
        "graded_passage_ids": list(grades),
        "grades": list(grades.values()),
        "comment": comment,
    }


def _grades(row: Mapping[str, Any], asked: Asked) -> Iterator[tuple[str, int]]:
    """Passage id and grade of everything graded, candidates first."""
    seen: set[str] = set()

    def one(passage_id: str, grade: Any) -> tuple[str, int]:
        value = int(grade) if isinstance(grade, str) and grade.strip().isdecimal() else grade
        if isinstance(value, bool) or value not in GRADES:
            raise Unfit(f"column grades holds grade {grade!r} of passage {passage_id}; it is one of {list(GRADES)}")
        if passage_id in seen:
            raise Unfit(f"passage {passage_id} is graded twice")
        seen.add(passage_id)
        return passage_id, int(value)

    shown = {candidate.passage_id for candidate in asked.candidates}
    if isinstance(row.get("candidates"), list):
        for candidate in row["candidates"]:
            if not isinstance(candidate, dict) or candidate.get("passage_id") not in shown:
                raise Unfit("a candidate that the question was not sent with")
            if candidate.get("grade") not in (None, ""):
                yield one(candidate["passage_id"], candidate["grade"])
    else:
        for number, grade in _pairs("grades", row.get("grades")):
            if not number.isdecimal() or not 1 <= int(number) <= len(asked.candidates):
                raise Unfit(f"column grades names passage {number!r}, listed are 1 to {len(asked.candidates)}")
            yield one(asked.candidates[int(number) - 1].passage_id, grade)
    others = row.get("other_passages") or []
    if isinstance(others, str):
        yield from (one(*pair) for pair in _pairs("other_passages", others))
        return
    if not isinstance(others, list) or not all(isinstance(other, dict) and "passage_id" in other for other in others):
        raise Unfit('other_passages must be a list of {"passage_id", "grade"}')
    for other in others:
        yield one(str(other["passage_id"]), other.get("grade"))


_SIGNS = str.maketrans("；＝\n", ";=;")
"""Separators as a Chinese keyboard types them; the rest of a passage's id stays as it is."""


def _pairs(column: str, cell: Any) -> Iterator[tuple[str, str]]:
    """`a=3; b=2`, also one a line."""
    for part in str(cell or "").translate(_SIGNS).split(";"):
        if part.strip():
            name, sign, grade = part.rpartition("=")
            if not sign:
                raise Unfit(f"column {column} holds {part.strip()!r}, expected passage=grade such as 1=3")
            yield name.strip(), grade.strip()


def _texts(value: Any) -> list[str]:
    if isinstance(value, list):
        if not all(isinstance(text, str | int | float) and not isinstance(text, bool) for text in value):
            raise Unfit("accepted_answers must hold texts")
        return [str(text) for text in value]
    try:
        return re.split(r"[|｜\r\n]", reading.text(value, numbers=True) or "")
    except Unfit as error:
        raise Unfit(error.kind, f"column accepted_answers {error}") from error


def _flag(name: str, value: Any) -> bool:
    try:
        return reading.flag(value) or False
    except Unfit as error:
        raise Unfit(error.kind, f"column {name} {error}") from error


def _rows(
    content: bytes, place: str, settings: ReadingSettings, aside: Aside | None
) -> Iterator[tuple[Place, dict[str, Any]]]:
    with reading.opened(content, settings, name=place, known=_COLUMNS, trimmed=True) as table:
        table.require(dict.fromkeys((name for name in _COLUMNS if name != "given"), ""))
        for at, values in reading.strictly(table.rows, aside):
            yield at, {name: sent(value) for name, value in values.items()} if table.flat else values


def _json_row(header: Header, asked: Asked) -> dict[str, Any]:
    given = {"given": list(asked.given)} if asked.given else {}
    return {
        "draft": header.draft,
        "annotator": header.annotator,
        "role": header.role,
        "question_id": asked.question_id,
        "stratum": asked.stratum,
        "question": asked.text,
        "candidates": [
            {"passage_id": shown.passage_id, "title": shown.title, "text": shown.text, "grade": None}
            for shown in asked.candidates
        ],
        **given,
        "accepted_answers": [],
        "other_passages": [],
        "unanswerable": False,
        "discard": False,
        "comment": "",
    }


def _cells(header: Header, asked: Asked) -> dict[str, str]:
    listed = (f"{n}. {shown.title}\n{shown.text}".strip() for n, shown in enumerate(asked.candidates, start=1))
    return dict.fromkeys(_COLUMNS, "") | {
        "draft": header.draft,
        "annotator": header.annotator,
        "role": header.role,
        "question_id": asked.question_id,
        "stratum": asked.stratum,
        "question": asked.text,
        "candidates": "\n\n".join(listed),
        "given": "\n".join(asked.given),
    }
