"""Forms for people: one file an annotator, JSON lines or CSV, filled in with any editor and read back strictly.

A form repeats for each question what the person reads (question, candidate passages) beside what they give: accepted
answers, a grade for each passage, whether the question cannot be answered, whether it is none, a comment. What was left
empty is not answered yet. Every refusal names file and line.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from rerankops.errors import InputError
from rerankops.files import read_rows
from rerankops.plain import FORMULA
from rerankops.records import GRADES, RELEVANT_GRADE, GoldAnswer

Form = Literal["jsonl", "csv"]
ANNOTATOR, RESOLVER = "annotator", "resolver"

GUIDELINES = """\
# How to answer / 怎么填写

For each question, without looking at what others wrote / 每个问题请独立填写:

- **accepted_answers**: the shortest texts that any right answer contains, with their units (450 L). Several wordings
  are welcome: in CSV one a line of the cell, or with | between them. / 正确答案必须包含的最短文字，带单位；可写多个。
- **grades** of the passages: 0 irrelevant, 1 same topic, 2 partly answers, 3 answers fully. In JSON the field `grade`
  of a candidate; in CSV `number=grade`, such as `1=3; 4=2`. / 段落评分：0 无关，1 同一主题，2 部分回答，3 完全回答。
- **other_passages**: passages that are not listed but answer: their ids, in CSV `id=grade`. / 未列出的段落编号。
- **unanswerable**: true (yes, 是) when the documents do not answer it. / 资料里没有答案时填“是”。
- **discard**: true when it is no question one could answer at all; say why in comment. / 不成问题时填“是”并说明原因。

