"""From a batch to judgments and back again over a real Label Studio, whose process is killed in between."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from label_studio_server import LabelStudio
from labelling import Person, number_of, result, tasks_in, tasks_of

from rerankops import config
from rerankops.annotation.label_studio.snapshots import annotator_id
from rerankops.pipeline import adjudication, channels, validation
from rerankops.pipeline.context import Context
from rerankops.pipeline.corpus import GOLD
from rerankops.records import Annotation, AnnotationTask, GoldQuestion, Judgment, Query, QueryEvent
from rerankops.workspace import Address, Workspace

QUERIES, EACH = 10, 3
BATCH = "roundtrip0000001"
TRUTH = {f"{BATCH}-{query}-{n}": (query + n) % 4 for query in range(QUERIES) for n in range(EACH)}
TRUTH |= {f"{BATCH}-0-0": 3, f"{BATCH}-1-0": 0}
EDITED, DELETED, OUTVOTED = f"{BATCH}-2-1", f"{BATCH}-4-1", f"{BATCH}-6-2"

Grades = dict[tuple[str, int], int]
"""By task and account."""


@pytest.fixture
def context(label_studio: LabelStudio, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setenv("RERANKOPS_LABEL_STUDIO_TOKEN", label_studio.token)
    overrides = {
        "workspace": {"root": str(tmp_path / "workspace")},
        "annotation": {"channel": "label_studio", "annotators_per_task": 3},
        "label_studio": {"url": label_studio.url, "title_prefix": prefix, "page_size": 7},
        "adjudication": {"method": "majority"},
    }
    return Context(config.load(environ={}, overrides=overrides), Workspace(tmp_path / "workspace"))


@pytest.fixture
def batch(context: Context) -> Address:
    """A batch with all that it was made from, and gold questions."""
    workspace = context.workspace
    gold = {"question_id": "g", "text": "天窗怎么关", "accepted_answers": ["按"], "stratum": "procedure"}
    questions = GoldQuestion.table([gold | {"relevant_passage_ids": [], "relevant_grades": None}])
    workspace.point(GOLD, workspace.publish(GoldQuestion, questions, step="load_gold"))
    asked_at = datetime.now(UTC) - timedelta(days=2)
    event = {"event_id": "e", "text": "后备箱 0 多大", "issued_at": asked_at, "source": "log", "redactions": 0}
    event |= {"shown_passage_ids": [], "clicked_passage_ids": [], "feedback": "none", "query_id": f"{BATCH}-q0"}
    events = workspace.publish(QueryEvent, QueryEvent.table([event]), step="pull_events")
    tasks = tasks_of(BATCH, QUERIES, EACH)
    texts = dict(zip(tasks["query_id"].to_pylist(), tasks["query_text"].to_pylist(), strict=True))
    seen = {"stratum": "numeric", "frequency": 1, "first_seen": asked_at, "last_seen": asked_at}
    queries = Query.table({"query_id": query, "text": text, **seen} for query, text in texts.items())
    distilled = workspace.publish(Query, queries, step="distil_queries", inputs=[events])
    address = workspace.publish(AnnotationTask, tasks, step="make_annotation_batch", inputs=[distilled])
    workspace.point(f"batches/{BATCH}", address)
    return address


def ingest(context: Context) -> tuple[list[str], Address | None]:
    """What ingest_annotations does: the outcome of each delivery, and the judgments."""
    deliveries = channels.pull_deliveries(context=context)
    outcomes = [validation.validate_delivery(delivery, context=context)["outcome"] for delivery in deliveries]
    return outcomes, adjudication.adjudicate(context=context)


def accepted(context: Context) -> Grades:
    (name,) = context.workspace.refs("annotations")
    rows = context.workspace.read(context.workspace.require(name, ""), Annotation).to_pylist()
    assert all(row["lead_seconds"] == 4.5 for row in rows)
    return {(row["task_id"], row["annotator_id"]): row["grade"] for row in rows}


def expected_judgments(grades: Mapping[tuple[str, int], int]) -> dict[str, tuple[int, int]]:
    """passage_id: (majority, how many) of what was given; controls are no judgments."""
    by_task: dict[str, list[int]] = {}
    for (task, _), grade in grades.items():
        by_task.setdefault(task, []).append(grade)
    controls = {f"{BATCH}-0-0", f"{BATCH}-1-0"}
    return {
        "p" + task.removeprefix(f"{BATCH}-"): (max(given, key=given.count), len(given))
        for task, given in by_task.items()
        if task not in controls
    }


def judged(context: Context, address: Address | None) -> dict[str, tuple[int, int]]:
    assert address is not None
    rows = context.workspace.read(address, Judgment).to_pylist()
    assert {row["origin"] for row in rows} == {"human"}
    return {row["passage_id"]: (row["grade"], row["annotator_count"]) for row in rows}


def stored(context: Context) -> set[Path]:
    return {path for path in Path(context.workspace.root.path).rglob("*") if path.is_file()}


def test_three_people_label_one_edits_one_deletes_and_the_server_dies_twice(
    label_studio: LabelStudio, context: Context, batch: Address
) -> None:
    server = label_studio.own()
    place = channels.send_batch(batch, context=context)
    assert channels.send_batch(batch, context=context) == place
    people = [Person(label_studio.url, token) for token in label_studio.people]
    numbers = {task: numbers for task, (numbers,) in _singles(tasks_in(people[0], number_of(place))).items()}
    assert numbers.keys() == TRUTH.keys()
    assert channels.pull_deliveries(context=context) == []
    assert context.workspace.refs("streams") == []

    given: Grades = {}
    annotations: dict[tuple[str, int], int] = {}

    def label(which: int, task: str) -> None:
        grade = 1 if which == 2 and task == OUTVOTED else TRUTH[task]
        grade = 0 if which == 1 and task == EDITED else grade
        annotations[task, which] = people[which].grade(numbers[task], grade)
        given[task, which] = grade

    tasks = list(TRUTH)
    for task in tasks:
        label(0, task)
        label(1, task)
    for task in tasks[:15]:
        label(2, task)
    assert channels.pull_deliveries(context=context) == []  # stored, but not finished
    assert len(context.workspace.refs("streams")) == 1
    assert adjudication.adjudicate(context=context) is None

    server.kill()
    server.start()
    for task in tasks[15:]:
        label(2, task)
    outcomes, judgments = ingest(context)
    accounts = [people[which].ask("GET", "/api/current-user/whoami").json()["id"] for which in range(3)]
    names = [annotator_id(account, "label-studio") for account in accounts]
    assert outcomes == ["accept"]
    assert accepted(context) == {(task, names[which]): grade for (task, which), grade in given.items()}
    assert judged(context, judgments) == expected_judgments(given)
    assert judged(context, judgments)["p2-1"] == (3, 3)

    people[0].edit(annotations[EDITED, 0], 0)
    given[EDITED, 0] = 0
    people[1].delete(annotations.pop((DELETED, 1)))
    del given[DELETED, 1]
    server.kill()
    server.start()
    outcomes, judgments = ingest(context)
    assert outcomes == ["accept"]
    assert accepted(context) == {(task, names[which]): grade for (task, which), grade in given.items()}
    assert judged(context, judgments) == expected_judgments(given)
    assert judged(context, judgments)["p2-1"] == (0, 3)
    assert judged(context, judgments)["p4-1"] == (TRUTH[DELETED], 2)

    before = stored(context)
    assert ingest(context) == ([], judgments)
    assert stored(context) == before

    # The same answer sent again, as a client does that was cut off, is refused by its unique_id and changes nothing.
    body = {"result": result(3), "lead_time": 4.5, "unique_id": "5f0c2f0e-3f5e-4f43-9f0c-7d3c2f6c1a11"}
    said = [people[1].ask("POST", f"/api/tasks/{numbers[DELETED]}/annotations/", body) for _ in range(2)]
    assert [one.status_code for one in said] == [httpx.codes.CREATED, httpx.codes.CONFLICT]
    given[DELETED, 1] = 3
    outcomes, judgments = ingest(context)
    assert outcomes == ["accept"]
    assert accepted(context) == {(task, names[which]): grade for (task, which), grade in given.items()}


def _singles(found: dict[str, list[int]]) -> dict[str, list[int]]:
    assert all(len(numbers) == 1 for numbers in found.values())
    return found
