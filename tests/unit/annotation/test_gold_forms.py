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

from rerankops.annotation.gold.drafting import assign, draw, shuffled
from rerankops.annotation.gold.forms import ANNOTATOR, Asked, Form, Header, Shown, header_of, parse, render
from rerankops.errors import InputError

HEADER = Header("autumn", "anna", ANNOTATOR)
ASKED = {
    "q1": Asked("q1", "后备箱多大", "numeric", (Shown("p1", "后备箱", "450升"), Shown("p2", "", "胎压2.3bar"))),
    "q2": Asked("q2", "=1+1 怎么算", "procedure"),
}
Row = dict[str, Any]


def filled(form: Form, change: Callable[[list[Row]], None], header: Header = HEADER) -> bytes:
    """A form as a person sends it back."""
    text = render(header, list(ASKED.values()), form)
    if form == "jsonl":
        rows = [json.loads(line) for line in text.splitlines()]
        change(rows)
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    rows = list(reader)
    change(rows)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, reader.fieldnames or (), delimiter=";")
    writer.writeheader()
    writer.writerows(rows)
    return ("\ufeff" + buffer.getvalue()).encode()


def read(content: bytes) -> list[Row]:
    header = header_of(content, "form")
    return parse(content, "form", header, ASKED).to_pylist()


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


@pytest.mark.parametrize(("form", "answer"), [("jsonl", json_answer), ("csv", csv_answer)])
def test_what_was_filled_in_is_read_the_same_from_both_forms(form: Form, answer: Callable[[list[Row]], None]) -> None:
    first, second = read(filled(form, answer))
    assert first["accepted_answers"] == ["450升", "450 L"]
    assert dict(zip(first["graded_passage_ids"], first["grades"], strict=True)) == {"p1": 3, "p2": 0, "p9": 2}
    assert (second["question_id"], second["unanswerable"], second["comment"]) == ("q2", True, "手册没有")
    assert {row["annotator_id"] for row in (first, second)} == {"anna"}


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_an_empty_form_answers_nothing_and_says_whose_it_is(form: Form) -> None:
    content = filled(form, lambda rows: None)
    assert header_of(content, "form") == HEADER
    assert read(content) == []


def test_a_question_that_looks_like_a_formula_is_text_in_a_spreadsheet() -> None:
    assert "'=1+1" in render(HEADER, [ASKED["q2"]], "csv")
    full_width = replace(ASKED["q2"], text="＝1+1")
    assert "'＝1+1" in render(HEADER, [full_width], "csv")
    assert '"=1+1' in render(HEADER, [ASKED["q2"]], "jsonl")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("accepted_answers", "450升", "q1 has unanswerable, but with accepted answers"),
        ("grades", "1=3", "q1 has unanswerable, but with a passage of grade 2 or more"),
        ("discard", "yes", "q1 has both unanswerable and discard"),
    ],
)
def test_a_row_that_contradicts_itself_is_named(field: str, value: str, words: str) -> None:
    content = filled("csv", lambda rows: rows[0].update({"unanswerable": "yes", field: value}))
    with pytest.raises(InputError, match=f"^form: line .*{words}"):
        read(content)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"grades": "1=3"}, "grades, but neither an accepted answer nor unanswerable"),
        ({"accepted_answers": "a", "grades": "3=3"}, "grades names passage '3', listed are 1 to 2"),
        ({"accepted_answers": "a", "grades": "1=4"}, "grade '4' of passage p1; it is one of"),
        ({"accepted_answers": "a", "grades": "1"}, "grades holds '1', expected passage=grade"),
        ({"accepted_answers": "a", "grades": "1=3; 1=2"}, "passage p1 is graded twice"),
        ({"accepted_answers": "a", "unanswerable": "maybe"}, "unanswerable is 'maybe', expected true or false"),
        ({"discard": "x"}, "discard without a comment that says why"),
        ({"comment": "später"}, "a comment but no answer"),
        ({"question": "后备箱多小"}, "the text of question q1 was changed"),
        ({"question_id": "q7"}, "question 'q7' is not in draft 'autumn'"),
    ],
)
def test_a_slip_of_the_pen_is_named_with_its_line(change: Row, words: str) -> None:
    content = filled("csv", lambda rows: rows[0].update(change))
    with pytest.raises(InputError, match=f"^form: line .*{words}"):
        read(content)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "column 'draft' is missing; is it a form"),
        ("问题;答案".encode("gb18030"), "not UTF-8"),
        (b'{"draft": "a"', "line 1 is not valid JSON"),
        (b'{"draft": "a", "annotator": "b", "role": "boss"}', "no form of ours"),
        (
            b'{"draft": "a", "annotator": "b", "role": "annotator"}\n'
            b'{"draft": "a", "annotator": "c", "role": "annotator"}',
            "line 2 is of another draft, person or role",
        ),
    ],
)
def test_a_file_that_is_no_form_of_one_person_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        header_of(content, "form")


def test_a_question_answered_twice_is_refused() -> None:
    content = filled("csv", csv_answer)
    lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=";"))
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=";").writerows([*lines, lines[1]])
    with pytest.raises(InputError, match="question q1 is answered twice"):
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
