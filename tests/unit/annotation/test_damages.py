"""A hundred kinds of damage and more: each has the outcome that it must have, and reasons a person can read."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import pytest
from annotation_damages import CASES, ODD
from annotation_damages.delivery import ACCEPT, NOW, PART, QUARANTINE, Case, batch, encoded, returned

from rerankops.annotation import Delivery, Validation, read, validate
from rerankops.annotation.expectations import ASIDE, CRITICAL, GRADE_COUNTS, SET_ASIDE
from rerankops.records import Annotation


@pytest.fixture(scope="module")
def sent() -> pa.Table:
    return batch()


@pytest.fixture(scope="module")
def good(sent: pa.Table) -> list[dict[str, Any]]:
    return returned(sent)


@pytest.fixture
def judged(sent, good, settings):
    def judge(case: Case) -> tuple[Delivery, Validation]:
        rows = case.rows(good)
        if case.control:
            known = dict(zip(sent["task_id"].to_pylist(), sent["control_grade"].to_pylist(), strict=True))
            rows = case.control(rows, known)
        delivery = read(case.content(encoded(rows)), source=case.source)
        columns = zip(*case.history, strict=True) if case.history else None
        return delivery, validate(
            delivery,
            sent,
            case.near_gold,
            settings.model_copy(update=case.settings),
            data_docs=None,
            now=NOW,
            sent_at=case.sent,
            history=pa.table(list(map(pa.array, columns)), names=GRADE_COUNTS.names).cast(GRADE_COUNTS)
            if columns
            else None,
        )

    return judge


def test_there_are_a_hundred_kinds_and_no_two_of_a_name():
    assert len(CASES) >= 100
    names = [case.name for case in [*CASES, *ODD]]
    assert len(set(names)) == len(names)
    assert {case.outcome for case in CASES} == {ACCEPT, PART, QUARANTINE}
    assert {case.outcome for case in ODD} == {ACCEPT}


@pytest.mark.parametrize("case", [*CASES, *ODD], ids=lambda case: case.name)
def test_every_kind_of_damage_has_its_outcome_and_a_readable_reason(case, judged):
    delivery, validation = judged(case)
    told = [finding.words for finding in validation.findings]
    assert validation.outcome == case.outcome, told
    looked = validation.reasons if case.outcome != ACCEPT else told
    assert not case.says or any(all(part in words for part in case.says) for words in looked), looked
    assert case.aside is None or validation.set_aside.num_rows == case.aside, told
    readable(delivery, validation)
    consistent(delivery, validation)


def readable(delivery: Delivery, validation: Validation) -> None:
    """Every finding is one line that begins with the file and ends with what to do; so is every reason of a line."""
    assert bool(validation.reasons) == (validation.outcome != ACCEPT)
    for finding in validation.findings:
        assert finding.words.startswith(f"{delivery.source}: ")
        assert "; " in finding.words or "?" in finding.words, finding.words
        assert len(finding.words) < 700, finding.words
        assert finding.words.isprintable(), finding.words
        assert not re.search(r"\bNone\b|\bnan\b|Traceback|report this as a bug|\{\w*\}\s", finding.words), finding.words
    for reason in set(validation.set_aside["reason"].to_pylist()):
        assert 10 < len(reason) < 900, reason
        assert "; " in reason, reason
        assert reason.isprintable(), reason


def consistent(delivery: Delivery, validation: Validation) -> None:
    """Each line is published, set aside or said twice; what is set aside is why it is no whole acceptance."""
    severities = {finding.severity for finding in validation.findings}
    assert validation.set_aside.schema.equals(ASIDE)
    lines = delivery.rows.num_rows + len(delivery.unreadable)
    if validation.outcome == QUARANTINE:
        assert CRITICAL in severities
        assert validation.annotations is None
        assert validation.readable.schema.equals(Annotation.schema)
        assert validation.readable.num_rows <= delivery.rows.num_rows
        return
    assert CRITICAL not in severities
    assert (validation.outcome == PART) == (SET_ASIDE in severities) == bool(validation.set_aside.num_rows)
    repeated = int(validation.metrics["repeated_lines"])
    assert validation.annotations.num_rows + validation.set_aside.num_rows + repeated == lines
    assert len(set(validation.set_aside["line"].to_pylist())) == validation.set_aside.num_rows


def test_what_is_published_is_what_was_said(judged, good):
    _, validation = judged(CASES[0])
    assert validation.readable.num_rows == 0  # without its batch_id no line is sure
    _, validation = judged(ODD[0])
    published = validation.annotations.select(["task_id", "annotator_id", "grade", "lead_seconds"]).to_pylist()
    wanted = [{name: row[name] for name in ("task_id", "annotator_id", "grade", "lead_seconds")} for row in good]
    assert sorted(map(str, published)) == sorted(map(str, wanted))
