"""The file channel: what leaves, what comes back, and how broken files are kept."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import random
from datetime import datetime
from typing import Any

import polars as pl
import pytest
from openpyxl import load_workbook
from upath import UPath

from rerankops import config
from rerankops.annotation import Delivery, FileChannel, _json_lines, read
from rerankops.annotation.channel import RAW, SENT
from rerankops.annotation.deliveries import FIELDS, OPTIONAL, SNAPSHOT
from rerankops.annotation.label_studio.snapshots import annotator_id
from rerankops.errors import InputError


def pulled(channel: FileChannel) -> list[Delivery]:
    return list(channel.pull(lambda stream: None))


def nulls(**values: object) -> dict[str, object]:
    return dict.fromkeys((*FIELDS, *OPTIONAL)) | values


# -- out --------------------------------------------------------------------------------------------------------------


def test_a_batch_is_sent_as_one_line_a_task_without_what_is_known_of_it(tasks, tmp_path):
    sent = FileChannel(tmp_path / "out", tmp_path / "in").send("batch-1", tasks)
    assert sent == str(tmp_path / "out" / "batch-1.jsonl")
    lines = (tmp_path / "out" / "batch-1.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == tasks.num_rows
    rows = [json.loads(line) for line in lines]
    assert [row["task_id"] for row in rows] == tasks["task_id"].to_pylist()
    assert rows[0]["query_text"] == tasks["query_text"][0].as_py()
    assert {frozenset(row) for row in rows} == {frozenset(tasks.column_names) - {"control_grade", "chosen_for"}}


def test_a_csv_batch_opens_in_excel_and_comes_back_as_it_was(tasks, tmp_path):
    texts = [
        "=cmd|' /C calc'!A0",
        "+1",
        "-后备箱",
        "@x",
        "'=x",
        "＝1+1",
        "＋1",
        "－1",
        "＠SUM(A1)",
        "\u3000=1+1",
        '有"引号", 逗号\n换行',
        "2024-01-02",
        "12e45",
        "TRUE",
        "a=b",
    ]
    frame = pl.DataFrame(pl.from_arrow(tasks)).head(len(texts)).with_columns(passage_text=pl.Series(texts))
    channel = FileChannel(tmp_path / "out", tmp_path / "out", "csv")
    sent = UPath(channel.send("batch-1", frame.to_arrow()))
    content = sent.read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    heading, *cells = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    assert heading == [*SENT, "annotator_id", "grade", "annotated_at"]
    assert not [cell for row in cells for cell in row if cell.startswith(tuple("=+-@＝＋－＠\t\r"))]
    shown = [row[heading.index("passage_text")] for row in cells]
    assert shown == [text if text in {texts[10], "a=b"} else "'" + text for text in texts]
    (delivery,) = pulled(channel)
    assert delivery.rows["passage_text"].to_pylist() == texts
    assert delivery.rows["task_id"].to_pylist() == frame["task_id"].to_list()
    assert delivery.rows["grade"].null_count == len(texts)


def test_a_workbook_comes_back_as_it_was_with_what_people_typed(tasks, tmp_path):
    texts = ["=1+1", "'=x", "0012", "73928e05", "2024-01-02", "两\n行", "control\x07character", "plain"]
    frame = pl.DataFrame(pl.from_arrow(tasks)).head(len(texts)).with_columns(passage_text=pl.Series(texts))
    channel = FileChannel(tmp_path / "out", tmp_path / "out", "xlsx")
    path = UPath(channel.send("batch-1", frame.to_arrow()))
    assert path.name == "batch-1.xlsx"
    book = load_workbook(path.path)
    heading, *rows = book.active.iter_rows()
    place = {cell.value: number for number, cell in enumerate(heading)}
    assert {cell.number_format for row in rows for cell in row} == {"@"}
    for number, row in enumerate(rows):
        row[place["annotator_id"]].value = "0012"
        row[place["grade"]].value = number % 4 if number % 2 else str(number % 4)
        row[place["annotated_at"]].value = datetime(2026, 11, 30, 8, 54) if number % 2 else "2026/11/30 8:54"
    book.save(path.path)
    (delivery,) = pulled(channel)
    assert delivery.unreadable == ()
    assert delivery.rows["passage_text"].to_pylist() == [text.replace("\x07", " ") for text in texts]
    assert delivery.rows["task_id"].to_pylist() == frame["task_id"].to_list()
    assert set(delivery.rows["annotator_id"].to_pylist()) == {"0012"}
    assert delivery.rows["grade"].to_pylist() == [str(number % 4) for number in range(len(texts))]
    assert {moment[:16] for moment in delivery.rows["annotated_at"].to_pylist()} == {"2026-11-30T08:54"}


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_sending_twice_leaves_the_same_one_file(tasks, tmp_path, form):
    channel = FileChannel(tmp_path / "out", tmp_path / "in", form)
    channel.send("batch-1", tasks)
    first = (tmp_path / "out" / f"batch-1.{form}").read_bytes()
    channel.send("batch-1", tasks)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"batch-1.{form}"]
    assert (tmp_path / "out" / f"batch-1.{form}").read_bytes() == first


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
    (delivery,) = pulled(channel)
    assert delivery.batch_id == "batch-1"
    assert delivery.rows["task_id"].to_pylist() == tasks["task_id"].to_pylist()


# -- in ---------------------------------------------------------------------------------------------------------------


def test_an_inbox_that_does_not_exist_holds_nothing(tmp_path):
    assert pulled(FileChannel(tmp_path / "out", tmp_path / "in")) == []


def test_finished_files_are_pulled_in_order_and_stored_ones_left_out(tmp_path):
    for name in ("b.jsonl", "a.JSONL", "c.csv", ".c.jsonl", "d.jsonl.part", "e.doc"):
        (tmp_path / name).write_text(json.dumps({"batch_id": name}) + "\n")
    (tmp_path / "folder.jsonl").mkdir()
    channel = FileChannel(tmp_path / "out", tmp_path)
    deliveries = pulled(channel)
    assert [delivery.source for delivery in deliveries] == ["a.JSONL", "b.jsonl", "c.csv"]
    stored = {deliveries[0].stream: deliveries[0].content}
    assert [delivery.source for delivery in channel.pull(stored.get)] == ["b.jsonl", "c.csv"]
    left_out = {str(item.place).rpartition("/")[2]: item.reason for item in channel.left_out()}
    assert set(left_out) == {".c.jsonl", "d.jsonl.part", "e.doc", "folder.jsonl"}
    assert "still being written" in left_out["d.jsonl.part"]
    assert "ends like no table's" in left_out["e.doc"]


def test_values_are_kept_as_text_with_their_line_numbers():
    line = {"batch_id": "b", "task_id": 7, "annotator_id": None, "grade": 2, "annotated_at": ["x"], "comment": "好"}
    content = ("\ufeff\n" + json.dumps(line) + "\r\n  \n" + json.dumps({"grade": True})).encode()
    delivery = read(content, source="b.jsonl")
    assert delivery.rows.schema.equals(RAW)
    assert delivery.rows.to_pylist() == [
        nulls(line=2, batch_id="b", task_id="7", grade="2", annotated_at='["x"]'),
        nulls(line=4, grade="true"),
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


def test_a_channels_note_in_the_first_line_is_no_annotation():
    note = json.dumps({SNAPSHOT: {"watermark": None}})
    delivery = read(f'{note}\n{{"grade": 1}}\n{note}'.encode(), source="b.jsonl")
    assert delivery.rows["line"].to_pylist() == [2, 3]
    assert delivery.unreadable == ()


def test_the_batch_is_the_one_most_lines_name_else_the_files_name():
    def named(*ids: str) -> str:
        return read("\n".join(json.dumps({"batch_id": each}) for each in ids).encode(), source="file.jsonl").batch_id

    assert named("b", "a", "b") == "b"
    assert named("b", "a") == "a"
    assert named() == "file"
    assert named("../../etc", "../../etc", "a") == "a"
    assert named("../../etc") == "file"


# -- the two ways to read a line are one ------------------------------------------------------------------------------

VALUES = [
    *(
        '"a"',
        '"好"',
        '"\\u540e"',
        '"\\ud83d\\ude00"',
        '"\\ud800"',
        '"\\""',
        '"\\\\"',
        '"\x01"',
        '"\\u0000"',
        '"\\t"',
        '""',
    ),
    *(
        '" "',
        '"\u2028"',
        '"a\\/b"',
        '"\\x"',
        '"\U0001f600"',
        '"grade\\":"',
        "1",
        "-1",
        "0",
        "-0",
        "01",
        "+1",
        ".5",
        "5.",
    ),
    *("12.0", "12.5", "1e3", "1E-7", "0.00001", "0.0001", "0.00012", "123456789.123457", "1234567890.5", "0.1", "-0.0"),
    *("0.30000000000000004", "12345678901234567890", "999999999999999", "true", "false", "null", "NaN", "Infinity"),
    *("[1,2]", '{"x":1}'),
]
KEYS = [*FIELDS, *OPTIONAL[:2], "x", "gr\\u0061de", "é"]


def some_line(chance: random.Random, layouts: list[list[str]]) -> bytes:
    keys = chance.choice(layouts) if chance.random() < 0.8 else chance.choices(KEYS, k=chance.randrange(6))
    plain = ["1", "12.5", *VALUES[:3]]
    pairs = [f'"{key}":{chance.choice(VALUES if chance.random() < 0.2 else plain)}' for key in keys]
    text = chance.choice(["", "", " "]) + "{" + chance.choice([",", ", ", " ,\t"]).join(pairs) + "}"
    damage = chance.random()
    if damage < 0.04:
        text = text[: chance.randrange(len(text) + 1)]
    elif damage < 0.08:
        text = chance.choice([text * 2, "[1]", "", " \x0b", text + "\r"])
    line = text.encode("utf-8", "surrogatepass")
    return line + b"\xff" if damage > 0.995 else line


def test_fast_reading_gives_what_pythons_json_gives(monkeypatch):
    chance = random.Random(7)
    fast = 0
    for _ in range(150):
        layouts = [chance.sample(KEYS[:8], chance.randrange(1, 8)) for _ in range(chance.randrange(1, 12))]
        content = b"\n".join(some_line(chance, layouts) for _ in range(chance.randrange(40)))
        monkeypatch.setattr(_json_lines, "_CHUNK", chance.choice([100, 1000, 2**24]))
        one = _json_lines.read(content)
        with monkeypatch.context() as patch:
            patch.setattr(_json_lines, "_LAYOUTS", 0)
            other = _json_lines.read(content)
        assert one.rows.equals(other.rows), content
        assert (one.unreadable, one.fields) == (other.unreadable, other.fields), content
        fast += one.rows.num_rows
    assert fast > 1000


@pytest.mark.parametrize("value", VALUES)
def test_every_kind_of_value_reads_alike_among_plain_lines(value, monkeypatch):
    content = "\n".join(['{"grade": 1, "task_id": "a"}'] * 3 + [f'{{"grade": {value}, "task_id": "b"}}'] * 2).encode()
    one = _json_lines.read(content)
    monkeypatch.setattr(_json_lines, "_LAYOUTS", 0)
    other = _json_lines.read(content)
    assert one == other
    assert one.rows.num_rows + len(one.unreadable) == 5


def test_well_formed_lines_are_read_together(monkeypatch):
    rows = [{"batch_id": "b", "task_id": f"t{n}", "grade": n % 4, "lead_seconds": 1.25, "x": "好"} for n in range(50)]
    content = "\n".join(json.dumps(row) for row in rows).encode()

    def refuse(*_: Any) -> None:
        raise AssertionError("read one by one")

    monkeypatch.setattr(_json_lines, "_lenient_rows", refuse)
    assert read(content, source="b.jsonl").rows["task_id"].to_pylist() == [f"t{n}" for n in range(50)]


# -- CSV --------------------------------------------------------------------------------------------------------------

TABLE = 'task_id,grade,annotator_id,query_text\r\nt1,3,甲,后备箱\r\n\r\nt2,\'0,乙,"两\n行"\r\nt3,,,\r\n'
EXPECTED = [
    nulls(line=2, task_id="t1", grade="3", annotator_id="甲", query_text="后备箱"),
    nulls(line=4, task_id="t2", grade="0", annotator_id="乙", query_text="两\n行"),
    nulls(line=6, task_id="t3"),
]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_is_read_in_every_encoding_and_with_every_delimiter_that_excel_writes(encoding, delimiter):
    delivery = read(TABLE.replace(",", delimiter).encode(encoding), source="Batch.CSV")
    assert delivery.rows.to_pylist() == EXPECTED
    assert delivery.rows.schema.equals(RAW)
    assert delivery.fields == {"task_id", "grade", "annotator_id", "query_text"}
    assert delivery.unreadable == ()


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (b"\xff\x00\xfe\x81", 1, "is no heading (none of the columns batch_id"),
        (b"task_id,grade\nt1,1\n\x81\xff", 3, "neither UTF-8 nor GB18030"),
        (b"a,b\n1,2\n", 1, "is no heading (none of the columns batch_id"),
        (b"grade,task_id,grade\n1,2,3\n", 1, "has the column 'grade' twice"),
        (b"task_id,grade\nt1,1\nt2,2,3\n", 3, "3 cells under 2 columns"),
        (b'task_id,grade\nt1,1\nt2,"2\n', 3, "a quotation mark is opened and not closed"),
        (b'task_id,grade\nt1,1\nt2,"2"x\n', 3, "not valid CSV ("),
        (b"task_id,grade\nt1,1\n7.39E+09,2\n", 3, "column task_id is '7.39E+09', which a spreadsheet has made"),
    ],
)
def test_csv_that_cannot_be_read_is_listed_with_its_line(content, line, words):
    delivery = read(content, source="b.csv")
    (unreadable,) = delivery.unreadable
    assert unreadable.line == line
    assert words in unreadable.words
    assert delivery.rows["task_id"].to_pylist() == (["t1"] if line == 3 else [])


def test_an_empty_csv_file_holds_nothing():
    delivery = read(b"", source="b.csv")
    assert (delivery.rows.num_rows, delivery.unreadable, delivery.fields) == (0, (), frozenset())


# -- what spreadsheets and Label Studio make of a batch ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026/11/30 8:54", "2026-11-30T08:54:00+00:00"),
        ("2026年11月30日 8:54", "2026-11-30T08:54:00+00:00"),
        ("1796000052", "2026-11-30T00:54:12+00:00"),
        ("2026-11-30T08:54:12Z", "2026-11-30T08:54:12Z"),
        ("2026-11-30 08:54:12", "2026-11-30 08:54:12"),
        ("05/06/2026", "05/06/2026"),
        ("soon", "soon"),
    ],
)
def test_a_time_with_one_meaning_is_read_however_it_is_written(written, meant):
    for content in (f"task_id,annotated_at\nt1,{written}\n", json.dumps({"task_id": "t1", "annotated_at": written})):
        assert read(content.encode(), source="b").rows["annotated_at"].to_pylist() == [meant]


def test_a_time_without_a_zone_is_in_the_zone_that_settings_name():
    settings = config.load(environ={}, overrides={"reading": {"time_zone": "Asia/Shanghai"}}).reading
    content = b"task_id,annotated_at\nt1,2026-11-30 08:54:12\nt2,2026-11-30T08:54:12Z\n"
    moments = read(content, source="b", settings=settings).rows["annotated_at"].to_pylist()
    assert moments == ["2026-11-30T00:54:12+00:00", "2026-11-30T08:54:12Z"]


EXPORT = [
    {
        "id": 7,
        "data": {"batch_id": "b", "task_id": "t1", "query_text": "q"},
        "annotations": [
            {
                "completed_by": 3,
                "updated_by": 3,
                "updated_at": "2026-11-30T08:54:12Z",
                "lead_time": 9.5,
                "result": [{"from_name": "grade", "value": {"choices": ["2"]}}],
            },
            {"completed_by": 4, "was_cancelled": True, "result": []},
            {"completed_by": 4, "updated_by": 5, "created_at": "2026-11-30T08:54:12Z", "result": []},
        ],
    },
    {"id": 8, "data": {"task_id": "t2"}, "annotations": "none"},
    {"id": 9, "data": {"task_id": "t3"}, "annotations": []},
]


def test_label_studios_json_export_is_read_as_its_projects_are():
    for content in (json.dumps(EXPORT), json.dumps(EXPORT, indent=2)):
        delivery = read(content.encode(), source="project-7.json", server="ls")
        first, second = delivery.rows.to_pylist()
        assert (first["task_id"], first["grade"], first["lead_seconds"]) == ("t1", "2", "9.5")
        assert (first["annotator_id"], first["doubt"]) == (annotator_id(3, "ls"), None)
        assert (second["annotator_id"], second["grade"]) == (None, None)
        assert "another account" in second["doubt"]
        (unreadable,) = delivery.unreadable
        assert "annotations that are no list" in unreadable.words


def test_the_rows_of_a_spreadsheet_are_known_beside_the_lines_of_the_file():
    delivery = read(b'task_id,grade\n"t\n1",1\nt2,2\nt3,3,4\n', source="b.csv")
    assert delivery.rows["line"].to_pylist() == [2, 4]
    assert delivery.spreadsheet == {4: 3, 5: 4}
    assert delivery.unreadable[0].words.endswith("(spreadsheet row 4)")
