"""The door: what is accepted, what is set aside, what is quarantined, and what people are shown. The many kinds of
damage have a table of their own (test_damages)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from scipy.stats import binom

from rerankops.annotation import Validation, read, validate
from rerankops.annotation import _great_expectations as great_expectations
from rerankops.annotation.expectations import GRADE_COUNTS, _door
from rerankops.annotation.expectations._drift import drift
from rerankops.annotation.expectations._patterns import copies, peers, repetition
from rerankops.annotation.expectations._statistics import at_least, at_most
from rerankops.records import Annotation, AnnotationTask

Row = dict[str, Any]
Edit = Callable[[list[Row]], list[Row]]


@pytest.fixture
def check(tasks, settings, now, deliver, tmp_path) -> Callable[..., Validation]:
    def _check(rows, *, tasks=tasks, near_gold=frozenset(), settings=settings, pages=False) -> Validation:
        delivery = rows if hasattr(rows, "sha256") else deliver(rows)
        return validate(delivery, tasks, near_gold, settings, data_docs=tmp_path / "docs" if pages else None, now=now)

    return _check


def changed(row: int, **values: Any) -> Edit:
    return lambda rows: [{**each, **values} if n == row else each for n, each in enumerate(rows)]


def test_a_good_delivery_is_accepted_whole(check, good_rows):
    validation = check(good_rows)
    assert validation.outcome == "accept"
    assert validation.findings == ()
    assert validation.set_aside.num_rows == 0
    assert validation.annotations.schema.equals(Annotation.schema)
    assert validation.annotations.num_rows == len(good_rows)
    assert validation.annotations["annotated_at"][0].as_py() == datetime.fromisoformat(good_rows[0]["annotated_at"])
    assert validation.metrics["completeness"] == 1
    assert validation.metrics["control_accuracy"] == 1
    assert sum(validation.grade_counts["tasks"].to_pylist()) == pytest.approx(60)


# -- pages ----------------------------------------------------------------------------------------------------------


def test_data_docs_show_what_was_expected_and_a_second_run_replaces_them(check, good_rows):
    bad = changed(4, grade=9)(good_rows)
    validation = check(bad, pages=True)
    folder = validation.data_docs.parent
    first, pages = validation.data_docs.read_bytes(), sorted(folder.rglob("*.html"))
    text = "".join(page.read_text() for page in folder.glob("validations/**/*.html"))
    assert {page.name for page in (folder / "validations").iterdir()} == {"lines", "batch", "annotators", "queries"}
    index = validation.data_docs.read_text()
    listed = {page.relative_to(folder).as_posix() for page in pages if page != validation.data_docs}
    assert set(re.findall(r'<td><a href="([^"]*)">', index)) == listed
    assert "every grade is one of 0, 1, 2, 3" in text
    assert "completeness" in text
    everything = "".join(page.read_text() for page in pages)
    assert not re.search(r"<script|@import", everything)  # they run nothing
    loaded = re.findall(
        r"""(?:<(?:link|img|iframe|source)[^>]*(?:href|src)=["']?|url\(["']?)([^"'>)\s]*)""", everything
    )
    assert loaded  # and load their own pictures and styles, nothing from elsewhere
    assert [address for address in loaded if "//" in address] == []
    check(bad, pages=True)
    assert validation.data_docs.read_bytes() == first
    assert sorted(folder.rglob("*.html")) == pages


def test_the_verdict_is_the_same_without_pages(check, good_rows):
    bad = [*changed(4, grade=9)(good_rows), {**good_rows[7], "grade": 3}]
    with_pages, without = check(bad, pages=True), check(bad)
    assert with_pages.data_docs.exists()
    assert without.data_docs is None
    assert replace(with_pages, data_docs=None) == without


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
    assert {path.name for path in tmp_path.iterdir()} == {"home", "here"}
    check(good_rows, pages=True)
    assert list(home.rglob("*")) == []
    assert list(here.rglob("*")) == []
    assert {path.name for path in tmp_path.iterdir()} == {"home", "here", "docs"}
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err == ""


def test_hostile_text_is_shown_harmlessly(check, good_rows, deliver):
    script = "<script>alert(1)</script>{0}$x"
    rows = changed(4, grade=script, annotator_id=script, batch_id=script, annotated_at="x" * 100_000)(good_rows)
    validation = check(replace(deliver(rows), batch_id="batch-1"), pages=True)
    pages = [page.read_text() for page in validation.data_docs.parent.rglob("*.html")]
    assert not any("<script>alert" in page for page in pages)
    assert any("&lt;script&gt;alert" in page for page in pages)
    assert not any("x" * 1000 in page for page in pages)
    assert all(len(reason) < 1000 for reason in validation.reasons)


# -- words ----------------------------------------------------------------------------------------------------------


def test_many_broken_lines_are_counted_and_some_named(check, good_rows):
    validation = check([{**row, "grade": 7} if n < 40 else row for n, row in enumerate(good_rows)])
    (reason,) = (finding for finding in validation.findings if finding.column == "grade_value")
    assert "line 1 (" in reason.words
    assert "(and 39 more: 2, 3, 4, 5, 6, …)" in reason.words
    assert reason.observed == "40 of 198 lines"
    assert reason.expectation == "expect_column_values_to_be_in_set"
    assert reason.severity == "critical"
    assert reason.lines == 40


def test_all_that_is_wrong_with_a_line_is_said_of_it(check, good_rows):
    validation = check(changed(4, grade=9, annotated_at="gestern")(good_rows))
    assert validation.outcome == "accept_in_part"
    assert validation.set_aside.to_pylist() == [
        {
            "line": 5,
            "task_id": good_rows[4]["task_id"],
            "annotator_id": "ann-2",
            "reason": "it has grade '9', which is unknown; grade with one of 0, 1, 2, 3. It also was annotated at "
            "'gestern', which is no time; write times in ISO 8601, such as 2026-01-31T12:00:00Z; what 05/06/2026 is, "
            "reading.date_order can say",
        }
    ]
    assert len(validation.reasons) == 2


def test_unreadable_lines_are_named_and_an_end_that_is_one_quarantines(check, good_rows, deliver):
    first, rest = deliver(good_rows).content.split(b"\n", 1)
    inside = check(read(first + b'\n{"batch_id": \n[1, 2]\n\xff\xfe\n' + rest, source="batch-1.jsonl"))
    assert inside.outcome == "accept_in_part"
    (reason,) = inside.reasons
    assert "line 2: no JSON" in reason
    assert "and 2 more: 3, 4" in reason
    assert inside.set_aside["line"].to_pylist() == [2, 3, 4]
    twice = check(read(first + b'\n{"batch_id": "b", "grade": 0, "grade": 3}\n' + rest, source="batch-1.jsonl"))
    assert "line 2: no JSON (the name 'grade' stands in it twice)" in twice.reasons[0]
    at_end = check(read(first + b"\n" + rest + b'\n{"batch_id": "batch-1", \n', source="batch-1.jsonl"))
    assert at_end.outcome == "quarantine"
    assert "line 199, the last: no JSON" in at_end.reasons[0]


def test_control_tasks_are_not_given_away(check, good_rows, tasks):
    controls = dict(zip(tasks["task_id"].to_pylist(), tasks["control_grade"].to_pylist(), strict=True))

    def turned(row: Row) -> int:
        return row["grade"] if controls[row["task_id"]] is None else 3 - controls[row["task_id"]]

    mostly = [{**row, "grade": turned(row)} if row["annotator_id"] != "ann-1" else row for row in good_rows]
    validation = check(mostly)
    assert validation.outcome == "quarantine"
    (reason,) = (finding.words for finding in validation.findings if "of control tasks are within" in finding.words)
    assert "33.3% of 18 annotations of control tasks" in reason
    assert "'ann-2' (0.0% of 6)" in reason
    said = [*(finding.words for finding in validation.findings), *validation.set_aside["reason"].to_pylist()]
    assert not any(task in words for task, grade in controls.items() if grade is not None for words in said)


# -- rules ----------------------------------------------------------------------------------------------------------


def test_a_batch_without_controls_is_accepted_with_a_warning(check, good_rows, tasks):
    asked = tasks.filter(pc.is_null(tasks["control_grade"]))
    ids = set(asked["task_id"].to_pylist())
    validation = check([row for row in good_rows if row["task_id"] in ids], tasks=asked)
    assert validation.outcome == "accept"
    (warning,) = validation.findings
    assert "has no control task" in warning.words
    assert "control_accuracy" not in validation.metrics


def test_gold_questions_can_not_even_be_released(check, good_rows, tasks):
    validation = check(good_rows, near_gold={"q07"})
    assert validation.outcome == "quarantine"
    (reason,) = validation.reasons
    assert "'后备箱 7 多大'" in reason
    about = dict(zip(tasks["task_id"].to_pylist(), tasks["query_id"].to_pylist(), strict=True))
    assert validation.readable.num_rows == sum(about[row["task_id"]] != "q07" for row in good_rows)
    assert "q07" not in {about[task] for task in validation.readable["task_id"].to_pylist()}


def test_tasks_of_other_batches_are_not_missed(check, good_rows, tasks):
    ids = pa.array([f"other-{n}" for n in range(tasks.num_rows)])
    others = tasks.set_column(0, "batch_id", pa.array(["batch-0"] * tasks.num_rows)).set_column(1, "task_id", ids)
    both = pa.concat_tables([AnnotationTask.conform(others), tasks])
    assert check(good_rows, tasks=both).metrics["completeness"] == 1


@pytest.mark.parametrize(
    "when", ["2026-01-31 12:00:00", "2026-01-31T20:00:00.000+08:00", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00"]
)
def test_times_are_read_as_utc_however_they_are_written(when, check, good_rows):
    validation = check([{**row, "annotated_at": when} for row in good_rows])
    assert validation.outcome == "accept"
    assert validation.annotations["annotated_at"][0].as_py() == datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_times_of_several_kinds_are_each_read(check, good_rows):
    kinds = ["2026-01-31 12:00:00.5", "2026-01-31T20:00:00+0800", "2026-01-31t12:00:00", "31 January, noon"]
    rows = [{**row, "annotated_at": kinds[n]} if n < 4 else row for n, row in enumerate(good_rows)]
    validation = check(rows)
    assert validation.set_aside["line"].to_pylist() == [4]
    assert validation.annotations["annotated_at"][0].as_py() == datetime(2026, 1, 31, 12, 0, 0, 500_000, tzinfo=UTC)
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert validation.annotations["annotated_at"].to_pylist()[1:3] == [noon, noon]


def test_grades_as_text_or_whole_floats_are_accepted(check, good_rows):
    shapes = [str, float, lambda grade: f" {grade} "]
    rows = [{**row, "grade": shapes[n % 3](row["grade"])} for n, row in enumerate(good_rows)]
    validation = check(rows)
    assert validation.annotations["grade"].to_pylist() == [row["grade"] for row in good_rows]


def test_more_people_than_asked_do_not_make_up_for_tasks_left_out(check, good_rows):
    extra = [{**row, "annotator_id": f"more-{n}"} for n in range(3) for row in good_rows[:99]]
    validation = check([*good_rows[:99], *extra])
    assert validation.metrics["completeness"] == pytest.approx(0.5)


def test_lead_times_are_kept_where_they_can_be(check, good_rows):
    rows = [{**row, "lead_seconds": ("12.5", -1, "nan", None)[n % 4]} for n, row in enumerate(good_rows)]
    validation = check(rows)
    assert validation.outcome == "accept"
    assert validation.annotations["lead_seconds"].to_pylist()[:5] == [12.5, None, None, None, 12.5]


def test_later_than_now_by_less_than_the_slack_is_a_clock_that_is_ahead(check, good_rows, now):
    assert check(changed(4, annotated_at=(now + timedelta(hours=2)).isoformat())(good_rows)).outcome == "accept"


def test_what_great_expectations_counts_otherwise_is_not_accepted(check, good_rows, monkeypatch):
    """The lines that are set aside are worked out beside the expectations; should the two ever differ, nobody knows
    which lines are good."""
    run = great_expectations.run

    def miscounted(suites, **more):
        results = run(suites, **more)
        key = ("lines", "grade out of range")
        return results | {key: replace(results[key], unexpected=3)}

    monkeypatch.setattr(_door.great_expectations, "run", miscounted)
    validation = check(changed(4, grade=9)(good_rows))
    assert validation.outcome == "quarantine"
    assert "could not be evaluated (3 rows fail, 1 would be set aside); report this as a bug" in validation.reasons[0]


def test_an_expectation_that_cannot_run_is_not_met(check, good_rows, monkeypatch):
    run = great_expectations.run

    def failing(suites, **more):
        results = run(suites, **more)
        key = ("batch", "completeness")
        return results | {key: replace(results[key], success=False, error="no such metric")}

    monkeypatch.setattr(_door.great_expectations, "run", failing)
    validation = check(good_rows)
    assert validation.outcome == "quarantine"
    assert "could not be evaluated (no such metric); report this as a bug" in validation.reasons[0]


# -- measures -------------------------------------------------------------------------------------------------------


def test_bounds_know_the_sample_size():
    assert at_most(0, 0) == 1
    assert at_least(0, 0) == 0
    assert at_most(0, 5) == pytest.approx(1 - 0.05 ** (1 / 5))
    assert at_least(5, 5) == pytest.approx(0.05 ** (1 / 5))
    few, many = at_most([3, 300], [10, 1000])
    assert binom.cdf([3, 300], [10, 1000], [few, many]) == pytest.approx(0.05)
    assert 0.3 < many < few
    assert 1 - binom.cdf(3 - 1, 10, at_least(3, 10)) == pytest.approx(0.05)


def test_peers_are_those_who_graded_the_same_tasks():
    task, annotator = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 2, 0, 1, 3])
    found = peers(task, annotator, np.array([0, 0, 3, 1, 1, 2]), 4)
    assert found.own.tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
    assert found.others.tolist() == [[1, 1, 0, 1], [1, 1, 0, 1], [2, 0, 0, 0], [0, 0, 0, 0]]
    assert found.kappa[0] == pytest.approx((2 / 3 - 1 / 3) / (1 - 1 / 3))
    assert found.kappa[2] == 0
    assert np.isnan(found.kappa[3])


def test_the_period_found_is_the_one_that_is_there():
    annotator = np.repeat([0, 1], 40)
    grade = np.concatenate([np.tile([0, 1, 2, 3, 1], 8), np.random.default_rng(0).integers(0, 4, 40)])
    period, repeated, possible = repetition(annotator, grade, 2)
    assert period[0] == 5
    assert repeated[0] == possible[0] == 35
    assert repeated[1] < 0.7 * possible[1]


def test_a_copy_is_the_same_at_the_same_instant():
    instants = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=n) for n in range(20)]
    own = {"task": range(20), "annotator": [0] * 20, "grade_value": [n % 3 for n in range(20)]}
    first = pl.DataFrame(own | {"annotated_at_value": instants})
    copied = first.head(15).with_columns(annotator=pl.lit(1, pl.Int64))
    later = copied.with_columns(pl.col("annotated_at_value") + timedelta(seconds=1), annotator=pl.lit(2, pl.Int64))
    found = copies(pl.concat([first, copied, later]), least=10, share=0.9)
    assert found.to_dicts() == [{"annotator": 1, "copied": 15, "copy_of": 0}]
    assert copies(pl.concat([first, copied]), least=16, share=0.9).is_empty()


@pytest.mark.parametrize(("tasks", "certain"), [(10, False), (1000, True)])
def test_drift_is_measured_within_strata_and_tested(tasks, certain):
    def counts(shares, n, stratum="numeric"):
        return pa.table([[stratum] * 4, range(4), [n * share for share in shares]], names=GRADE_COUNTS.names)

    before = counts((0.5, 0.2, 0.2, 0.1), 2000).cast(GRADE_COUNTS)
    now = counts((0.3, 0.2, 0.3, 0.2), tasks).cast(GRADE_COUNTS)
    found = drift(now, before)
    assert found.distance == pytest.approx(0.2)
    assert found.turned == pytest.approx(0.3)
    assert (found.p_value < 0.001) == certain
    elsewhere = counts((0, 0, 0, 1), 5000, "summary").cast(GRADE_COUNTS)
    assert drift(now, pa.concat_tables([before, elsewhere])) == found
    assert drift(now, elsewhere) is None
