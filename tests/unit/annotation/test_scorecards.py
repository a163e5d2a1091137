"""Scorecards and their page, on a crowd whose habits are known."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest

from rerankops.annotation import adjudicate, gather
from rerankops.annotation.scorecards import Report, render, report
from rerankops.config import load
from rerankops.records import VERDICTS, Annotation, AnnotationTask, Scorecard

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
TASKS, CONTROLS = 400, 40
HOSTILE = "<script>alert('x')</script>"
HABITS = {"careful": 0.0, "lenient": 0.25, "strict": -0.25, "random": None, HOSTILE: 0.0}


def crowd(seed: int) -> tuple[pa.Table, pa.Table]:
    """Everyone grades every task; the newcomer the first ten only."""
    rng = np.random.default_rng(seed)
    truth = np.where(np.arange(TASKS) < CONTROLS, rng.choice([0, 3], TASKS), rng.integers(4, size=TASKS))
    tasks = AnnotationTask.table(
        {
            "batch_id": "b",
            "task_id": f"t{n:04}",
            "query_id": f"q{n // 6}",
            "passage_id": f"p{n}",
            "query_text": "query",
            "passage_title": "",
            "passage_text": "text",
            "stratum": "numeric" if n % 2 else HOSTILE,
            "control_grade": int(truth[n]) if n < CONTROLS else None,
        }
        for n in range(TASKS)
    )

    def said(grade: int, lean: float | None) -> int:
        if lean is None:
            return int(rng.integers(4))
        return int(np.clip(grade + np.sign(lean) * (rng.random() < abs(lean)), 0, 3))

    rows = [
        {
            "batch_id": "b",
            "task_id": f"t{n:04}",
            "annotator_id": who,
            "grade": said(int(truth[n]), lean),
            "annotated_at": WHEN + timedelta(seconds=20 * n),
            "lead_seconds": 7.5 if who == "careful" else None,
        }
        for who, lean in [*HABITS.items(), ("newcomer", 0.0)]
        for n in range(10 if who == "newcomer" else TASKS)
    ]
    return Annotation.table(rows), tasks


@pytest.fixture(scope="module")
def found() -> Report:
    annotations, tasks = crowd(1)
    settings = load(environ={}).adjudication
    return report(adjudicate(gather(annotations, tasks), settings), annotations, settings, set_aside={"random": 100})


@pytest.fixture(scope="module")
def cards(found: Report) -> dict[str, dict]:
    assert found.cards.schema.equals(Scorecard.schema)
    return {row["annotator_id"]: row for row in found.cards.to_pylist()}


def test_verdicts_tell_habits_apart_and_say_nothing_of_newcomers(found, cards):
    assert {name: card["verdict"] for name, card in cards.items()} == {
        "careful": "fine",
        "lenient": "fine",
        "strict": "fine",
        "random": "careless",
        HOSTILE: "fine",
        "newcomer": "unknown",
    }
    verdicts = found.cards["verdict"].to_pylist()
    assert verdicts == sorted(verdicts, key=VERDICTS.index)
    assert found.careless == 1


def test_bias_is_how_lenient_people_are(cards):
    assert cards["lenient"]["bias"] > 0.1
    assert cards["strict"]["bias"] < -0.1
    assert abs(cards["careful"]["bias"]) < 0.05


def test_numbers_of_tasks_and_controls_and_how_many_passed(cards):
    assert (cards["careful"]["tasks"], cards["careful"]["controls"]) == (TASKS - CONTROLS, CONTROLS)
    assert (cards["newcomer"]["tasks"], cards["newcomer"]["controls"]) == (0, 10)
    assert cards["newcomer"]["agreement"] is None
    assert cards["careful"]["control_accuracy"] == 1
    assert cards["careful"]["control_high"] == 1
    assert cards["careful"]["control_low"] == pytest.approx(0.912, abs=1e-3)
    assert cards["random"]["control_accuracy"] < 0.8
    assert cards["newcomer"]["control_low"] < cards["careful"]["control_low"]


def test_kappa_with_truth_and_with_others(cards):
    assert cards["careful"]["kappa"] > cards["strict"]["kappa"] > 0.8
    assert abs(cards["random"]["kappa"]) < 0.2
    assert abs(cards["random"]["kappa_with_others"]) < 0.2
    assert cards["careful"]["kappa_with_others"] > 0.5
    assert cards["newcomer"]["kappa_with_others"] is None


def test_speed_is_measured_or_the_time_between_answers(cards):
    assert cards["careful"]["seconds"] == 7.5
    assert cards["strict"]["seconds"] == 20


def test_what_was_set_aside_counts_against_all_that_was_answered(cards):
    assert cards["random"]["set_aside"] == pytest.approx(100 / (TASKS + 100))
    assert cards["strict"]["set_aside"] == 0


class Page(HTMLParser):
    """Collects tags and checks that they are closed in order."""

    void = frozenset({"meta", "br", "link", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.addresses: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone_and_escapes_names(found):
    text = render(found, title=f"Annotators {HOSTILE}")
    page = Page(text)
    assert "script" not in page.seen
    assert page.addresses == []
    assert "&lt;script&gt;" in text
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text
    assert not re.search(r"url\(|@import|https?://", text)


def test_the_page_shows_every_annotator_stratum_and_matrix(found):
    text = render(found, title="Annotators")
    for name in ("careful", "lenient", "strict", "random", "newcomer"):
        assert text.count(name) >= 2
    assert text.count("<details>") == 6
    assert "too few answers to tell" in text
    assert "numeric" in text
    assert text == render(found, title="Annotators")
