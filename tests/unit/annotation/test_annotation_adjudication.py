"""Adjudication, on simulated crowds whose truth is known, and against crowd-kit."""

from __future__ import annotations

import itertools
import subprocess
import sys
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from rerankops.annotation import NoAnnotations, adjudicate, gather, merge
from rerankops.annotation.adjudication import Contested, adjudication_tasks, is_for_adjudication
from rerankops.annotation.answers import ADJUDICATION
from rerankops.annotation.confusion import careless_probability, fit, kappa
from rerankops.config import AdjudicationSettings, load
from rerankops.errors import InputError
from rerankops.records import Annotation, AnnotationTask, Judgment

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
CAREFUL = 0.85
"""How often a careful annotator hits the grade; else they miss it by one."""


def settings(**changes: Any) -> AdjudicationSettings:
    return load(environ={}).adjudication.model_copy(update=changes)


def tasks_of(
    n: int, *, controls: Mapping[int, int] | None = None, batch: str = "b", chosen_for: str = "random"
) -> pa.Table:
    return AnnotationTask.table(
        {
            "batch_id": batch,
            "task_id": f"{batch}-t{i:04}",
            "query_id": f"q{i // 6}",
            "passage_id": f"p{i}",
            "query_text": f"query {i // 6}",
            "passage_title": f"title {i}",
            "passage_text": f"text {i}",
            "stratum": "numeric",
            "control_grade": (controls or {}).get(i),
            "chosen_for": chosen_for,
        }
        for i in range(n)
    )


def annotations_of(grades: Mapping[tuple[int, str], int], *, batch: str = "b", at: datetime = WHEN) -> pa.Table:
    return Annotation.table(
        {"batch_id": batch, "task_id": f"{batch}-t{task:04}", "annotator_id": who, "grade": grade, "annotated_at": at}
        for (task, who), grade in grades.items()
    )


def judged(annotations: pa.Table, tasks: pa.Table, **changes: Any) -> pa.Table:
    chosen = settings(**changes)
    return adjudicate(gather(annotations, tasks, adjudicators=chosen.adjudicators), chosen).judgments()


