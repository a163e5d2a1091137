"""Forms go out and come back: what is read is what was given, and a slip of the pen is named with its line."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from openpyxl import load_workbook

from rerankops import config, reading
from rerankops.annotation.gold.drafting import assign, draw, shuffled
from rerankops.annotation.gold.forms import ANNOTATOR, Asked, Form, Header, Shown, header_of, parse, render
from rerankops.errors import InputError
from rerankops.spreadsheets import sent

HEADER = Header("autumn", "anna", ANNOTATOR)
ASKED = {
    "q1": Asked("q1", "后备箱多大", "numeric", (Shown("p1", "后备箱", "450升"), Shown("p2", "", "胎压2.3bar"))),
    "q2": Asked("q2", "=1+1 怎么算", "procedure"),
}
Row = dict[str, Any]


def filled(form: Form, change: Callable[[list[Row]], None], header: Header = HEADER) -> bytes:
    """A form as a person sends it back; a spreadsheet of a country that writes semicolons."""
    content = render(header, list(ASKED.values()), form)
    if form == "jsonl":
        rows = [json.loads(line) for line in content.splitlines()]
        change(rows)
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    if form == "xlsx":
        return in_workbook(content, change)
    reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    rows = list(reader)
    change(rows)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, reader.fieldnames or (), delimiter=";")
    writer.writeheader()
    writer.writerows(rows)
    return ("\ufeff" + buffer.getvalue()).encode()


def in_workbook(content: bytes, change: Callable[[list[Row]], None]) -> bytes:
    book = load_workbook(io.BytesIO(content))
    heading, *cells = book.active.iter_rows()
    names = [cell.value for cell in heading]
    rows = [dict(zip(names, (cell.value for cell in row), strict=True)) for row in cells]
    change(rows)
    for row, changed in zip(cells, rows, strict=True):
        for cell, value in zip(row, changed.values(), strict=True):
            cell.value = value
            cell.data_type = "s" if isinstance(value, str) else cell.data_type
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def read(content: bytes) -> list[Row]:
    settings = config.load(environ={}).reading
    header = header_of(content, "form", settings)
    return parse(content, "form", header, ASKED, settings).to_pylist()


def json_answer(rows: list[Row]) -> None:
    rows[0]["accepted_answers"] = ["450升", " 450 L ", "450升"]
    rows[0]["candidates"][1]["grade"] = 0
    rows[0]["candidates"][0]["grade"] = 3
    rows[0]["other_passages"] = [{"passage_id": "p9", "grade": 2}]
    rows[1]["unanswerable"] = True
    rows[1]["comment"] = "手册没有"


def csv_answer(rows: list[Row]) -> None:
    rows[0]["accepted_answers"] = "450升\n450 L"
    rows[0]["grades"] = "1=3; 2=0"
    rows[0]["other_passages"] = "p9=2"
    rows[1]["unanswerable"] = "是"
    rows[1]["comment"] = "手册没有"


def typed_in_chinese(rows: list[Row]) -> None:
    rows[0]["accepted_answers"] = "450升｜450 L"
    rows[0]["grades"] = "１＝３；２＝０"
    rows[0]["other_passages"] = "p9＝２"
    rows[1]["unanswerable"] = "√"
    rows[1]["comment"] = "手册没有"


@pytest.mark.parametrize(
    ("form", "answer"),
    [
        ("jsonl", json_answer),
        ("csv", csv_answer),
        ("csv", typed_in_chinese),
        ("xlsx", csv_answer),
        ("xlsx", typed_in_chinese),
    ],
)
def test_what_was_filled_in_is_read_the_same_from_every_form(form: Form, answer: Callable[[list[Row]], None]) -> None:
    first, second = read(filled(form, answer))
    assert first["accepted_answers"] == ["450升", "450 L"]
    assert dict(zip(first["graded_passage_ids"], first["grades"], strict=True)) == {"p1": 3, "p2": 0, "p9": 2}
    assert (second["question_id"], second["unanswerable"], second["comment"]) == ("q2", True, "手册没有")
    assert {row["annotator_id"] for row in (first, second)} == {"anna"}


@pytest.mark.parametrize("form", ["jsonl", "csv", "xlsx"])
def test_an_empty_form_answers_nothing_and_says_whose_it_is(form: Form) -> None:
    content = filled(form, lambda rows: None)
    assert header_of(content, "form", config.load(environ={}).reading) == HEADER
    assert read(content) == []


def test_a_question_that_looks_like_a_formula_is_text_in_a_spreadsheet() -> None:
    assert b"'=1+1" in render(HEADER, [ASKED["q2"]], "csv")
    full_width = replace(ASKED["q2"], text="＝1+1")
    assert "'＝1+1".encode() in render(HEADER, [full_width], "csv")
    assert b'"=1+1' in render(HEADER, [ASKED["q2"]], "jsonl")
    sheet = load_workbook(io.BytesIO(render(HEADER, [ASKED["q2"]], "xlsx"))).active
    assert {cell.data_type for row in sheet.iter_rows() for cell in row if cell.value is not None} == {"s"}


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_a_question_id_that_looks_like_a_number_comes_back_as_it_went_out(form: Form) -> None:
    asked = {name: Asked(name, "多大", "numeric") for name in ("0012", "73928e05", "1-2")}
    content = render(HEADER, list(asked.values()), form)
    found = header_of(content, "form", config.load(environ={}).reading)
    assert found == HEADER
    with reading.opened(content, config.load(environ={}).reading, name="form", trimmed=True) as table:
        ids = [row.values["question_id"] for row in reading.strictly(table.rows, None)]
    assert list(map(sent, ids)) == list(asked)
    assert all(id_.startswith("'") for id_ in ids) == (form == "csv")


def test_a_question_id_that_a_spreadsheet_made_a_number_of_is_named() -> None:
    content = filled("csv", lambda rows: rows[0].update(question_id="7.3928E+09"))
    with pytest.raises(
        InputError, match=r"^form:2: column question_id is '7\.3928E\+09', which a spreadsheet has made"
    ):
        read(content)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("accepted_answers", "450升", "q1: it has unanswerable, but with accepted answers"),
        ("grades", "1=3", "q1: it has unanswerable, but with a passage of grade 2 or more"),
        ("discard", "yes", "q1: it has both unanswerable and discard"),
    ],
)
def test_a_row_that_contradicts_itself_is_named(field: str, value: str, words: str) -> None:
    content = filled("csv", lambda rows: rows[0].update({"unanswerable": "yes", field: value}))
    with pytest.raises(InputError, match=f"^form:2.*{words}"):
        read(content)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"grades": "1=3"}, "grades, but neither an accepted answer nor unanswerable"),
        ({"accepted_answers": "a", "grades": "3=3"}, "grades names passage '3', listed are 1 to 2"),
        ({"accepted_answers": "a", "grades": "1=4"}, "grade '4' of passage p1; it is one of"),
        ({"accepted_answers": "a", "grades": "1"}, "grades holds '1', expected passage=grade"),
        ({"accepted_answers": "a", "grades": "1=3; 1=2"}, "passage p1 is graded twice"),
        ({"accepted_answers": "a", "unanswerable": "maybe"}, "column unanswerable is 'maybe', expected true or false"),
        ({"discard": "x"}, "discard without a comment that says why"),
        ({"comment": "später"}, "a comment but no answer"),
        ({"question": "后备箱多小"}, "question q1: the text of the question was changed"),
        ({"question_id": "q7"}, "question 'q7' is not in draft 'autumn'"),
    ],
)
def test_a_slip_of_the_pen_is_named_with_its_line(change: Row, words: str) -> None:
    content = filled("csv", lambda rows: rows[0].update(change))
    with pytest.raises(InputError, match=f"^form:2.*{words}"):
        read(content)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty form"),
        ("问题;答案".encode("gb18030"), "form has no column draft; it has "),
        (b'{"draft": "a"', "form:1: not valid JSON"),
        (b'{"draft": "a", "annotator": "b", "role": "boss"}', "no form of ours"),
        (
            b'{"draft": "a", "annotator": "b", "role": "annotator"}\n'
            b'{"draft": "a", "annotator": "c", "role": "annotator"}',
            "form:2: of another draft, person or role",
        ),
    ],
)
def test_a_file_that_is_no_form_of_one_person_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        header_of(content, "form", config.load(environ={}).reading)


def test_the_row_of_a_spreadsheet_is_named_beside_the_line_of_the_file() -> None:
    content = filled(
        "csv",
        lambda rows: (rows[0].update(accepted_answers="a\nb"), rows[1].update(accepted_answers="a", grades="1=9")),  # type: ignore[func-returns-value]
    )
    with pytest.raises(
        InputError, match=r"^form:\d+ \(spreadsheet row 3\): question q2: column grades names passage '1'"
    ):
        read(content)
    with pytest.raises(InputError, match=r"^form row 3: question q2: column grades names passage '1'"):
        read(filled("xlsx", lambda rows: rows[1].update(accepted_answers="a", grades="1=9")))


def test_a_question_answered_twice_is_refused() -> None:
    content = filled("csv", csv_answer)
    lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=";"))
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=";").writerows([*lines, lines[1]])
    with pytest.raises(InputError, match="question q1: the question is answered twice"):
        read(buffer.getvalue().encode())


@pytest.mark.parametrize(("people", "each"), [(2, 2), (3, 2), (5, 3), (7, 2)])
def test_everyone_gets_as_much_and_each_question_goes_to_different_people(people: int, each: int) -> None:
    names = [f"a{number}" for number in range(people)]
    assigned = assign([f"q{number}" for number in range(101)], names, per_question=each, seed=1)
    assert assigned.unique().height == 101 * each
    loads = assigned.group_by("annotator_id").len()["len"]
    assert int(loads.max()) - int(loads.min()) <= 1  # type: ignore[arg-type]
    groups = assigned.group_by("question_id").agg(pl.col("annotator_id").sort())["annotator_id"].to_list()
    together = math.comb(people, each)
    assert len({tuple(group) for group in groups}) >= together / 2


def test_one_person_alone_cannot_answer_twice() -> None:
    with pytest.raises(InputError, match="2 people answer each question apart and 1 are named"):
        assign(["q1"], ["anna", "anna"], per_question=2, seed=1)


def test_candidates_come_in_an_order_of_ones_own_and_always_the_same() -> None:
    ids = [f"p{number}" for number in range(10)]
    anna = shuffled(ids, question_id="q1", annotator_id="anna")
    assert sorted(anna) == sorted(ids)
    assert anna == shuffled(list(reversed(ids)), question_id="q1", annotator_id="anna")
    assert anna != shuffled(ids, question_id="q1", annotator_id="ben")


def test_a_stratum_with_too_few_is_drawn_whole_and_not_made_up_for() -> None:
    rows = [("numeric", n) for n in range(50)] + [("summary", n) for n in range(3)]
    queries = pl.DataFrame(
        {
            "query_id": [f"{name}{n}" for name, n in rows],
            "text": [f"{name}{n}" for name, n in rows],
            "stratum": [name for name, _ in rows],
            "frequency": [1 + n for _, n in rows],
        }
    )
    drawn = draw(queries, ["numeric", "summary", "procedure"], per_stratum=10, seed=3)
    assert dict(drawn.group_by("stratum").len().iter_rows()) == {"numeric": 10, "summary": 3}
    assert drawn.equals(draw(queries.reverse(), ["numeric", "summary", "procedure"], per_stratum=10, seed=3))
