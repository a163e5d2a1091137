"""Every way a delivery can be wrong is found, named and quarantined; a good one is accepted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from rerankops.annotation import Validation, read, validate
from rerankops.records import Annotation, AnnotationTask

Row = dict[str, Any]
Edit = Callable[[list[Row]], list[Row]]


@pytest.fixture
def check(tasks, settings, now, deliver, tmp_path) -> Callable[..., Validation]:
    def _check(rows, *, tasks=tasks, near_gold=frozenset(), settings=settings) -> Validation:
        delivery = rows if hasattr(rows, "sha256") else deliver(rows)
        return validate(delivery, tasks, near_gold, settings, data_docs=tmp_path / "docs", now=now)

    return _check


def changed(row: int, **values: Any) -> Edit:
    return lambda rows: [{**each, **values} if n == row else each for n, each in enumerate(rows)]


def graded(grade: Callable[[Row], Any]) -> Edit:
    return lambda rows: [{**row, "grade": grade(row)} for row in rows]


def without(field: str) -> Edit:
    return lambda rows: [{name: value for name, value in row.items() if name != field} for row in rows]


def test_a_good_delivery_is_accepted_whole(check, good_rows):
    validation = check(good_rows)
    assert validation.outcome == "accept"
    assert validation.findings == ()
    assert validation.annotations.schema.equals(Annotation.schema)
    assert validation.annotations.num_rows == len(good_rows)
    assert validation.annotations["annotated_at"][0].as_py() == datetime.fromisoformat(good_rows[0]["annotated_at"])
    assert validation.metrics["completeness"] == 1
    assert validation.metrics["control_accuracy"] == 1


def test_data_docs_show_what_was_expected_and_a_second_run_replaces_them(check, good_rows):
    bad = changed(4, grade=9)(good_rows)
    validation = check(bad)
    folder = validation.data_docs.parent
    first, pages = validation.data_docs.read_bytes(), sorted(folder.rglob("*.html"))
    text = "".join(page.read_text() for page in folder.glob("validations/**/*.html"))
    assert {"lines", "batch", "annotators"} == {page.name for page in (folder / "validations").iterdir()}
    assert "every grade is one of 0, 1, 2, 3" in text
    assert "completeness" in text
    check(bad)
    assert validation.data_docs.read_bytes() == first
    assert sorted(folder.rglob("*.html")) == pages


def test_nothing_is_written_outside_data_docs_and_nothing_shown_on_the_terminal(
    check, good_rows, tmp_path, monkeypatch, capfd
):
    home = tmp_path / "home"
    here = tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    check(good_rows)
    assert list(home.rglob("*")) == []
    assert list(here.rglob("*")) == []
    assert {path.name for path in tmp_path.iterdir()} == {"home", "here", "docs"}
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err == ""


BROKEN: dict[str, tuple[Edit, tuple[str, ...]]] = {
    "a grade that is unknown": (changed(4, grade=9), ("line 5 ", "'ann-2'", "grade '9'", "one of 0, 1, 2, 3")),
    "a grade that is a word": (changed(4, grade="good"), ("line 5 ", "'ann-2'", "'good'", "no whole number")),
    "a grade that is half": (changed(4, grade=1.5), ("line 5 ", "'1.5'", "no whole number")),
    "a grade that is true": (changed(4, grade=True), ("line 5 ", "'true'", "no whole number")),
    "no grade in one line": (changed(4, grade=None), ("line 5 ", "'ann-2'", "has no grade")),
    "an annotator who is blank": (changed(4, annotator_id="  "), ("line 5 ", "has no annotator_id")),
    "no grade at all": (without("grade"), ("no line has the field 'grade'",)),
    "no time at all": (without("annotated_at"), ("no line has the field 'annotated_at'",)),
    "no task at all": (without("task_id"), ("no line has the field 'task_id'",)),
    "no batch at all": (without("batch_id"), ("no line has the field 'batch_id'",)),
    "an unknown task": (changed(4, task_id="nope"), ("line 5 ", "'nope'", "'ann-2'", "does not have")),
    "another batch's line": (changed(4, batch_id="batch-0"), ("line 5 ", "'batch-0'", "the file to 'batch-1'")),
    "a time that is no time": (changed(4, annotated_at="gestern"), ("line 5 ", "'gestern'", "ISO 8601")),
    "a time in seconds": (changed(4, annotated_at=1767225600), ("line 5 ", "'1767225600'", "ISO 8601")),
    "a time before the epoch": (changed(4, annotated_at="1969-12-31T00:00:00Z"), ("line 5 ", "before 2000-01-01")),
    "a time to come": (changed(4, annotated_at="2026-05-03T00:00:00Z"), ("line 5 ", "in the future")),
    "a task graded twice": (lambda rows: [*rows, {**rows[4], "grade": 1}], ("line 199 ", "'ann-2'", "line 5 graded")),
    "too few annotations": (lambda rows: rows[:150], ("75.8%", "66 tasks", "16 task(s)", "deliver the whole batch")),
    "nobody but one annotator": (lambda rows: rows[::3], ("33.3%", "3 people each", "66 task(s)")),
    "nothing": (lambda rows: [], ("no annotation", "deliver the batch again")),
    "no positive": (graded(lambda row: 0), ("0.0% of the grades are 2 or more", "look at a sample")),
    "nothing but positives": (graded(lambda row: 3), ("100.0% of the grades are 2 or more",)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_delivery_is_quarantined_with_a_reason_that_names_it(name, check, good_rows):
    edit, expected = BROKEN[name]
    validation = check(edit(good_rows))
    assert validation.outcome == "quarantine"
    assert validation.annotations is None
    assert validation.data_docs.exists()
    assert all(reason.startswith("batch-1.jsonl: ") for reason in validation.reasons)
    assert any(all(part in reason for part in expected) for reason in validation.reasons), validation.reasons


def test_many_broken_lines_are_counted_and_some_named(check, good_rows):
    validation = check([{**row, "grade": 7} if n < 40 else row for n, row in enumerate(good_rows)])
    (reason,) = (finding for finding in validation.findings if finding.column == "grade_value")
    assert "line 1 (" in reason.words
    assert "(and 39 more: 2, 3, 4, 5, 6, …)" in reason.words
    assert reason.observed == "40 of 198 lines"
    assert reason.expectation == "expect_column_values_to_be_in_set"
    assert reason.severity == "critical"


def test_unreadable_lines_are_named(check, good_rows, deliver):
    content = deliver(good_rows).content + b'\n{"batch_id": "batch-1", \n[1, 2]\n\xff\xfe\n'
    validation = check(read(content, source="batch-1.jsonl"))
    (reason,) = validation.reasons
    assert "line 199 is no JSON" in reason
    assert "and 2 more: 200, 201" in reason


def test_careless_annotators_fail_the_batch_and_are_named_but_control_tasks_are_not(check, good_rows, tasks):
    controls = dict(zip(tasks["task_id"].to_pylist(), tasks["control_grade"].to_pylist(), strict=True))

    def turned(row: Row) -> int:
        return row["grade"] if controls[row["task_id"]] is None else 3 - controls[row["task_id"]]

    mostly = [{**row, "grade": turned(row)} if row["annotator_id"] != "ann-1" else row for row in good_rows]
    validation = check(mostly)
    assert validation.outcome == "quarantine"
    (reason,) = validation.reasons
    assert "33.3% of 18 annotations of control tasks" in reason
    assert "'ann-2' (0.0% of 6)" in reason
    assert not any(task in reason for task, grade in controls.items() if grade is not None)

    one = [{**row, "grade": turned(row)} if row["annotator_id"] == "ann-2" else row for row in good_rows]
    warned = check(one)
    assert warned.outcome == "accept"
    (warning,) = warned.findings
    assert warning.severity == "warning"
    assert "'ann-2' (0.0% of 6)" in warning.words
    assert "ann-1" not in warning.words


def test_controls_that_do_not_come_back_are_controls_failed(check, good_rows, tasks, settings):
    asked = set(tasks.filter(pc.is_null(tasks["control_grade"]))["task_id"].to_pylist())
    validation = check(
        [row for row in good_rows if row["task_id"] in asked],
        settings=settings.model_copy(update={"min_completeness": 0.5}),
    )
    assert validation.metrics["control_accuracy"] == 0
    assert any("0.0% of 0 annotations of control tasks" in reason for reason in validation.reasons)


def test_a_batch_without_controls_is_accepted_with_a_warning(check, good_rows, tasks):
    asked = tasks.filter(pc.is_null(tasks["control_grade"]))
    ids = set(asked["task_id"].to_pylist())
    validation = check([row for row in good_rows if row["task_id"] in ids], tasks=asked)
    assert validation.outcome == "accept"
    (warning,) = validation.findings
    assert "has no control task" in warning.words
    assert "control_accuracy" not in validation.metrics


def test_a_task_about_a_gold_question_is_quarantined(check, good_rows, tasks):
    validation = check(good_rows, near_gold={"q07"})
    (reason,) = validation.reasons
    assert "'后备箱 7 多大'" in reason
    assert "gold" in reason
    assert check(good_rows, near_gold={"q99"}).outcome == "accept"


def test_tasks_of_other_batches_are_not_missed(check, good_rows, tasks):
    ids = pa.array([f"other-{n}" for n in range(tasks.num_rows)])
    others = tasks.set_column(0, "batch_id", pa.array(["batch-0"] * tasks.num_rows)).set_column(1, "task_id", ids)
    both = pa.concat_tables([AnnotationTask.conform(others), tasks])
    assert check(good_rows, tasks=both).metrics["completeness"] == 1


def test_a_delivery_of_an_unknown_batch_is_quarantined(check, good_rows):
    validation = check([{**row, "batch_id": "batch-9"} for row in good_rows])
    assert any("batch 'batch-9' does not have" in reason for reason in validation.reasons)


@pytest.mark.parametrize(
    "when", ["2026-01-31 12:00:00", "2026-01-31T20:00:00.000+08:00", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00"]
)
def test_times_are_read_as_utc_however_they_are_written(when, check, good_rows):
    validation = check([{**row, "annotated_at": when} for row in good_rows])
    assert validation.outcome == "accept"
    assert validation.annotations["annotated_at"][0].as_py() == datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_grades_as_text_or_whole_floats_are_accepted(check, good_rows):
    shapes = [str, float, lambda grade: f" {grade} "]
    rows = [{**row, "grade": shapes[n % 3](row["grade"])} for n, row in enumerate(good_rows)]
    validation = check(rows)
    assert validation.annotations["grade"].to_pylist() == [row["grade"] for row in good_rows]


def test_hostile_text_is_shown_harmlessly(check, good_rows, deliver):
    script = "<script>alert(1)</script>{0}$x"
    rows = changed(4, grade=script, annotator_id=script, batch_id=script, annotated_at="x" * 100_000)(good_rows)
    validation = check(replace(deliver(rows), batch_id="batch-1"))
    pages = [page.read_text() for page in validation.data_docs.parent.rglob("*.html")]
    assert not any("<script>alert" in page for page in pages)
    assert any("&lt;script&gt;alert" in page for page in pages)
    assert not any("x" * 1000 in page for page in pages)
    assert all(len(reason) < 1000 for reason in validation.reasons)


def test_more_people_than_asked_do_not_make_up_for_tasks_left_out(check, good_rows):
    extra = [{**row, "annotator_id": f"more-{n}"} for n in range(3) for row in good_rows[:99]]
    validation = check([*good_rows[:99], *extra])
    assert validation.metrics["completeness"] == pytest.approx(0.5)


def test_an_empty_file_and_a_file_of_rubbish_are_quarantined(check):
    assert check(read(b"", source="batch-1.jsonl")).outcome == "quarantine"
    assert check(read(b"PK\x03\x04\n\x00\x01", source="batch-1.jsonl")).outcome == "quarantine"


def test_later_than_now_by_less_than_the_slack_is_a_clock_that_is_ahead(check, good_rows, now):
    assert check(changed(4, annotated_at=(now + timedelta(hours=2)).isoformat())(good_rows)).outcome == "accept"