def simulated(seed: int) -> tuple[np.ndarray, dict[tuple[int, str], int]]:
    """600 true grades, and what three of five people said of each; d and e press keys at random."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(4, size=600, p=[0.5, 0.2, 0.15, 0.15])

    def said(grade: int, who: str) -> int:
        if who in "de":
            return int(rng.integers(4))
        return int(grade if rng.random() < CAREFUL else np.clip(grade + rng.choice([-1, 1]), 0, 3))

    crowd = {
        (task, who): said(grade, who)
        for task, grade in enumerate(truth)
        for who in map(str, rng.choice(list("abcde"), size=3, replace=False))
    }
    return truth, crowd


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return simulated(3)[0]


@pytest.fixture(scope="module")
def crowd() -> dict[tuple[int, str], int]:
    return simulated(3)[1]


def accuracy(judgments: pa.Table, truth: np.ndarray) -> float:
    passages = [int(passage[1:]) for passage in judgments["passage_id"].to_pylist()]
    return float(np.mean(truth[passages] == np.array(judgments["grade"].to_pylist())))


def by_task(crowd: Mapping[tuple[int, str], int]) -> list[list[int]]:
    return [[crowd[key] for key in keys] for _, keys in itertools.groupby(sorted(crowd), key=lambda key: key[0])]


# -- Dawid and Skene ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_careless_annotators_weigh_less_than_in_a_majority(seed):
    truth, crowd = simulated(seed)
    annotations, tasks = annotations_of(crowd), tasks_of(600)
    found, counted = judged(annotations, tasks), judged(annotations, tasks, method="majority")
    assert found.schema.equals(Judgment.schema)
    assert found.num_rows == counted.num_rows == 600
    assert accuracy(found, truth) > accuracy(counted, truth) + 0.02


@pytest.mark.parametrize("known", [(), range(0, 600, 9)])
def test_without_a_prior_it_is_crowd_kits_maximum_likelihood(truth, crowd, known):
    """Also where some grades are known: theirs counts those into the frequencies, so that they are made no controls."""
    from crowdkit.aggregation import DawidSkene

    answers = gather(annotations_of(crowd), tasks_of(600))
    fixed = np.full((600, 4), np.nan)
    place = {int(name[1:]): row for row, name in enumerate(answers.items["passage_id"])}
    fixed[[place[task] for task in known]] = np.eye(4)[truth[list(known)]]
    ours = fit(answers, fixed, iterations=20, prior_answers=0)
    rows = pd.DataFrame(
        [(task, who, grade) for (task, who), grade in crowd.items()], columns=["task", "worker", "label"]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels = pd.Series({task: truth[task] for task in known}) if known else None
        theirs = DawidSkene(n_iter=20, tol=-np.inf).fit_predict_proba(rows, labels)
    order = [int(name[1:]) for name in answers.items["passage_id"]]
    assert ours.iterations == 20
    assert ours.posterior == pytest.approx(theirs.loc[order, [0, 1, 2, 3]].to_numpy(), abs=1e-6)


def test_a_prior_makes_confidence_honest_where_people_answered_little():
    """Twenty people, 30 answers each: maximum likelihood is surer than it is right."""
    gaps = {0: [], settings().prior_answers: []}
    for seed in range(8):
        rng = np.random.default_rng(seed)
        truth = rng.choice(4, size=200, p=[0.5, 0.2, 0.15, 0.15])
        crowd = {
            (task, f"w{who:02}"): int(
                rng.integers(4) if who % 5 == 4 else np.clip(grade + rng.choice([-1, 0, 1], p=[0.1, 0.8, 0.1]), 0, 3)
            )
            for task, grade in enumerate(truth)
            for who in rng.choice(20, size=3, replace=False)
        }
        for prior, found in gaps.items():
            table = judged(annotations_of(crowd), tasks_of(200), prior_answers=prior)
            found.append(table["confidence"].to_numpy().mean() - accuracy(table, truth))
    likelihood, smoothed = (np.mean(found) for found in gaps.values())
    assert likelihood > 0.03
    assert abs(smoothed) < likelihood / 2


def test_confidence_says_where_it_is_right(truth, crowd):
    judgments = judged(annotations_of(crowd), tasks_of(600))
    confidence = judgments["confidence"].to_numpy()
    sure, unsure = (judgments.filter(pa.array(which)) for which in (confidence > 0.95, confidence < 0.8))
    assert accuracy(sure, truth) > accuracy(unsure, truth) + 0.2
    assert confidence.min() > 0
    assert confidence.max() <= 1


def test_what_a_judgment_carries(crowd):
    judgments = judged(annotations_of(crowd), tasks_of(600))
    row = judgments.to_pylist()[0]
    assert (row["query_id"], row["query_text"], row["stratum"]) == ("q0", "query 0", "numeric")
    assert (row["origin"], row["annotator_count"]) == ("human", 3)
    keys = list(zip(judgments["query_id"].to_pylist(), judgments["passage_id"].to_pylist(), strict=True))
    assert keys == sorted(keys)


def test_the_order_of_annotations_does_not_matter(crowd):
    annotations, tasks = annotations_of(crowd), tasks_of(600, controls={5: 0, 50: 3})
    assert judged(annotations, tasks).equals(judged(annotations[::-1], tasks[::-1]))


def test_controls_are_no_judgments_but_tell_who_is_right(truth, crowd):
    controls = {task: int(truth[task]) for task in range(0, 600, 10)}
    annotations, tasks = annotations_of(crowd), tasks_of(600, controls=controls)
    judgments = judged(annotations, tasks)
    assert judgments.num_rows == 540
    assert not {f"p{task}" for task in controls} & set(judgments["passage_id"].to_pylist())
    contradicted = {task: 3 - grade for task, grade in controls.items()}
    misled = judged(annotations, tasks_of(600, controls=contradicted))
    assert misled["confidence"].to_numpy().mean() < judgments["confidence"].to_numpy().mean()


def test_a_pair_that_is_also_a_control_is_judged_by_what_was_said_of_it_elsewhere():
    asked = annotations_of({(0, "a"): 2, (0, "b"): 2, (1, "a"): 0, (1, "b"): 0})
    control = annotations_of({(0, "a"): 0, (0, "b"): 0}, batch="later")
    tasks = pa.concat_tables([tasks_of(2), tasks_of(1, batch="later", controls={0: 0})])
    judgments = judged(pa.concat_tables([asked, control]), tasks)
    assert judgments["grade"].to_pylist() == [2, 0]
    assert judgments["annotator_count"].to_pylist() == [2, 2]


def test_one_annotator_is_believed(truth):
    alone = {(task, "a"): int(grade) for task, grade in enumerate(truth[:50])}
    judgments = judged(annotations_of(alone), tasks_of(50))
    assert accuracy(judgments, truth) == 1
    assert set(judgments["annotator_count"].to_pylist()) == {1}


def test_one_annotation_is_a_judgment_that_is_not_certain():
    judgment = judged(annotations_of({(0, "a"): 2}), tasks_of(1)).to_pylist()[0]
    assert judgment["grade"] == 2
    assert 0.5 < judgment["confidence"] < 0.98


def test_a_pair_labelled_in_two_batches_is_one_judgment():
    annotations = pa.concat_tables(
        [annotations_of({(0, "a"): 2, (0, "b"): 2}), annotations_of({(0, "c"): 2}, batch="later")]
    )
    judgments = judged(annotations, pa.concat_tables([tasks_of(1), tasks_of(1, batch="later")]))
    assert judgments["annotator_count"].to_pylist() == [3]


def test_who_grades_a_pair_again_means_the_newer_grade():
    later = annotations_of({(0, "a"): 3, (0, "b"): 3}, batch="later", at=WHEN + timedelta(hours=1))
    annotations = pa.concat_tables([later, annotations_of({(0, "a"): 0, (0, "b"): 0})])
    judgment = judged(annotations, pa.concat_tables([tasks_of(1), tasks_of(1, batch="later")])).to_pylist()[0]
    assert (judgment["grade"], judgment["annotator_count"]) == (3, 2)


@pytest.mark.parametrize("corrected", [0, 3])
@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_of_two_answers_with_the_same_time_the_one_that_was_delivered_later_is_the_correction(corrected, order):
    both = [annotations_of({(0, "a"): grade, (0, "b"): grade}) for grade in (3 - corrected, corrected)]
    annotations, delivered = pa.concat_tables([both[place] for place in order]), np.repeat(np.array(order), 2)
    answers = gather(annotations, tasks_of(1), delivered=delivered)
    assert answers.grade.tolist() == [corrected, corrected]


def test_nothing_to_adjudicate_is_an_error_that_says_so():
    with pytest.raises(NoAnnotations, match=r"no task but controls has a grade, among 0 annotation"):
        judged(Annotation.empty(), tasks_of(3))
    with pytest.raises(NoAnnotations, match="no task but controls has a grade, among 1 annotation"):
        judged(annotations_of({(0, "a"): 3}), tasks_of(1, controls={0: 3}))


def test_unvalidated_annotations_are_refused_by_name():
    with pytest.raises(InputError, match="an unknown task, the first is grade 2 of task 'b-t0005' by annotator 'a'"):
        gather(annotations_of({(5, "a"): 2}), tasks_of(1))
    with pytest.raises(InputError, match=r"a grade outside 0\.\.1, .* grade 2 of task 'b-t0000'"):
        gather(annotations_of({(0, "a"): 2}), tasks_of(1), n_grades=2)


# -- majority and mean ----------------------------------------------------------------------------------------------


def test_the_majority_is_what_most_said_and_ties_go_to_the_middle(crowd):
    votes = {0: [3, 3, 0], 1: [0, 1, 3], 2: [0, 3], 3: [1, 2, 2, 1], 4: [3, 3, 0, 0, 1]}
    grades = {(task, f"a{place}"): grade for task, given in votes.items() for place, grade in enumerate(given)}
    table = judged(annotations_of(grades), tasks_of(5), method="majority")
    assert table["grade"].to_pylist() == [3, 1, 0, 1, 0]
    assert table["confidence"].to_pylist() == pytest.approx([2 / 3, 1 / 3, 1 / 2, 1 / 2, 2 / 5])


def test_the_mean_is_rounded_with_halves_down(crowd):
    found = judged(annotations_of(crowd), tasks_of(600), method="mean").sort_by("passage_id")
    by_hand = {f"p{task}": int(np.ceil(np.mean(given) - 0.5)) for task, given in enumerate(by_task(crowd))}
    assert dict(zip(found["passage_id"].to_pylist(), found["grade"].to_pylist(), strict=True)) == by_hand
    lone = judged(annotations_of({(0, "a"): 0, (0, "b"): 3}), tasks_of(1), method="mean").to_pylist()[0]
    assert (lone["grade"], lone["confidence"]) == (1, pytest.approx(0.5))


# -- careless annotators --------------------------------------------------------------------------------------------


def test_kappa_of_a_matrix_is_scikit_learns():
    from sklearn.metrics import cohen_kappa_score

    rng = np.random.default_rng(0)
    joint = rng.integers(1, 50, (4, 4))
    true, said = (values.ravel() for values in np.meshgrid(range(4), range(4), indexing="ij"))
    expected = cohen_kappa_score(true, said, weights="quadratic", sample_weight=joint.ravel())
    rows = joint.sum(axis=1, keepdims=True)
    assert kappa(joint / rows, rows[:, 0] / joint.sum()) == pytest.approx(expected)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_who_presses_keys_is_careless_with_certainty_and_others_are_not(seed):
    _, crowd = simulated(seed)
    chosen = settings()
    found = adjudicate(gather(annotations_of(crowd), tasks_of(600)), chosen)
    careless = careless_probability(found.crowd, limit=chosen.careless_kappa, draws=1000, seed=0)
    assert (careless > chosen.careless_certainty).tolist() == [False, False, False, True, True]


def test_few_answers_make_nobody_certainly_careless():
    """The same habits with 15, 60 and 400 answers each, ten crowds each: the doubt goes away with the number."""
    sure = []
    for n in (12, 40, 400):
        found = []
        for seed in range(10):
            rng = np.random.default_rng(seed)
            truth = rng.integers(4, size=n)
            crowd = {(task, who): int(grade) for task, grade in enumerate(truth) for who in "ab"}
            wrong = rng.random(n) < 0.3
            crowd |= {(task, "c"): int((grade + 2) % 4 if wrong[task] else grade) for task, grade in enumerate(truth)}
            fitted = adjudicate(gather(annotations_of(crowd), tasks_of(n)), settings()).crowd
            found.append(careless_probability(fitted, limit=0.667, draws=200, seed=0)[2])
        sure.append(np.mean(np.array(found) > 0.9))
    assert sure == sorted(sure)
    assert sure[0] < sure[2]
    assert sure[2] == 1


# -- to an adjudicator ----------------------------------------------------------------------------------------------


@pytest.fixture
def disputed() -> tuple[pa.Table, pa.Table]:
    """Three of nine people a pair: 40 pairs on which they agree, and pairs 40 to 43 on which they do not."""
    grades = {(task, "abcdefghi"[(task + n) % 9]): task % 4 for task in range(40) for n in (0, 3, 7)}
    differ = {40: "a0 b3 c1", 41: "d3 e1 f0", 42: "g1 h0 i3", 43: "c0 e3 g2"}
    grades |= {(task, said[0]): int(said[1]) for task, given in differ.items() for said in given.split()}
    return annotations_of(grades), tasks_of(44)


def test_what_people_differ_on_is_contested(disputed):
    annotations, tasks = disputed
    found = adjudicate(gather(annotations, tasks), settings())
    table = found.contested(settings())
    assert table.schema.equals(Contested.schema)
    assert sorted(table["passage_id"].to_pylist()) == ["p40", "p41", "p42", "p43"]
    assert set(table["spread"].to_pylist()) == {3}
    entropies = table["entropy"].to_pylist()
    assert entropies == sorted(entropies, reverse=True)
    assert found.contested(settings(contested_confidence=0.0, contested_spread=4)).num_rows == 0


def test_an_adjudication_batch_asks_each_pair_once_as_it_was_read(disputed):
    annotations, tasks = disputed
    contested = adjudicate(gather(annotations, tasks), settings()).contested(settings())
    batch = adjudication_tasks(contested, tasks, batch_id="x", at_most=3)
    assert batch.num_rows == 3
    assert is_for_adjudication(batch)
    assert not is_for_adjudication(tasks)
    assert not is_for_adjudication(AnnotationTask.empty())
    assert set(batch["passage_id"].to_pylist()) == set(contested["passage_id"].to_pylist()[:3])
    row = batch.to_pylist()[0]
    number = row["passage_id"][1:]
    assert (row["passage_title"], row["passage_text"]) == (f"title {number}", f"text {number}")
    assert row["control_grade"] is None
    assert adjudication_tasks(contested, tasks[::-1], batch_id="x", at_most=3).equals(batch)
    assert not set(adjudication_tasks(contested, tasks, batch_id="y", at_most=3)["task_id"].to_pylist()) & set(
        batch["task_id"].to_pylist()
    )
    assert adjudication_tasks(Contested.empty(), tasks, batch_id="x", at_most=3).num_rows == 0


def answered(disputed: tuple[pa.Table, pa.Table], by: Mapping[str, int], **changes: Any) -> dict[str, Any]:
    """The judgment of pair 40 after adjudicators answered it, and whether it is still contested."""
    annotations, tasks = disputed
    experts = annotations_of({(40, who): grade for who, grade in by.items()}, batch="x", at=WHEN + timedelta(days=1))
    theirs = tasks_of(41, batch="x", chosen_for=ADJUDICATION)
    chosen = settings(**changes)
    answers = gather(
        pa.concat_tables([annotations, experts]), pa.concat_tables([tasks, theirs]), adjudicators=chosen.adjudicators
    )
    found = adjudicate(answers, chosen)
    row = next(row for row in found.judgments().to_pylist() if row["passage_id"] == "p40")
    return row | {"contested": "p40" in found.contested(chosen)["passage_id"].to_pylist()}


@pytest.mark.parametrize("method", ["dawid_skene", "majority", "mean"])
def test_what_an_adjudicator_says_stands(disputed, method):
    row = answered(disputed, {"expert": 2}, method=method)
    assert (row["grade"], row["confidence"], row["annotator_count"]) == (2, 0.95, 4)
    assert not row["contested"]


def test_adjudicators_who_differ_are_less_sure(disputed):
    row = answered(disputed, {"e1": 2, "e2": 2, "e3": 1})
    assert (row["grade"], row["confidence"]) == (2, pytest.approx(0.95 * 2 / 3))


def test_only_named_adjudicators_settle_a_pair(disputed):
    assert answered(disputed, {"expert": 2}, adjudicators=("expert",))["confidence"] == 0.95
    row = answered(disputed, {"i": 2}, adjudicators=("expert",))
    assert row["confidence"] < 0.95
    assert row["annotator_count"] == 4
    assert row["contested"]


def test_what_adjudicators_settle_tells_who_is_right(disputed):
    """Two against one on 40 pairs; adjudicators side with the one on half of them."""
    grades = {(task, who): 0 if who == "c" else 2 for task in range(40) for who in "abc"}
    grades |= {(task, who): task % 4 for task in range(40, 80) for who in "abc"}
    settled = annotations_of({(task, "expert"): 0 for task in range(0, 40, 2)}, batch="x")
    tasks = pa.concat_tables([tasks_of(80), tasks_of(80, batch="x", chosen_for=ADJUDICATION)])
    before = judged(annotations_of(grades), tasks_of(80))
    after = judged(pa.concat_tables([annotations_of(grades), settled]), tasks)
    pair = before["passage_id"].to_pylist().index("p1")
    assert before["grade"][pair].as_py() == 2
    assert after["grade"][pair].as_py() == 0


# -- into the old ---------------------------------------------------------------------------------------------------


def test_newer_judgments_replace_older_ones_of_the_same_origin():
    row = {"query_text": "x", "stratum": "numeric", "query_id": "q", "confidence": 1.0, "annotator_count": 1}
    old = Judgment.table(
        [
            {**row, "passage_id": "a", "grade": 0, "origin": "human"},
            {**row, "passage_id": "b", "grade": 1, "origin": "human"},
            {**row, "passage_id": "a", "grade": 2, "origin": "teacher"},
        ]
    )
    new = Judgment.table([{**row, "passage_id": "a", "grade": 3, "origin": "human"}])
    merged = merge(old, new)
    assert [(row["passage_id"], row["origin"], row["grade"]) for row in merged.to_pylist()] == [
        ("a", "human", 3),
        ("a", "teacher", 2),
        ("b", "human", 1),
    ]
    assert merge(Judgment.empty(), new).equals(new)
    assert merge(old, Judgment.empty()).num_rows == 3


def test_importing_the_room_imports_nothing_slow():
    code = (
        "import sys, rerankops.annotation, rerankops.annotation.quarantine, rerankops.annotation.scorecards; "
        "print({'great_expectations', 'crowdkit', 'pandas', 'sklearn', 'scipy', 'torch', 'mlflow', 'jinja2'} "
        "& set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "set()"
