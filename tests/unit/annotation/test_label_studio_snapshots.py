"""Merging what changed into what was known, without a server."""

from __future__ import annotations

from typing import Any

import pytest

from rerankops.annotation import read
from rerankops.annotation.label_studio.client import Connection
from rerankops.annotation.label_studio.snapshots import Note, Snapshot, annotator_id, finished, merged
from rerankops.config import load
from rerankops.errors import SettingsError

SERVER = "label-studio"
OTHER = {"from_name": "other", "value": {"choices": ["1"]}}
NOTE = Note(7, 2, "2026-05-01T10:00:00.000000Z", complete=False)


def annotation(number: int, user: int | None, grade: Any = "2", **more: Any) -> dict[str, Any]:
    result = [{"from_name": "grade", "to_name": "passage", "type": "choices", "value": {"choices": [grade]}}]
    about = {"id": number, "completed_by": user, "updated_by": user, "was_cancelled": False, "lead_time": 3.20049}
    return about | {"updated_at": "2026-05-01T09:00:00Z", "result": result} | more


def task(number: int, *annotations: dict[str, Any], **data: Any) -> dict[str, Any]:
    texts = {"query_text": "问", "passage_title": "", "passage_text": "行\u2028行\x85\n行"}
    return {
        "id": number,
        "annotations": list(annotations),
        "data": {"batch_id": "b", "task_id": f"t{number}"} | texts | data,
    }


def rows(before: Snapshot | None, *tasks: dict[str, Any], whole: bool = False) -> Snapshot:
    return Snapshot(NOTE, merged(before, tasks, whole=whole, server=SERVER))


def test_a_snapshot_reads_back_as_itself_and_as_rows() -> None:
    snapshot = rows(
        None, task(1, annotation(1, 5), annotation(2, 6, "9")), task(2, annotation(3, 5), query_text="\ud800")
    )
    assert Snapshot.of(snapshot.content()) == snapshot
    delivery = read(snapshot.content(), source="b.jsonl")
    assert delivery.rows["grade"].to_pylist() == ["2", "9", "2"]
    assert delivery.rows["line"].to_pylist() == [2, 3, 4]
    assert delivery.rows["lead_seconds"].to_pylist() == ["3.2"] * 3
    assert delivery.rows["passage_text"][0].as_py() == "行\u2028行\x85\n行"
    assert delivery.unreadable == ()


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"{}", b'{"batch_id": "b"}', b'{"_snapshot": {"x": 1}}', b"\xff\xfe", b"[1]"]
)
def test_what_is_no_snapshot_means_that_the_project_is_read_as_a_whole(content: bytes) -> None:
    assert Snapshot.of(content) is None


def test_tasks_that_changed_replace_what_they_were_in_any_order() -> None:
    before = rows(None, task(1, annotation(1, 5), annotation(2, 6)), task(2, annotation(3, 5)))
    changed = [task(2), task(1, annotation(4, 7), annotation(1, 5, "0")), task(3, annotation(5, 5))]
    after = rows(before, *changed)
    assert [(row["source_annotation"], row["grade"]) for row in after.rows] == [(1, "0"), (4, "2"), (5, "2")]
    assert rows(before, *reversed(changed)).content() == after.content()
    assert rows(after, *changed).content() == after.content()
    assert [row["source_annotation"] for row in rows(before, task(3, annotation(5, 5)), whole=True).rows] == [5]


@pytest.mark.parametrize(
    ("more", "grade", "doubt"),
    [
        ({}, "2", False),
        ({"result": []}, None, False),
        ({"result": None}, None, False),
        ({"result": "nonsense"}, None, False),
        (
            {"result": [{"from_name": "other", "value": {"choices": ["1"]}}]},
            [{"from_name": "other", "value": {"choices": ["1"]}}],
            False,
        ),
        ({"result": [7]}, [7], False),
        ({"updated_by": 6}, "2", True),
        ({"completed_by": None}, "2", True),
        ({"completed_by": {"id": 5, "email": "x@y"}}, "2", False),
    ],
)
def test_what_stands_there_is_delivered_as_it_is(more: dict[str, Any], grade: Any, doubt: bool) -> None:
    (row,) = rows(None, task(1, annotation(1, 5, **more))).rows
    assert row["grade"] == grade
    assert (row["annotator_id"] is None) == (row["doubt"] is not None) == doubt
    assert "x@y" not in str(row)


def test_pseudonyms_are_stable_and_differ_between_people_and_servers() -> None:
    names = {annotator_id(user, server) for user in (5, 6) for server in ("one", "two")}
    assert len(names) == 4
    assert annotator_id(5, "one") in names


def test_a_deleted_account_keeps_its_pseudonym_until_its_grade_changes() -> None:
    before = rows(None, task(1, annotation(1, 5)))
    gone = annotation(1, 5, completed_by=None, updated_by=None)
    assert rows(before, task(1, gone)).rows == before.rows
    assert rows(before, task(1, gone), whole=True).rows == before.rows
    (row,) = rows(before, task(1, gone | {"updated_at": "2026-05-02T09:00:00Z"})).rows
    assert row["annotator_id"] is None


def test_a_project_is_finished_when_each_task_has_as_many_people_as_were_asked() -> None:
    two = [task(1, annotation(1, 5), annotation(2, 6)), task(2, annotation(3, 5), annotation(4, 6))]
    assert finished(rows(None, *two).rows, tasks=2, annotators=2)
    assert not finished(rows(None, *two).rows, tasks=3, annotators=2)
    assert not finished(rows(None, *two).rows, tasks=2, annotators=3)
    assert not finished((), tasks=0, annotators=1)
    twice = [task(1, annotation(1, 5), annotation(2, 5)), two[1]]
    assert not finished(rows(None, *twice).rows, tasks=2, annotators=2)
    doubtful = [task(1, annotation(1, 5), annotation(2, 6, updated_by=5)), two[1]]
    assert not finished(rows(None, *doubtful).rows, tasks=2, annotators=2)


# -- the connection ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        (Connection("labels.example.com", "t"), "setting label_studio.url is 'labels.example.com'"),
        (Connection("ftp://labels", "t"), "give http://HOST:PORT"),
        (Connection("http://me:secret@labels", "t"), "has credentials in it"),
        (Connection("http://labels", "to ken"), "holds a character that no token has"),
        (Connection("http://labels", "t", "/nowhere/ca.pem"), "there is no file /nowhere/ca.pem"),
    ],
)
def test_an_unusable_connection_names_the_setting(connection: Connection, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as error:
        connection.checked()
    assert "secret" not in str(error.value)


def test_a_connection_comes_from_the_settings_and_the_environment() -> None:
    settings = load(environ={"RERANKOPS__LABEL_STUDIO__URL": "http://labels:8080/"}).label_studio
    connection = Connection.configured(settings, {"RERANKOPS_LABEL_STUDIO_TOKEN": "secret\n"}).checked()
    assert (connection.url, connection.token) == ("http://labels:8080", "secret")
    assert "secret" not in repr(connection)
    with pytest.raises(SettingsError, match="RERANKOPS_LABEL_STUDIO_TOKEN is not set"):
        Connection.configured(settings, {})
    with pytest.raises(SettingsError, match=r"label_studio\.url names no server"):
        Connection.configured(load(environ={}).label_studio, {"RERANKOPS_LABEL_STUDIO_TOKEN": "t"})
    with pytest.raises(SettingsError, match="below deadline_days 20"):
        load(environ={"RERANKOPS__LABEL_STUDIO__DEADLINE_DAYS": "20", "RERANKOPS__LABEL_STUDIO__OPEN_DAYS": "3"})
