"""The file channel: what leaves, what comes back, and how broken files are kept."""

from __future__ import annotations

import hashlib
import json

import pytest
from upath import UPath

from rerankops.annotation import FileChannel, read
from rerankops.annotation.channel import RAW
from rerankops.errors import InputError


def test_a_batch_is_sent_as_one_line_a_task_without_control_grades(tasks, tmp_path):
    sent = FileChannel(tmp_path / "out", tmp_path / "in").send("batch-1", tasks)
    assert sent == str(tmp_path / "out" / "batch-1.jsonl")
    lines = (tmp_path / "out" / "batch-1.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == tasks.num_rows
    rows = [json.loads(line) for line in lines]
    assert [row["task_id"] for row in rows] == tasks["task_id"].to_pylist()
    assert rows[0]["query_text"] == tasks["query_text"][0].as_py()
    assert not any("control" in line for line in lines)
    assert {frozenset(row) for row in rows} == {frozenset(tasks.column_names) - {"control_grade"}}


def test_sending_twice_leaves_the_same_one_file(tasks, tmp_path):
    channel = FileChannel(tmp_path / "out", tmp_path / "in")
    channel.send("batch-1", tasks)
    first = (tmp_path / "out" / "batch-1.jsonl").read_bytes()
    channel.send("batch-1", tasks)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["batch-1.jsonl"]
    assert (tmp_path / "out" / "batch-1.jsonl").read_bytes() == first


def test_a_send_that_fails_leaves_nothing_half_written(tasks, tmp_path):
    (tmp_path / "out" / "batch-1.jsonl").mkdir(parents=True)
    with pytest.raises(OSError):
        FileChannel(tmp_path / "out", tmp_path / "in").send("batch-1", tasks)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["batch-1.jsonl"]


@pytest.mark.parametrize("batch_id", ["../batch", "a/b", "", ".hidden", "a b", "x" * 200])
def test_a_batch_id_that_is_no_file_name_is_refused(batch_id, tasks, tmp_path):
    with pytest.raises(InputError, match="is no file name"):
        FileChannel(tmp_path / "out", tmp_path / "in").send(batch_id, tasks)
    assert not (tmp_path / "out").exists()


def test_the_channel_works_on_an_object_store(tasks):
    channel = FileChannel("memory://annotation/outbox", "memory://annotation/inbox")
    sent = channel.send("batch-1", tasks)
    inbox = UPath("memory://annotation/inbox")
    inbox.mkdir(parents=True, exist_ok=True)
    (inbox / "batch-1.jsonl").write_bytes(UPath(sent).read_bytes())
    (delivery,) = channel.pull()
    assert delivery.batch_id == "batch-1"
    assert delivery.rows["task_id"].to_pylist() == tasks["task_id"].to_pylist()


def test_an_inbox_that_does_not_exist_holds_nothing(tmp_path):
    assert FileChannel(tmp_path / "out", tmp_path / "in").pull() == []


def test_finished_files_are_pulled_in_order_and_seen_ones_left_out(tmp_path):
    for name in ("b.jsonl", "a.jsonl", ".c.jsonl", "d.jsonl.part", "e.txt"):
        (tmp_path / name).write_text(json.dumps({"batch_id": name}) + "\n")
    (tmp_path / "folder.jsonl").mkdir()
    channel = FileChannel(tmp_path / "out", tmp_path)
    deliveries = channel.pull()
    assert [delivery.source for delivery in deliveries] == ["a.jsonl", "b.jsonl"]
    assert [delivery.source for delivery in channel.pull(seen={deliveries[0].sha256})] == ["b.jsonl"]


def test_values_are_kept_as_text_with_their_line_numbers():
    line = {"batch_id": "b", "task_id": 7, "annotator_id": None, "grade": 2, "annotated_at": ["x"], "comment": "好"}
    content = ("\ufeff\n" + json.dumps(line) + "\r\n  \n" + json.dumps({"grade": True})).encode()
    delivery = read(content, source="b.jsonl")
    assert delivery.rows.schema.equals(RAW)
    assert delivery.rows.to_pylist() == [
        {"line": 2, "batch_id": "b", "task_id": "7", "annotator_id": None, "grade": "2", "annotated_at": '["x"]'},
        {"line": 4, "batch_id": None, "task_id": None, "annotator_id": None, "grade": "true", "annotated_at": None},
    ]
    assert delivery.content == content
    assert delivery.sha256 == hashlib.sha256(content).hexdigest()
    assert delivery.fields == {"batch_id", "task_id", "annotator_id", "grade", "annotated_at"}


@pytest.mark.parametrize(
    "line",
    [
        b'{"grade": 1',
        b"[1]",
        b"null",
        b"\xff\xfe\x00",
        b"PK\x03\x04",
        b"[" * 100_000,
        b'{"grade": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_line_that_cannot_be_read_is_listed_and_the_rest_kept(line):
    delivery = read(b'{"grade": 1}\n' + line + b'\n{"grade": 2}', source="b.jsonl")
    assert delivery.rows["line"].to_pylist() == [1, 3]
    (unreadable,) = delivery.unreadable
    assert unreadable.line == 2
    assert len(unreadable.words) < 250


def test_half_a_surrogate_pair_does_not_stop_reading():
    delivery = read(b'{"annotator_id": "\\ud800x"}', source="b.jsonl")
    assert delivery.rows["annotator_id"].to_pylist() == ["\\ud800x"]


def test_the_batch_is_the_one_most_lines_name_else_the_files_name():
    def named(*ids: str) -> str:
        return read("\n".join(json.dumps({"batch_id": each}) for each in ids).encode(), source="file.jsonl").batch_id

    assert named("b", "a", "b") == "b"
    assert named("b", "a") == "a"
    assert named() == "file"
    assert named("../../etc", "../../etc", "a") == "a"
    assert named("../../etc") == "file"
