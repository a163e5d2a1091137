"""How many labels came since the last look at gold."""

from __future__ import annotations

from pathlib import Path

import pytest
from gold_looks import compared_before_looks_were_stored, finished_look, gold, here, labels, look, plan

from rerankops.pipeline.context import Context
from rerankops.pipeline.corpus import GOLD, INDEX
from rerankops.pipeline.due import Due, later_judgments, retraining_due
from rerankops.pipeline.judgments import JUDGMENTS
from rerankops.pipeline.training import plan_retraining, read_plan

LABELS = [(f"q{number}", "p1", 3) for number in range(5)]


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return here(tmp_path)


def new_labels(context: Context, rows: list[tuple[str, str, int]], origin: str = "human") -> int | None:
    context.workspace.point(JUDGMENTS, labels(context, rows, origin))
    return retraining_due(context=context).new


def test_before_any_look_a_retraining_is_due(context: Context) -> None:
    assert new_labels(context, LABELS) is None
    assert retraining_due(context=context).now


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (LABELS, 0),
        (LABELS[::-1], 0),
        (LABELS[1:], 0),
        ([*LABELS, ("q9", "p1", 0), ("q0", "p2", 3)], 2),
        ([("q0", "p1", 1), *LABELS[1:]], 1),
    ],
    ids=["the same", "in another order", "one withdrawn", "a query and a passage more", "another grade"],
)
def test_labels_that_came_or_changed_since_the_last_look_count(
    context: Context, rows: list[tuple[str, str, int]], expected: int
) -> None:
    finished_look(context, gold(context), judgments=labels(context, LABELS))
    assert new_labels(context, rows) == expected


def test_what_people_say_where_only_users_had_is_new(context: Context) -> None:
    finished_look(context, gold(context), judgments=labels(context, LABELS, "feedback"))
    assert new_labels(context, LABELS) == len(LABELS)


def test_they_count_from_the_newest_look(context: Context) -> None:
    questions = gold(context)
    finished_look(context, questions, "one", judgments=labels(context, LABELS[:1]))
    finished_look(context, questions, "two", judgments=labels(context, LABELS[:3]))
    assert new_labels(context, LABELS) == 2


def test_a_look_that_came_to_no_results_does_not_count(context: Context) -> None:
    questions = gold(context)
    finished_look(context, questions, "one", judgments=labels(context, LABELS[:1]))
    look(context, questions, "stopped", judgments=labels(context, LABELS[:3]))
    assert new_labels(context, LABELS) == 4


def test_a_negative_control_teaches_nothing_and_counts_for_nothing(context: Context) -> None:
    settings = context.settings.model_dump(mode="json")
    settings["training"]["shuffle_labels_seed"] = 7
    questions = gold(context)
    finished_look(context, questions, "one", judgments=labels(context, LABELS[:1]))
    finished_look(context.with_settings(settings), questions, "control", judgments=labels(context, LABELS))
    assert new_labels(context, LABELS) == 4


def test_comparisons_from_before_looks_were_stored_count_as_well(context: Context) -> None:
    stored = labels(context, LABELS)
    compared_before_looks_were_stored(context, gold(context), "old", judgments=stored)
    assert new_labels(context, [*LABELS, ("q9", "p1", 2)]) == 1


@pytest.mark.parametrize(
    ("came", "starts"),
    [([], False), ([("q9", "p1", 2)], False), ([(f"n{number}", "p1", 2) for number in range(3)], True)],
    ids=["nothing", "too few", "enough"],
)
def test_judgments_that_came_during_a_retraining_make_another_one_due_when_they_are_enough(
    context: Context, came: list[tuple[str, str, int]], starts: bool
) -> None:
    tree = context.settings.model_dump(mode="json")
    tree["training"]["min_new_labels"] = 3
    few = context.with_settings(tree)
    planned = plan(few, gold(few), judgments=labels(few, LABELS)).address
    finished_look(few, gold(few), judgments=labels(few, LABELS))
    now = labels(few, [*LABELS, *came])
    few.workspace.point(JUDGMENTS, now)
    assert later_judgments(planned, context=few) == (now if starts else None)


def test_a_retraining_that_was_not_planned_looks_for_nothing(context: Context) -> None:
    context.workspace.point(JUDGMENTS, labels(context, LABELS))
    assert later_judgments(None, context=context) is None


def test_a_plan_keeps_no_password_of_what_it_talks_to(context: Context) -> None:
    workspace = context.workspace
    workspace.point(JUDGMENTS, labels(context, LABELS))
    workspace.point(GOLD, gold(context))
    workspace.point(INDEX, workspace.publish_document("indexes", {}, step="build_index"))
    tree = context.settings.model_dump(mode="json")
    tree["registry"]["ui_url"] = "https://reader:hunter2@mlflow"
    tree["elasticsearch"]["hosts"] = ["https://elastic:hunter2@nowhere:9200"]
    tree["query_log"]["location"] = "s3://key:hunter2@bucket/log"
    tree["llm"] |= {"url": "https://me:hunter2@models/v1", "model": "a model"}
    there = context.with_settings(tree)
    planned = plan_retraining(context=there)
    stored = [path.read_text() for path in Path(str(workspace.root)).rglob("*.json")]
    assert stored
    assert not any("hunter2" in text for text in stored)
    assert workspace.read_document(planned)["settings"]["llm"]["model"] == "a model"
    assert read_plan(there, planned).context.settings.elasticsearch == there.settings.elasticsearch


def test_how_many_labels_make_one_due_makes_no_other_retraining(context: Context) -> None:
    workspace = context.workspace
    workspace.point(JUDGMENTS, labels(context, LABELS))
    workspace.point(GOLD, gold(context))
    workspace.point(INDEX, workspace.publish_document("indexes", {}, step="build_index"))
    plans = set()
    for least in (1, 500):
        tree = context.settings.model_dump(mode="json")
        tree["training"]["min_new_labels"] = least
        plans.add(plan_retraining(context=context.with_settings(tree)))
    assert len(plans) == 1


def test_it_says_how_many_are_to_go() -> None:
    assert Due(37, 100).words == (
        "37 new or changed labels since the last retraining, 100 make one due (training.min_new_labels): 63 to go"
    )
    assert not Due(99, 100).now
    assert Due(100, 100).now
    assert "to go" not in Due(100, 100).words
