"""Sending and pulling on a real Label Studio: nothing twice, nothing missed, nothing that should stay inside."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from label_studio_server import LabelStudio
from labelling import Person, grades, number_of, result, tasks_in, tasks_of

from rerankops.annotation import Delivery
from rerankops.annotation.label_studio import Client, LabelStudioChannel
from rerankops.annotation.label_studio.snapshots import annotator_id

Channels = Callable[..., LabelStudioChannel]
Batch = tuple[str, pa.Table]


class Stored:
    """The last delivery of each stream, as the pipeline keeps them."""

    def __init__(self) -> None:
        self.deliveries: dict[str, Delivery] = {}

    def previous(self, stream: str) -> bytes | None:
        return self.deliveries[stream].content if stream in self.deliveries else None

    def pull(self, channel: LabelStudioChannel) -> list[Delivery]:
        pulled = list(channel.pull(self.previous))
        self.deliveries |= {delivery.stream: delivery for delivery in pulled}
        return pulled


@pytest.fixture
def people(label_studio: LabelStudio) -> list[Person]:
    label_studio.own()
    return [Person(label_studio.url, token) for token in label_studio.people]


def name_of(person: Person) -> str:
    return annotator_id(person.ask("GET", "/api/current-user/whoami").json()["id"], "label-studio")


# -- out --------------------------------------------------------------------------------------------------------------


def test_a_batch_becomes_a_project_that_says_what_to_do_and_not_what_is_known(
    channel: Channels, batch: Batch, client: Client, prefix: str
) -> None:
    batch_id, tasks = batch
    number = number_of(channel(language="en").send(batch_id, tasks))
    project = client.get("read", f"/api/projects/{number}/")
    assert project["title"] == f"{prefix} {batch_id}"
    assert batch_id in project["description"]
    assert (project["maximum_annotations"], project["show_instruction"]) == (3, True)
    assert "partly answers" in project["expert_instruction"]
    assert project["parsed_label_config"]["grade"]["labels"] == ["0", "1", "2", "3"]
    there = list(client.tasks("read", number, annotations=True))
    assert [task["data"]["task_id"] for task in there] == tasks["task_id"].to_pylist()
    assert {task["overlap"] for task in there} == {3}
    assert "control" not in json.dumps(there)
    assert "chosen_for" not in json.dumps(there)
    assert len({frozenset(task["data"]) for task in there}) == 1
    data = there[0]["data"]
    assert data["passage_title"] == "第 0 节 <容积>"
    assert "<容积>" not in data["passage_html"]
    assert ">后备箱</mark>" in data["passage_html"]


def test_a_batch_that_was_half_imported_is_completed_and_tasks_that_came_twice_go(
    channel: Channels, batch: Batch, client: Client, people: list[Person]
) -> None:
    batch_id, tasks = batch
    place = channel().send(batch_id, tasks)
    number = number_of(place)
    numbers = tasks_in(people[0], number)
    kept = people[0].grade(numbers[f"{batch_id}-3-0"][0], 2)
    for task_id in (f"{batch_id}-0-1", f"{batch_id}-2-2"):  # the sender died before these, and sent others twice
        client.remove("remove", f"/api/tasks/{numbers[task_id][0]}/")
    doubles = [task["data"] for task in client.tasks("read", number, annotations=False)][:3]
    client.make("import", f"/api/projects/{number}/import", [{"data": data} for data in doubles])
    late = [
        {"data": task["data"]} for task in client.tasks("read", number, annotations=False) if task["total_annotations"]
    ]
    client.make("import", f"/api/projects/{number}/import", late)
    assert channel().send(batch_id, tasks) == place
    found = tasks_in(people[0], number)
    assert {task: len(numbers) for task, numbers in found.items()} == dict.fromkeys(tasks["task_id"].to_pylist(), 1)
    assert found[f"{batch_id}-3-0"] == numbers[f"{batch_id}-3-0"]
    assert people[0].ask("GET", f"/api/annotations/{kept}/").is_success


def test_two_senders_at_once_end_up_with_one_project(channel: Channels, batch: Batch, client: Client) -> None:
    batch_id, tasks = batch
    here = channel()
    doubles = [client.make("create", "/api/projects/", here._new_project(batch_id, tasks.num_rows)) for _ in range(2)]
    assert number_of(here.send(batch_id, tasks)) == doubles[0]["id"]
    assert [project.number for project in here._of_batch(client, batch_id)] == [doubles[0]["id"]]


def test_a_project_is_found_again_under_another_title_and_a_strangers_is_left_alone(
    channel: Channels, batch: Batch, client: Client
) -> None:
    batch_id, tasks = batch
    place = channel().send(batch_id, tasks)
    client.change("rename", f"/api/projects/{number_of(place)}/", {"title": "Boots, second try"})
    assert channel().send(batch_id, tasks) == place
    assert channel(title_prefix="another-team").send(batch_id, tasks) != place


# -- in ---------------------------------------------------------------------------------------------------------------


def test_edits_replace_deletions_fall_out_and_the_same_state_gives_nothing(
    channel: Channels, batch: Batch, people: list[Person]
) -> None:
    batch_id, tasks = batch
    number = number_of(channel().send(batch_id, tasks))
    numbers = {task: found[0] for task, found in tasks_in(people[0], number).items()}
    a, b = name_of(people[0]), name_of(people[1])
    one, two, three = (f"{batch_id}-{place}" for place in ("0-1", "1-1", "3-2"))
    stored = Stored()
    assert stored.pull(channel()) == []

    first = people[0].grade(numbers[one], 3)
    second = people[0].grade(numbers[two], 0)
    people[1].grade(numbers[one], 2)
    (delivery,) = stored.pull(channel())
    assert grades(delivery) == {(one, a, "3"), (two, a, "0"), (one, b, "2")}
    assert (delivery.batch_id, delivery.stream, delivery.complete) == (batch_id, f"label-studio-{number}", False)
    (row, *_) = [row for row in delivery.rows.to_pylist() if row["task_id"] == one]
    assert row["lead_seconds"] == "4.5"
    sent = {row["task_id"]: row for row in tasks.to_pylist()}[one]
    assert {name: row[name] for name in ("query_text", "passage_title", "passage_text")} == {
        name: sent[name] for name in ("query_text", "passage_title", "passage_text")
    }
    assert stored.pull(channel()) == []

    people[0].edit(first, 1)
    people[0].delete(second)
    people[1].grade(numbers[three], 0)
    (delivery,) = stored.pull(channel())
    assert grades(delivery) == {(one, a, "1"), (one, b, "2"), (three, b, "0")}
    (afresh,) = channel().pull(lambda stream: None)
    assert afresh.content == delivery.content

    selected = {"selectedItems": {"all": False, "included": [numbers[one]]}}
    people[0].ask("POST", f"/api/dm/actions?id=delete_tasks_annotations&project={number}", selected)
    (delivery,) = stored.pull(channel())
    assert grades(delivery) == {(three, b, "0")}
    people[0].ask("DELETE", f"/api/tasks/{numbers[three]}/")  # leaves no change behind, only the counts do not fit
    (delivery,) = stored.pull(channel())
    assert grades(delivery) == set()
    assert delivery.batch_id == batch_id
    assert stored.pull(channel()) == []


def test_a_pull_asks_only_for_what_changed(
    channel: Channels, batch: Batch, people: list[Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id, tasks = batch
    number = number_of(channel().send(batch_id, tasks))
    numbers = {task: found[0] for task, found in tasks_in(people[0], number).items()}
    for task in numbers.values():
        people[0].grade(task, 1)
    stored = Stored()
    stored.pull(channel())
    people[1].grade(numbers[f"{batch_id}-2-0"], 3)
    monkeypatch.setattr("rerankops.annotation.label_studio.channel._LATE", timedelta(0))
    read: list[int] = []
    listing = Client.tasks

    def counted(self: Client, *given: object, **more: bool) -> object:
        for task in listing(self, *given, **more):  # type: ignore[arg-type]
            read.append(task["id"])
            yield task

    monkeypatch.setattr(Client, "tasks", counted)
    (delivery,) = stored.pull(channel())
    assert delivery.rows.num_rows == len(numbers) + 1
    assert len(read) <= 2  # the one that changed, and the last of those before
    assert numbers[f"{batch_id}-2-0"] in read


def test_skips_are_no_grades_and_a_forged_author_is_nobody(
    channel: Channels, batch: Batch, people: list[Person]
) -> None:
    batch_id, tasks = batch
    number = number_of(channel().send(batch_id, tasks))
    numbers = {task: found[0] for task, found in tasks_in(people[0], number).items()}
    victim = people[1].ask("GET", "/api/current-user/whoami").json()["id"]
    people[0].grade(numbers[f"{batch_id}-0-0"], 1, was_cancelled=True)
    people[0].grade(numbers[f"{batch_id}-0-1"], 3, completed_by=victim)
    people[0].grade(numbers[f"{batch_id}-0-2"], 9)
    people[0].grade(numbers[f"{batch_id}-1-0"], 2, result=[])
    people[0].grade(numbers[f"{batch_id}-1-1"], 2, result=result(1) + result(2))
    (delivery,) = channel().pull(lambda stream: None)
    a = name_of(people[0])
    assert grades(delivery) == {
        (f"{batch_id}-0-1", None, "3"),
        (f"{batch_id}-0-2", a, "9"),
        (f"{batch_id}-1-0", a, None),
        (f"{batch_id}-1-1", a, '["1", "2"]'),
    }
    doubts = {row["task_id"]: row["doubt"] for row in delivery.rows.to_pylist() if row["doubt"]}
    assert doubts == {f"{batch_id}-0-1": "it was last written by another account than the one it is given for"}


def test_a_deleted_account_takes_no_grade_with_it(
    channel: Channels, batch: Batch, people: list[Person], label_studio: LabelStudio
) -> None:
    batch_id, tasks = batch
    number = number_of(channel().send(batch_id, tasks))
    numbers = {task: found[0] for task, found in tasks_in(people[0], number).items()}
    (token,) = label_studio.own().add_users({f"{batch_id}@localhost.localdomain": "secret-of-a-leaver"}).values()
    leaver = Person(label_studio.url, token)
    name = name_of(leaver)
    leaver.grade(numbers[f"{batch_id}-0-1"], 2)
    stored = Stored()
    stored.pull(channel())
    account = leaver.ask("GET", "/api/current-user/whoami").json()["id"]
    assert Person(label_studio.url, str(label_studio.legacy_token)).ask("DELETE", f"/api/users/{account}/").is_success
    people[0].grade(numbers[f"{batch_id}-0-1"], 3)
    (delivery,) = stored.pull(channel())
    assert grades(delivery) == {(f"{batch_id}-0-1", name, "2"), (f"{batch_id}-0-1", name_of(people[0]), "3")}


def test_a_batch_is_complete_when_all_are_done_and_stays_so_or_when_its_time_is_up(
    channel: Channels, people: list[Person], batch: Batch
) -> None:
    batch_id = batch[0]
    tasks = tasks_of(batch_id, 1, 2)
    number = number_of(channel().send(batch_id, tasks))
    numbers = {task: found[0] for task, found in tasks_in(people[0], number).items()}
    late = channel(now=lambda: datetime.now(UTC) + timedelta(days=15))
    assert [(delivery.complete, delivery.rows.num_rows) for delivery in late.pull(lambda stream: None)] == [(True, 0)]
    stored = Stored()
    for task in numbers.values():
        for person in people[:2]:
            person.grade(task, 1)
    assert [delivery.complete for delivery in stored.pull(channel())] == [False]
    (over,) = late.pull(stored.previous)
    assert over.complete
    assert over.rows.num_rows == 4
    last = [people[2].grade(task, 1) for task in numbers.values()]
    assert [delivery.complete for delivery in stored.pull(channel())] == [True]
    people[2].delete(last[0])
    (corrected,) = stored.pull(channel())
    assert corrected.complete
    assert corrected.rows.num_rows == 5
    long_ago = channel(now=lambda: datetime.now(UTC) + timedelta(days=91))
    assert list(long_ago.pull(lambda stream: None)) == []


def test_several_projects_are_pulled_each_for_itself_and_a_deleted_one_is_told_of(
    channel: Channels, people: list[Person], prefix: str, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    batches = [f"{prefix}-{name}" for name in "xyz"]
    places = [number_of(channel().send(batch_id, tasks_of(batch_id, 1, 2))) for batch_id in batches]
    for place in places:
        for found in tasks_in(people[0], place).values():
            people[0].grade(found[0], 2)
    stored = Stored()
    assert [delivery.batch_id for delivery in stored.pull(channel())] == batches
    people[1].grade(tasks_in(people[1], places[1])[f"{batches[1]}-0-0"][0], 2)
    client.remove("remove", f"/api/projects/{places[0]}/")
    waiting = [stream for stream, delivery in stored.deliveries.items() if not delivery.complete]
    with caplog.at_level(logging.WARNING, logger="rerankops"):
        assert [delivery.batch_id for delivery in stored.pull(channel(waiting=waiting))] == [batches[1]]
    (line,) = [record.getMessage() for record in caplog.records]
    assert f"gone before they were complete: label-studio-{places[0]};" in line
    assert stored.deliveries[f"label-studio-{places[0]}"].rows.num_rows == 2