Leave a row empty to answer it later; change nothing else. / 暂时不填可留空；其他栏请勿改动。
"""

_TRUE = frozenset({"true", "yes", "y", "x", "1", "是"})
_FALSE = frozenset({"", "false", "no", "n", "0", "否"})
_CSV = (
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


def render(header: Header, questions: list[Asked], form: Form) -> str:
    """The form, empty."""
    if form == "jsonl":
        return "".join(json.dumps(_json_row(header, asked), ensure_ascii=False) + "\n" for asked in questions)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _CSV)
    writer.writeheader()
    writer.writerows(_csv_row(header, asked) for asked in questions)
    return "\ufeff" + buffer.getvalue()  # spreadsheets take UTF-8 for what it is only with this mark


def header_of(content: bytes, place: str) -> Header:
    """Whose form a returned file is. Raises InputError when it is no form, or of several people."""
    headers = {
        (line, Header(*(str(row.get(name) or "") for name in ("draft", "annotator", "role"))))
        for line, row in _rows(content, place)
    }
    different = {header for _, header in headers}
    if not headers:
        raise InputError(f"{place}: an empty form; send the file back that `rerankops gold forms` wrote")
    if len(different) > 1:
        line = max(line for line, _ in headers)
        raise InputError(f"{place}: line {line} is of another draft, person or role than an earlier one; one file each")
    (header,) = different
    if not header.draft or not header.annotator or header.role not in (ANNOTATOR, RESOLVER):
        raise InputError(
            f"{place}: no form of ours: draft {header.draft!r}, annotator {header.annotator!r}, role {header.role!r}"
        )
    return header


def parse(content: bytes, place: str, header: Header, questions: Mapping[str, Asked]) -> pa.Table:
    """records.GoldAnswer of the rows that are answered.

    questions: by id, with the candidates in the order of this person's form (CSV names them by number).
    Raises InputError naming file and line when a row contradicts itself, names an unknown question, passage or grade,
    when the question's text was changed, or a question is answered twice.
    """
    found: dict[str, dict[str, Any]] = {}
    for line, row in _rows(content, place):
        where = f"{place}: line {line}"
        asked = questions.get(str(row.get("question_id")))
        if asked is None:
            raise InputError(f"{where}: question {row.get('question_id')!r} is not in draft {header.draft!r}")
        if str(row.get("question")) not in (asked.text, _cell(asked.text)):
            raise InputError(f"{where}: the text of question {asked.question_id} was changed; it is {asked.text!r}")
        answer = _answer(where, row, asked)
        if answer is None:
            continue
        if asked.question_id in found:
            raise InputError(f"{where}: question {asked.question_id} is answered twice")
        found[asked.question_id] = answer | {"annotator_id": header.annotator, "role": header.role}
    return GoldAnswer.table(found[name] for name in sorted(found))


def _answer(where: str, row: Mapping[str, Any], asked: Asked) -> dict[str, Any] | None:
    answers = list(dict.fromkeys(text.strip() for text in _texts(where, row.get("accepted_answers")) if text.strip()))
    grades = dict(_grades(where, row, asked))
    unanswerable, discard = (_flag(where, name, row.get(name)) for name in ("unanswerable", "discard"))
    comment = str(row.get("comment") or "").strip()
    if not (answers or grades or unanswerable or discard):
        if comment:
            raise InputError(f"{where}: a comment but no answer; give one, or mark it unanswerable or discard")
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
            raise InputError(f"{where}: question {asked.question_id} has {words}")
    return {
        "question_id": asked.question_id,
        "accepted_answers": [] if discard else answers,
        "unanswerable": unanswerable,
        "discard": discard,
        "graded_passage_ids": list(grades),
        "grades": list(grades.values()),
        "comment": comment,
    }


def _grades(where: str, row: Mapping[str, Any], asked: Asked) -> Iterator[tuple[str, int]]:
    """Passage id and grade of everything graded, candidates first."""
    seen: set[str] = set()

    def one(passage_id: str, grade: Any) -> tuple[str, int]:
        value = int(grade) if isinstance(grade, str) and grade.strip().isdecimal() else grade
        if isinstance(value, bool) or value not in GRADES:
            raise InputError(f"{where}: grade {grade!r} of passage {passage_id}; it is one of {list(GRADES)}")
        if passage_id in seen:
            raise InputError(f"{where}: passage {passage_id} is graded twice")
        seen.add(passage_id)
        return passage_id, int(value)

    shown = {candidate.passage_id for candidate in asked.candidates}
    if isinstance(row.get("candidates"), list):
        for candidate in row["candidates"]:
            if not isinstance(candidate, dict) or candidate.get("passage_id") not in shown:
                raise InputError(f"{where}: a candidate that question {asked.question_id} was not sent with")
            if candidate.get("grade") not in (None, ""):
                yield one(candidate["passage_id"], candidate["grade"])
    else:
        for number, grade in _pairs(where, "grades", row.get("grades")):
            if not number.isdecimal() or not 1 <= int(number) <= len(asked.candidates):
                raise InputError(f"{where}: grades names passage {number!r}, listed are 1 to {len(asked.candidates)}")
            yield one(asked.candidates[int(number) - 1].passage_id, grade)
    others = row.get("other_passages") or []
    if isinstance(others, str):
        yield from (one(*pair) for pair in _pairs(where, "other_passages", others))
        return
    if not isinstance(others, list) or not all(isinstance(other, dict) and "passage_id" in other for other in others):
        raise InputError(f'{where}: other_passages must be a list of {{"passage_id", "grade"}}')
    for other in others:
        yield one(str(other["passage_id"]), other.get("grade"))


def _pairs(where: str, column: str, cell: Any) -> Iterator[tuple[str, str]]:
    """`a=3; b=2`, also one a line."""
    for part in str(cell or "").replace("；", ";").replace("\n", ";").split(";"):
        if part.strip():
            name, sign, grade = part.rpartition("=")
            if not sign:
                raise InputError(f"{where}: {column} holds {part.strip()!r}, expected passage=grade such as 1=3")
            yield name.strip(), grade.strip()


def _texts(where: str, value: Any) -> list[str]:
    if isinstance(value, list):
        if not all(isinstance(text, str | int | float) and not isinstance(text, bool) for text in value):
            raise InputError(f"{where}: accepted_answers must hold texts")
        return [str(text) for text in value]
    if value is None or isinstance(value, str):
        return (value or "").replace("|", "\n").splitlines()
    raise InputError(f"{where}: accepted_answers must be a list of texts, found {type(value).__name__}")


def _flag(where: str, name: str, value: Any) -> bool:
    word = str("" if value is None else value).strip().lower()
    if word in _TRUE | _FALSE:
        return word in _TRUE
    raise InputError(f"{where}: {name} is {value!r}, expected true or false (yes, no, 是, 否)")


def _rows(content: bytes, place: str) -> Iterator[tuple[int, dict[str, Any]]]:
    wanted = [name for name in _CSV if name != "given"]
    return read_rows(content, place, columns=wanted, advice="is it a form?")


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


def _csv_row(header: Header, asked: Asked) -> dict[str, str]:
    listed = (f"{n}. {shown.title}\n{shown.text}".strip() for n, shown in enumerate(asked.candidates, start=1))
    filled = dict.fromkeys(_CSV, "") | {
        "draft": header.draft,
        "annotator": header.annotator,
        "role": header.role,
        "question_id": asked.question_id,
        "stratum": asked.stratum,
        "question": asked.text,
        "candidates": "\n\n".join(listed),
        "given": "\n".join(asked.given),
    }
    return {name: _cell(text) for name, text in filled.items()}


def _cell(text: str) -> str:
    """A cell that a spreadsheet takes for text: what begins like a formula gets an apostrophe."""
    return f"'{text}" if re.match(FORMULA, text) else text
