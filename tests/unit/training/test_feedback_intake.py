"""Who is believed: one judgment a passage, weighed by its origin, and what preferences add where nobody judged."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from rerankops.records import Judgment, Passage, Preference
from rerankops.training.groups import build_groups, intake, of_people

EVEN = {"human": 1.0, "imported": 1.0, "feedback": 1.0, "teacher": 1.0}


def judged(*rows: tuple[str, str, int, str], confidence: float = 0.8) -> pa.Table:
    """(query, passage, grade, origin)."""
    return Judgment.table(
        {"query_id": query, "passage_id": passage, "query_text": f"text of {query}", "stratum": "numeric"}
        | {"grade": grade, "confidence": confidence, "annotator_count": 3, "origin": origin}
        for query, passage, grade, origin in rows
    )


def preferred(*rows: tuple[str, str, str, float], **more: Any) -> pa.Table:
    """(query, better, worse, weight)."""
    return Preference.table(
        {"query_id": query, "query_text": f"text of {query}", "stratum": "numeric", "better_passage_id": better}
        | {"worse_passage_id": worse, "weight": weight, "origin": "feedback"}
        | more
        for query, better, worse, weight in rows
    )


def taken_in(
    judgments: pa.Table, preferences: pa.Table | None = None, **weights: float
) -> dict[tuple[str, str], tuple[int, float, str]]:
    table = intake(judgments, Preference.empty() if preferences is None else preferences, weights=EVEN | weights)
    return {
        (row["query_id"], row["passage_id"]): (row["grade"], row["confidence"], row["origin"])
        for row in table.to_pylist()
    }


def test_people_s_own_judgments_pass_unchanged() -> None:
    table = judged(("q", "p1", 3, "human"), ("q", "p2", 0, "human"), ("r", "p1", 1, "human"))
    assert intake(table, Preference.empty(), weights=EVEN).equals(table)


@pytest.mark.parametrize(
    ("origins", "winner"),
    [
        (("teacher", "feedback", "imported", "human"), "human"),
        (("teacher", "feedback", "imported"), "imported"),
        (("teacher", "feedback"), "feedback"),
    ],
)
def test_the_most_trusted_origin_wins(origins: tuple[str, ...], winner: str) -> None:
    grades = {"human": 0, "imported": 1, "feedback": 2, "teacher": 3}
    assert taken_in(judged(*(("q", "p", grades[origin], origin) for origin in origins))) == {
        ("q", "p"): (grades[winner], 0.8, winner)
    }


def test_an_origin_s_weight_multiplies_the_confidence() -> None:
    found = taken_in(judged(("q", "a", 3, "human"), ("q", "b", 3, "feedback")), feedback=0.5)
    assert {passage: confidence for (_, passage), (_, confidence, _) in found.items()} == {"a": 0.8, "b": 0.4}


def test_an_origin_of_weight_nought_is_not_asked() -> None:
    both = judged(("q", "a", 3, "feedback"), ("q", "a", 0, "teacher"), ("q", "b", 1, "feedback"))
    assert taken_in(both, feedback=0.0) == {("q", "a"): (0, 0.8, "teacher")}
    assert taken_in(judged(), preferred(("q", "a", "b", 0.9)), feedback=0.0) == {}


def test_preferences_are_positives_and_negatives_of_queries_that_nobody_judged() -> None:
    found = taken_in(judged(), preferred(("q", "a", "b", 0.9), ("q", "a", "c", 0.5)), feedback=0.5)
    assert found == {
        ("q", "a"): (2, pytest.approx(0.35), "feedback"),
        ("q", "b"): (1, pytest.approx(0.45), "feedback"),
        ("q", "c"): (1, pytest.approx(0.25), "feedback"),
    }


def test_what_something_is_preferred_to_is_no_positive() -> None:
    """a before b before c: only a is unbeaten, and only b is known to be worse than it."""
    found = taken_in(judged(), preferred(("q", "a", "b", 0.9), ("q", "b", "c", 0.9)))
    assert {passage: grade for (_, passage), (grade, _, _) in found.items()} == {"a": 2, "b": 1}


def test_preferences_in_a_circle_say_nothing() -> None:
    assert taken_in(judged(), preferred(("q", "a", "b", 0.9), ("q", "b", "c", 0.9), ("q", "c", "a", 0.9))) == {}


@pytest.mark.parametrize("origin", ["human", "imported"])
def test_people_s_queries_take_no_preferences(origin: str) -> None:
    assert set(taken_in(judged(("q", "x", 0, origin)), preferred(("q", "a", "b", 0.9)))) == {("q", "x")}


def test_a_passage_that_clicks_judged_keeps_its_grade() -> None:
    found = taken_in(judged(("q", "a", 3, "feedback")), preferred(("q", "a", "b", 0.9)))
    assert found == {("q", "a"): (3, 0.8, "feedback"), ("q", "b"): (1, 0.9, "feedback")}


def test_preferences_of_one_group_are_nobody_else_s() -> None:
    assert taken_in(judged(), preferred(("q", "a", "b", 0.9), user_group="dealers")) == {}


PASSAGES = Passage.table({"passage_id": f"p{i}", "title": "", "text": f"text {i}", "metadata": []} for i in range(4))
ORDER = pa.table(
    {"query_id": ["q"] * 4, "passage_id": ["p0", "p1", "p2", "p3"], "rank": [1, 2, 3, 4], "score": [0.9, 0.5, 0.4, 0.1]}
)


def groups(judgments: pa.Table, order: pa.Table = ORDER, **changes: Any) -> tuple[pa.Table, dict[str, int]]:
    options: dict[str, Any] = {"negatives_per_positive": 2, "hard_negative_depth": 4, "false_negative_margin": 0.95}
    return build_groups(judgments, order, PASSAGES, **options | {"dev_share": 0.5, "seed": 1} | changes)


def test_feedback_about_a_passage_that_left_the_corpus_is_left_out_and_counted() -> None:
    table, counts = groups(judged(("q", "p0", 3, "feedback"), ("q", "gone", 3, "feedback"), ("q", "p1", 0, "feedback")))
    assert [row["passage_id"] for row in table["positives"][0].as_py()] == ["p0"]
    assert counts["left_the_corpus"] == 1


def test_a_query_of_feedback_alone_whose_positive_left_the_corpus_is_dropped() -> None:
    table, counts = groups(judged(("q", "gone", 3, "feedback")))
    assert (table.num_rows, counts["left_the_corpus"], counts["dropped_without_positive"]) == (0, 1, 1)


def both(people: int, clicks: int) -> tuple[pa.Table, pa.Table]:
    names = {f"h{i}": "human" for i in range(people)} | {f"f{i}": "feedback" for i in range(clicks)}
    table = judged(
        *((name, passage, grade, origin) for name, origin in names.items() for passage, grade in (("p0", 3), ("p1", 0)))
    )
    order = pa.concat_tables([ORDER.set_column(0, "query_id", pa.array([name] * 4)) for name in names])
    return table, order


def test_models_are_chosen_by_what_people_said_where_they_said_enough() -> None:
    table, order = both(people=20, clicks=20)
    found, counts = groups(table, order)
    development = {row["query_id"][0] for row in found.to_pylist() if row["split"] == "dev"}
    assert development == {"h"}
    assert counts["dev"] < 20
    found, _ = groups(table, order, least_of_people=21)
    assert {row["query_id"][0] for row in found.to_pylist() if row["split"] == "dev"} == {"h", "f"}


def test_of_people_is_everybody_where_people_said_too_little() -> None:
    table, _ = both(people=2, clicks=2)
    assert set(of_people(table, least=2)["origin"].to_pylist()) == {"human"}
    assert of_people(table, least=3).equals(table)
    assert of_people(Judgment.empty(), least=1).num_rows == 0
