"""How far a judge agrees with people: the sample read strictly, and measures that an independent library confirms."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from rerankops import config
from rerankops.config import ReadingSettings
from rerankops.errors import InputError
from rerankops.evaluation.agreement import JudgeSample, given, kappas, measure, parse
from rerankops.evaluation.judge import Given, Verdict
from rerankops.spreadsheets import as_workbook

ROW = {"question": "多大", "accepted_answers": ["450L"], "answer": "450升", "correct": True}


def lines(*rows: Any) -> bytes:
    return "\n".join(row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows).encode()


# -- the sample -------------------------------------------------------------------------------------------------------


@pytest.fixture
def settings() -> ReadingSettings:
    return config.load(environ={}).reading


def test_json_lines_csv_and_a_workbook_say_the_same(settings: ReadingSettings) -> None:
    second = {"accepted_answers": ["450L", "四百五十升"], "answer": "", "correct": False, "judged_by": "anna"}
    jsonl = lines(ROW, ROW | second)
    csv = '\ufeffquestion,accepted_answers,answer,correct\n多大,450L,450升,是\n多大,"450L\n四百五十升",,no\n'.encode()
    semicolons = "question;answer;accepted_answers;correct\n多大;450升;450L;TRUE\n多大;;450L ｜ 四百五十升;０\n"
    cells = {"question": "多大", "accepted_answers": "450L", "answer": "450升", "correct": "√"}
    workbook = as_workbook(
        list(cells), [cells, cells | {"accepted_answers": "450L|四百五十升", "answer": "", "correct": "错"}]
    )
    table = parse(jsonl, "sample.jsonl", settings)
    for content in (csv, semicolons.encode(), semicolons.encode("gb18030"), workbook):
        assert table.equals(parse(content, "sample", settings))
    assert table.schema.equals(JudgeSample.schema)
    assert table["correct"].to_pylist() == [True, False]
    assert given(table)[1] == Given("多大", ("450L", "四百五十升"), "")


HEADING = b"question,accepted_answers,answer,correct\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"s: no rows"),
        (HEADING, r"s: no rows"),
        (b"question,answer,correct\na,b,1\n", r"s has no column accepted_answers; it has \['question'"),
        (lines(ROW, "{"), r"s:2: not valid JSON"),
        (lines(ROW, "", "[1]"), r"s:3: expected an object"),
        (lines(ROW, {"question": "q"}), r"s:2: column accepted_answers is empty"),
        (lines(ROW, "", {**ROW, "correct": None}), r"s:3: column correct is empty"),
        (lines({**ROW, "correct": "maybe"}), r"s:1: column correct is 'maybe', expected true or false"),
        (lines({**ROW, "correct": 0.5}), r"correct is '?0\.5"),
        (lines({**ROW, "accepted_answers": []}), r"s:1: column accepted_answers is empty"),
        (lines({**ROW, "accepted_answers": [" "]}), r"accepted_answers is empty"),
        (lines({**ROW, "accepted_answers": {"a": 1}}), r"accepted_answers is .*expected a list of texts"),
        (lines({**ROW, "accepted_answers": [450]}), r"accepted_answers is \[450\], expected a list of texts"),
        (lines({**ROW, "question": " "}), r"s:1: column question is ' ', expected a text"),
        (lines({**ROW, "answer": 450}), r"s:1: column answer must be text, found int"),
        (HEADING + b"a,b,c,1,2\n", r"s:2: 5 cells under 4 columns"),
        (HEADING + b'a,"b,c,1\n', r"s:2: not valid CSV \(a quotation mark is opened and not closed\)"),
        (HEADING + b'"a\nb",c,d,1\nq,a,b,maybe\n', r"s:4 \(spreadsheet row 3\): column correct is 'maybe'"),
    ],
)
def test_a_bad_row_is_named_with_file_row_and_column(content: bytes, words: str, settings: ReadingSettings) -> None:
    with pytest.raises(InputError, match=words):
        parse(content, "s", settings)


# -- the measures -----------------------------------------------------------------------------------------------------


def said(*correct: bool | None, by: str = "llm") -> list[Verdict]:
    return [Verdict(one, None if one is None else by, "" if one is not None else "cut: x") for one in correct]  # type: ignore[arg-type]


def sample(people: Sequence[bool], questions: Sequence[str] | None = None) -> Any:
    names = questions or [f"q{n}" for n in range(len(people))]
    return JudgeSample.table(
        {"row": n, "question": name, "accepted_answers": ["a"], "answer": "b", "correct": bool(one)}
        for n, (name, one) in enumerate(zip(names, people, strict=True), start=1)
    )


@pytest.mark.parametrize("seed", range(25))
def test_kappa_and_agreement_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(5, 200))
    people = rng.random(size) < rng.uniform(0.2, 0.8)
    judge = np.where(rng.random(size) < rng.uniform(0.5, 1), people, ~people)
    if people.all() or not people.any():
        people[0] = not people[0]
    found = measure(sample(people.tolist()), said(*judge.tolist()), samples=50, seed=1)
    assert found.kappa == pytest.approx(cohen_kappa_score(people, judge))
    assert found.agreement == pytest.approx(float((people == judge).mean()))


def test_resampled_kappas_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(5)
    tables = rng.integers(0, 30, (40, 4)).astype(float)
    for table, kappa in zip(tables, kappas(tables), strict=True):
        people = np.repeat([False, False, True, True], table.astype(int))
        judge = np.repeat([False, True, False, True], table.astype(int))
        assert kappa == pytest.approx(cohen_kappa_score(people, judge))
    assert np.isnan(kappas(np.array([[5.0, 0, 0, 0]]))[0])
    assert kappas(np.array([[5.0, 0, 5, 0]]))[0] == 0


def test_a_judge_that_says_one_and_the_same_is_no_better_than_chance_and_a_perfect_one_is_perfect() -> None:
    people = [True, False] * 30
    lazy = measure(sample(people), said(*[True] * 60), samples=200, seed=1)
    assert (lazy.agreement, lazy.kappa) == (0.5, 0.0)
    perfect = measure(sample(people), said(*people), samples=200, seed=1)
    assert (perfect.agreement, perfect.kappa, perfect.kappa_interval) == (1.0, 1.0, (1.0, 1.0))
    assert perfect.disagreements == ()
    one_sided = measure(sample([True] * 30), said(*[True] * 30), samples=200, seed=1)
    assert (one_sided.agreement, one_sided.kappa, one_sided.kappa_interval) == (1.0, None, None)


def test_missing_verdicts_are_counted_apart_and_agree_with_nobody() -> None:
    people = [True, True, False, False, True]
    verdicts = [Verdict(True, "containment"), *said(None, False, True, None)]
    found = measure(sample(people), verdicts, samples=100, seed=1)
    assert (found.n, found.judged) == (5, 3)
    assert found.confusion["right"] == {"right": 1, "wrong": 0, "none": 2}
    assert found.confusion["wrong"] == {"right": 1, "wrong": 1, "none": 0}
    intervals = {name: part.pop("interval") for name, part in found.by.items()}
    assert intervals["containment"] == pytest.approx((0.2065, 1.0), abs=5e-5), "Wilson's: one answer shows little"
    assert intervals["llm"] == (0.0, 1.0)
    assert found.by == {
        "containment": {"n": 1, "agreement": 1.0, "false_right": 0, "false_wrong": 0},
        "llm": {"n": 2, "agreement": 0.5, "false_right": 1, "false_wrong": 0},
    }
    assert found.problems == {"cut": 2}
    assert found.disagreements == (4,)
    json.dumps(asdict(found), allow_nan=False)


def test_without_a_verdict_there_is_no_measure() -> None:
    found = measure(sample([True, False]), said(None, None), samples=100, seed=1)
    assert (found.judged, found.agreement, found.agreement_interval, found.kappa) == (0, None, None, None)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(200):
        people = rng.random(120) < 0.5
        judge = np.where(rng.random(120) < 0.85, people, ~people)
        found = measure(sample(people.tolist()), said(*judge.tolist()), samples=300, seed=1)
        assert found.kappa_interval
        covered += found.kappa_interval[0] <= 0.7 <= found.kappa_interval[1]
    assert 178 <= covered <= 199, "95 % of 200, give or take what a percentile bootstrap on 120 answers does"


def test_answers_to_one_question_are_no_independent_evidence() -> None:
    rng = np.random.default_rng(3)
    people = np.repeat(rng.random(20) < 0.5, 10)
    judge = np.where(np.repeat(rng.random(20) < 0.7, 10), people, ~people)
    apart = measure(sample(people.tolist()), said(*judge.tolist()), samples=1000, seed=1)
    names = [f"q{n // 10}" for n in range(200)]
    alike = measure(sample(people.tolist(), names), said(*judge.tolist()), samples=1000, seed=1)
    assert (alike.questions, apart.questions) == (20, 200)
    assert alike.kappa_interval
    assert apart.kappa_interval
    width = [one[1] - one[0] for one in (alike.kappa_interval, apart.kappa_interval)]
    assert width[0] > 2 * width[1]
    theirs = [one.by["llm"]["interval"] for one in (alike, apart)]
    assert theirs[0][1] - theirs[0][0] > 2 * (theirs[1][1] - theirs[1][0])
    assert measure(sample(people.tolist(), names), said(*judge.tolist()), samples=1000, seed=1) == alike
