"""Agreement and adjudication, on a simulated crowd whose truth is known."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from rerankops.annotation import NoAnnotations, agreement, dawid_skene, krippendorff_alpha, merge, weighted_kappa
from rerankops.errors import InputError
from rerankops.records import Annotation, AnnotationTask, Judgment

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
CAREFUL = 0.85
"""How often a careful annotator hits the grade; else they miss it by one."""

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:crowdkit")


def tasks_of(n: int, *, controls: Mapping[int, int] | None = None, batch: str = "b") -> pa.Table:
    return AnnotationTask.table(
        {
            "batch_id": batch,
            "task_id": f"{batch}-t{i:04}",
            "query_id": f"q{i // 6}",
            "passage_id": f"p{i}",
            "query_text": f"query {i // 6}",
            "passage_title": "",
            "passage_text": "text",
            "stratum": "numeric",
            "control_grade": (controls or {}).get(i),
        }
        for i in range(n)
    )


def annotations_of(grades: Mapping[tuple[int, str], int], *, batch: str = "b") -> pa.Table:
    return Annotation.table(
        {
            "batch_id": batch,
            "task_id": f"{batch}-t{task:04}",
            "annotator_id": annotator,
            "grade": grade,
            "annotated_at": WHEN,
        }
        for (task, annotator), grade in grades.items()
    )


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


def majority(crowd: Mapping[tuple[int, str], int]) -> np.ndarray:
    by_task = itertools.groupby(sorted(crowd), key=lambda key: key[0])
    return np.array([np.bincount([crowd[key] for key in keys], minlength=4).argmax() for _, keys in by_task])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_careless_annotators_weigh_less_than_in_a_majority(seed):
    truth, crowd = simulated(seed)
    judgments = dawid_skene(annotations_of(crowd), tasks_of(600), iterations=20)
    assert judgments.schema.equals(Judgment.schema)
    assert judgments.num_rows == 600
    assert accuracy(judgments, truth) > np.mean(majority(crowd) == truth) + 0.02


def test_confidence_says_where_it_is_right(truth, crowd):
    judgments = dawid_skene(annotations_of(crowd), tasks_of(600), iterations=20)
    confidence = judgments["confidence"].to_numpy()
    sure, unsure = (judgments.filter(pa.array(which)) for which in (confidence > 0.95, confidence < 0.8))
    assert accuracy(sure, truth) > accuracy(unsure, truth) + 0.2
    assert confidence.min() > 0
    assert confidence.max() <= 1


def test_what_a_judgment_carries(crowd):
    judgments = dawid_skene(annotations_of(crowd), tasks_of(600), iterations=20)
    row = judgments.to_pylist()[0]
    assert (row["query_id"], row["query_text"], row["stratum"]) == ("q0", "query 0", "numeric")
    assert (row["origin"], row["annotator_count"]) == ("human", 3)
    keys = list(zip(judgments["query_id"].to_pylist(), judgments["passage_id"].to_pylist(), strict=True))
    assert keys == sorted(keys)


def test_the_order_of_annotations_does_not_matter(crowd):
    annotations, tasks = annotations_of(crowd), tasks_of(600)
    judgments = dawid_skene(annotations, tasks, iterations=20)
    assert judgments.equals(dawid_skene(annotations[::-1], tasks[::-1], iterations=20))


def test_controls_are_no_judgments(truth, crowd):
    controls = {task: int(truth[task]) for task in range(0, 600, 10)}
    judgments = dawid_skene(annotations_of(crowd), tasks_of(600, controls=controls), iterations=20)
    assert judgments.num_rows == 540
    assert not {f"p{task}" for task in controls} & set(judgments["passage_id"].to_pylist())


def test_one_annotator_is_believed(truth):
    alone = {(task, "a"): int(grade) for task, grade in enumerate(truth[:50])}
    judgments = dawid_skene(annotations_of(alone), tasks_of(50), iterations=20)
    assert accuracy(judgments, truth) == 1
    assert set(judgments["annotator_count"].to_pylist()) == {1}


def test_one_annotation_is_a_judgment():
    judgments = dawid_skene(annotations_of({(0, "a"): 2}), tasks_of(1), iterations=20)
    assert judgments.select(["grade", "confidence"]).to_pylist() == [{"grade": 2, "confidence": 1.0}]


def test_a_pair_labelled_in_two_batches_is_one_judgment():
    annotations = pa.concat_tables(
        [annotations_of({(0, "a"): 2, (0, "b"): 2}), annotations_of({(0, "c"): 2}, batch="later")]
    )
    tasks = pa.concat_tables([tasks_of(1), tasks_of(1, batch="later")])
    judgments = dawid_skene(annotations, tasks, iterations=5)
    assert judgments["annotator_count"].to_pylist() == [3]


def test_nothing_to_adjudicate_is_an_error_that_says_so():
    with pytest.raises(NoAnnotations, match=r"no task but controls has a grade, among 0 annotation"):
        dawid_skene(Annotation.empty(), tasks_of(3), iterations=5)
    with pytest.raises(NoAnnotations, match="no task but controls has a grade, among 1 annotation"):
        dawid_skene(annotations_of({(0, "a"): 3}), tasks_of(1, controls={0: 3}), iterations=5)


def test_unvalidated_annotations_are_refused_by_name():
    with pytest.raises(InputError, match="an unknown task, the first is grade 2 of task 'b-t0005' by annotator 'a'"):
        dawid_skene(annotations_of({(5, "a"): 2}), tasks_of(1), iterations=5)
    with pytest.raises(InputError, match=r"a grade outside 0\.\.1, .* grade 2 of task 'b-t0000'"):
        dawid_skene(annotations_of({(0, "a"): 2}), tasks_of(1), iterations=5, n_grades=2)


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


def alpha_by_hand(units: list[list[int]]) -> float:
    """Krippendorff (2011), from the coincidence matrix, ordinal difference."""
    units = [unit for unit in units if len(unit) > 1]
    coincidences = np.zeros((4, 4))
    for unit in units:
        for c, k in itertools.permutations(unit, 2):
            coincidences[c, k] += 1 / (len(unit) - 1)
    n = coincidences.sum(axis=0)
    distance = np.array(
        [[(n[min(c, k) : max(c, k) + 1].sum() - (n[c] + n[k]) / 2) ** 2 for k in range(4)] for c in range(4)]
    )
    expected = (np.outer(n, n) * distance).sum() / (n.sum() - 1)
    return float(1 - (coincidences * distance).sum() / expected)


def test_alpha_is_krippendorffs_with_ordinal_distance(crowd):
    lonely = {(task, "a"): 3 for task in range(600, 620)}
    units = [[crowd[key] for key in keys] for _, keys in itertools.groupby(sorted(crowd), key=lambda key: key[0])]
    alpha = krippendorff_alpha(annotations_of({**crowd, **lonely}))
    assert alpha == pytest.approx(alpha_by_hand(units))
    assert 0.2 < alpha < 0.8


def test_people_who_agree_have_full_agreement_and_nearer_grades_agree_more():
    def both(other: Callable[[int], int]) -> pa.Table:
        return annotations_of(
            {(task, who): task % 4 if who == "a" else other(task % 4) for task in range(40) for who in "ab"}
        )

    same, near, far = (
        agreement(both(other)) for other in (lambda g: g, lambda g: max(g, 1), lambda g: 3 if g == 0 else g)
    )
    assert (same.alpha, same.kappa) == (pytest.approx(1), pytest.approx(1))
    assert (same.tasks, same.annotators, same.pairs) == (40, 2, 1)
    assert near.alpha > far.alpha
    assert near.kappa > far.kappa


def test_kappa_is_the_mean_over_pairs_by_their_shared_tasks():
    from sklearn.metrics import cohen_kappa_score

    a, b, c = [0, 1, 2, 3, 0, 3], [0, 1, 2, 3, 1, 2], [3, 0, 2]
    grades = {
        (task, who): grade for who, given in zip("abc", (a, b, c), strict=True) for task, grade in enumerate(given)
    }
    pairs = [(a, b), (a[:3], c), (b[:3], c)]
    scores = [cohen_kappa_score(x, y, labels=range(4), weights="quadratic") for x, y in pairs]
    assert weighted_kappa(annotations_of(grades)) == pytest.approx(np.average(scores, weights=[6, 3, 3]))


def test_agreement_of_nobody_with_nobody_is_unknown():
    assert agreement(Annotation.empty()).alpha is None
    assert agreement(annotations_of({(0, "a"): 1, (1, "b"): 2})).kappa is None
    constant = agreement(annotations_of({(task, who): 2 for task in range(5) for who in "ab"}))
    assert (constant.alpha, constant.kappa, constant.tasks) == (None, None, 5)


def test_importing_the_room_imports_nothing_slow():
    code = (
        "import sys, rerankops.annotation, rerankops.annotation.quarantine; "
        "print({'great_expectations', 'crowdkit', 'pandas', 'sklearn', 'torch', 'mlflow'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "set()"
