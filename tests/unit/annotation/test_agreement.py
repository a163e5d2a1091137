"""Agreement against published figures, crowd-kit and scikit-learn."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from rerankops.annotation import Agreement, agreement, gather, krippendorff_alpha, weighted_kappa
from rerankops.annotation.agreement import by_stratum, mean_kappa, of_answers, pairwise
from rerankops.errors import InputError
from rerankops.records import Annotation, AnnotationTask

Crowd = Mapping[tuple[int, str], int]

PUBLISHED = """
1 2 3 3 2 1 4 1 2 . . .
1 2 3 3 2 2 4 1 2 5 . 3
. 3 3 3 2 3 4 2 2 5 1 .
1 2 3 3 2 4 4 1 2 5 1 .
"""
"""Krippendorff (2011), data C: four observers, twelve units, five values, some missing; ordinal alpha .815."""


def annotations_of(crowd: Crowd, batch: str = "b") -> pa.Table:
    return Annotation.table(
        {
            "batch_id": batch,
            "task_id": f"t{task:04}",
            "annotator_id": who,
            "grade": grade,
            "annotated_at": datetime(2026, 1, 1, tzinfo=UTC),
        }
        for (task, who), grade in crowd.items()
    )


@pytest.fixture(scope="module")
def crowd() -> dict[tuple[int, str], int]:
    """400 tasks, two to four of six people each; the later ones agree less."""
    rng = np.random.default_rng(3)
    given = {}
    for task in range(400):
        grade = rng.integers(4)
        for who in rng.choice(6, size=rng.integers(2, 5), replace=False):
            noise = rng.choice([-1, 1]) if rng.random() < 0.1 * (1 + who) else 0
            given[task, f"person-{who}"] = int(np.clip(grade + noise, 0, 3))
    return given


def units(crowd: Crowd) -> list[list[int]]:
    ordered = sorted(crowd)
    return [[crowd[key] for key in keys] for _, keys in itertools.groupby(ordered, key=lambda key: key[0])]


def alpha_by_hand(values: list[list[int]], n_grades: int = 4) -> float:
    """Krippendorff (2011), from the coincidence matrix, ordinal difference."""
    coincidences = np.zeros((n_grades, n_grades))
    for unit in values:
        for c, k in itertools.permutations(unit, 2) if len(unit) > 1 else ():
            coincidences[c, k] += 1 / (len(unit) - 1)
    n = coincidences.sum(axis=0)
    indices = range(n_grades)
    distance = np.array(
        [[(n[min(c, k) : max(c, k) + 1].sum() - (n[c] + n[k]) / 2) ** 2 for k in indices] for c in indices]
    )
    expected = (np.outer(n, n) * distance).sum() / (n.sum() - 1)
    return float(1 - (coincidences * distance).sum() / expected)


def published(values: range) -> list[list[int]]:
    rows = [line.split() for line in PUBLISHED.split("\n") if line]
    columns = [[int(value) for value in column if value != "."] for column in zip(*rows, strict=True)]
    return [[value - 1 for value in column if value in values] for column in columns]


def test_the_formula_gives_the_published_alpha():
    assert alpha_by_hand(published(range(1, 6)), n_grades=5) == pytest.approx(0.815, abs=5e-4)


def test_alpha_is_that_of_the_formula_on_the_published_data():
    """Its fifth value does not fit our grades: the unit that holds it is left out of both."""
    values = [unit for unit in published(range(1, 5)) if unit]
    crowd = {(task, str(place)): grade for task, unit in enumerate(values) for place, grade in enumerate(unit)}
    assert krippendorff_alpha(annotations_of(crowd)) == pytest.approx(alpha_by_hand(values))


def test_alpha_is_crowd_kits(crowd):
    from crowdkit.metrics.data import alpha_krippendorff

    shared = [(task, who, grade) for (task, who), grade in crowd.items()]
    counts = np.bincount([grade for _, _, grade in shared], minlength=4)
    middle = counts.cumsum() - counts / 2
    squared = (middle[:, None] - middle) ** 2
    distance = squared / squared.max()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = alpha_krippendorff(
            pd.DataFrame(shared, columns=["task", "worker", "label"]), distance=lambda c, k: distance[c][k]
        )
    assert krippendorff_alpha(annotations_of(crowd)) == pytest.approx(theirs)


def test_what_only_one_person_graded_does_not_count(crowd):
    lonely = {(task, "person-0"): 3 for task in range(1000, 1100)}
    alone, together = agreement(annotations_of(crowd)), agreement(annotations_of({**crowd, **lonely}))
    assert alone == together
    assert alone.tasks == 400
    assert alone.annotators == 6
    assert alone.pairs == 15


def test_kappa_is_scikit_learns_for_each_pair(crowd):
    from sklearn.metrics import cohen_kappa_score

    scores, weights = [], []
    for one, other in itertools.combinations(sorted({who for _, who in crowd}), 2):
        both = [task for task in range(400) if (task, one) in crowd and (task, other) in crowd]
        grades = [[crowd[task, who] for task in both] for who in (one, other)]
        scores.append(cohen_kappa_score(*grades, labels=range(4), weights="quadratic"))
        weights.append(len(both))
    answers = gather(annotations_of(crowd), tasks_of(crowd))
    found = pairwise(answers)
    assert found.kappa == pytest.approx(scores)
    assert found.tasks.tolist() == weights
    assert (found.one < found.other).all()
    assert weighted_kappa(annotations_of(crowd)) == pytest.approx(np.average(scores, weights=weights))
    assert mean_kappa(found) == pytest.approx(np.average(scores, weights=weights))


def tasks_of(crowd: Crowd, controls: Mapping[int, int] | None = None) -> pa.Table:
    return AnnotationTask.table(
        {
            "batch_id": "b",
            "task_id": f"t{task:04}",
            "query_id": f"q{task // 6}",
            "passage_id": f"p{task}",
            "query_text": "query",
            "passage_title": "",
            "passage_text": "text",
            "stratum": "summary" if task < 200 else "numeric",
            "control_grade": (controls or {}).get(task),
        }
        for task in sorted({task for task, _ in crowd})
    )


def test_agreement_of_answers_leaves_controls_out(crowd):
    controls = dict.fromkeys(range(0, 400, 7), 0)
    asked = {key: grade for key, grade in crowd.items() if key[0] not in controls}
    assert of_answers(gather(annotations_of(crowd), tasks_of(crowd, controls))) == close(
        agreement(annotations_of(asked))
    )


def test_each_stratum_is_measured_alone(crowd):
    found = by_stratum(gather(annotations_of(crowd), tasks_of(crowd)))
    assert list(found) == ["numeric", "summary"]
    for name, chosen in (("summary", lambda task: task < 200), ("numeric", lambda task: task >= 200)):
        part = {key: grade for key, grade in crowd.items() if chosen(key[0])}
        assert found[name] == close(agreement(annotations_of(part)))


def close(measured: Agreement) -> Agreement:
    return Agreement(
        pytest.approx(measured.alpha),  # type: ignore[arg-type]
        pytest.approx(measured.kappa),  # type: ignore[arg-type]
        measured.tasks,
        measured.annotators,
        measured.pairs,
    )


def both(other: Callable[[int], int]) -> pa.Table:
    return annotations_of(
        {(task, who): task % 4 if who == "a" else other(task % 4) for task in range(40) for who in "ab"}
    )


def test_people_who_agree_have_full_agreement_and_nearer_grades_agree_more():
    same, near, far = (
        agreement(both(other)) for other in (lambda g: g, lambda g: max(g, 1), lambda g: 3 if g == 0 else g)
    )
    assert (same.alpha, same.kappa) == (pytest.approx(1), pytest.approx(1))
    assert (same.tasks, same.annotators, same.pairs) == (40, 2, 1)
    assert near.alpha > far.alpha
    assert near.kappa > far.kappa


def test_people_who_always_contradict_agree_less_than_by_chance():
    turned = agreement(both(lambda grade: 3 - grade))
    assert turned.alpha < 0
    assert turned.kappa == pytest.approx(-1)


def test_agreement_of_nobody_with_nobody_is_unknown():
    assert agreement(Annotation.empty()) == Agreement(None, None, 0, 0, 0)
    assert agreement(annotations_of({(0, "a"): 1, (1, "b"): 2})) == Agreement(None, None, 0, 0, 0)
    constant = agreement(annotations_of({(task, who): 2 for task in range(5) for who in "ab"}))
    assert (constant.alpha, constant.kappa, constant.tasks) == (None, None, 5)


def test_a_grade_that_there_is_not_is_refused_by_name():
    with pytest.raises(InputError, match=r"a grade outside 0\.\.3, the first is grade 7 of task 't0001'"):
        agreement(annotations_of({(0, "a"): 1, (1, "b"): 7}))
