"""The query log in files: every format reads alike, in pages, and whatever cannot be read is named by file and line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from rerankops.config import QueryLogSettings, load
from rerankops.elastic import Cluster
from rerankops.errors import InputError, SettingsError
from rerankops.queries.logs import RAW_EVENT, open_log

Row = dict[str, Any]
LogAt = Callable[..., QueryLogSettings]
HOW = load(environ={}).reading

EVENT = {"event_id": "e1", "text": "胎压多少", "issued_at": "2026-09-01T08:30:00Z"}
FULL = {
    "event_id": "e2",
    "text": "后备箱, 多大？\n升",
    "issued_at": "2026-09-01T09:00:00.000001Z",
    "source": "app",
    "shown_passage_ids": ["p1", "p2"],
    "clicked_passage_ids": ["p2"],
    "feedback": "up",
}
UNMAPPED = {"user_group": None, "preferred_passage_id": None, "ranker": None, "randomised": None}
READ = [
    {
        **EVENT,
        "issued_at": datetime(2026, 9, 1, 8, 30, tzinfo=UTC),
        "source": "query_log",
        "shown_passage_ids": [],
        "clicked_passage_ids": [],
        "feedback": "none",
        **UNMAPPED,
    },
    {**FULL, "issued_at": datetime(2026, 9, 1, 9, 0, 0, 1, tzinfo=UTC), **UNMAPPED},
]


def no_cluster() -> Cluster:
    raise AssertionError("files need none")


def pages(settings: QueryLogSettings, **window: datetime) -> list[pa.Table]:
    found = list(open_log(settings, HOW, {}, no_cluster).read(**window))
    assert all(page.schema == RAW_EVENT for page in found)
    return found


def read(settings: QueryLogSettings, **window: datetime) -> list[Row]:
    return [row for page in pages(settings, **window) for row in page.to_pylist()]


def ids(settings: QueryLogSettings, **window: datetime) -> list[str]:
    return [row["event_id"] for row in read(settings, **window)]


# -- the formats


def as_json(rows: Sequence[Row]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def as_csv(rows: Sequence[Row], lists: Callable[[list[str]], str] = "|".join) -> bytes:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(columns)
    for row in rows:
        values = [row.get(name, "") for name in columns]
        writer.writerow([lists(value) if isinstance(value, list) else value for value in values])
    return out.getvalue().encode()


def as_parquet(rows: Sequence[Row], **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows)), out, **options)
    return out.getvalue()


def timed(rows: Sequence[Row]) -> list[Row]:
    """Typed columns instead of text, every column in every row."""
    columns = list(FULL)
    return [{name: row.get(name) for name in columns} | {"issued_at": row["issued_at"]} for row in rows]


FORMATS: dict[str, Callable[[Sequence[Row]], bytes]] = {
    "a.jsonl": as_json,
    "a.jsonl.gz": lambda rows: gzip.compress(as_json(rows)),
    "a.csv": as_csv,
    "a.csv.gz": lambda rows: gzip.compress(as_csv(rows, json.dumps)),
    "a.parquet": lambda rows: as_parquet(timed(rows)),
}


@pytest.fixture(params=list(FORMATS))
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Sequence[Row]], Path]:
    """Writes rows as a file of each format in turn."""

    def write(rows: Sequence[Row]) -> Path:
        path = tmp_path / request.param
        path.write_bytes(FORMATS[request.param](rows))
        return path

    return write


def test_every_format_gives_the_same_events(written: Callable[[Sequence[Row]], Path], log_at: LogAt) -> None:
    assert read(log_at(written([EVENT, FULL]))) == READ


def test_an_object_store_is_read_alike(log_at: LogAt) -> None:
    root = UPath(f"memory://{uuid.uuid4().hex}")
    root.mkdir()
    for name, write in FORMATS.items():
        (root / name).write_bytes(write([EVENT, FULL]))
        assert read(log_at(root / name)) == READ
    assert read(log_at(root)) == READ * len(FORMATS)


def test_a_folder_is_read_in_the_order_of_names_whatever_the_formats(tmp_path: Path, log_at: LogAt) -> None:
    (tmp_path / "2.jsonl").write_bytes(as_json([EVENT | {"event_id": "2"}]))
    (tmp_path / "1.csv").write_bytes(as_csv([EVENT | {"event_id": "1"}]))
    (tmp_path / "3.parquet").write_bytes(as_parquet([EVENT | {"event_id": "3"}]))
    (tmp_path / "0.jsonl.part").write_bytes(b"half")
    assert ids(log_at(tmp_path)) == ["1", "2", "3"]


def test_a_file_of_any_other_name_is_json_lines(tmp_path: Path, log_at: LogAt) -> None:
    (tmp_path / "queries.log").write_bytes(as_json([EVENT]))
    assert ids(log_at(tmp_path / "queries.log")) == ["e1"]


def test_pages_are_no_larger_than_asked_for_and_never_empty(
    written: Callable[[Sequence[Row]], Path], log_at: LogAt
) -> None:
    day = datetime(2026, 9, 1, tzinfo=UTC)
    log = written(
        [EVENT | {"event_id": f"e{n}", "issued_at": (day + timedelta(hours=n)).isoformat()} for n in range(9)]
    )
    assert [page.num_rows for page in pages(log_at(log, page_size=4))] == [4, 4, 1]
    inside = {"since": day + timedelta(hours=3), "until": day + timedelta(hours=5)}
    assert [page["event_id"].to_pylist() for page in pages(log_at(log, page_size=4), **inside)] == [["e3", "e4"]]
    assert pages(log_at(log), since=day + timedelta(days=1)) == []


def test_a_window_takes_its_start_and_leaves_its_end_to_the_microsecond(
    written: Callable[[Sequence[Row]], Path], log_at: LogAt
) -> None:
    log = written([EVENT | {"event_id": f"e{n}", "issued_at": f"2026-09-01T08:30:00.00000{n}Z"} for n in range(6)])
    moments = {n: datetime(2026, 9, 1, 8, 30, 0, n, tzinfo=UTC) for n in (2, 4)}
    assert ids(log_at(log), since=moments[2], until=moments[4]) == ["e2", "e3"]


@pytest.mark.parametrize("name", ["", "absent", "absent.jsonl", "empty"])
def test_nothing_there_names_the_setting(
    tmp_path: Path, name: str, log_at: LogAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError, match=r"query_log\.location (is '|names nothing)"):
        read(log_at(name))


def test_an_empty_log_has_no_events(tmp_path: Path, log_at: LogAt) -> None:
    for name in ("a.jsonl", "a.csv"):
        (tmp_path / name).write_bytes(b"\n")
    pq.write_table(pa.Table.from_pylist([EVENT]).slice(1), tmp_path / "a.parquet")
    assert pages(log_at(tmp_path)) == []


# -- fields


def test_fields_may_be_called_otherwise_and_lie_deeper(tmp_path: Path, log_at: LogAt) -> None:
    row = {"id": 17, "query": {"text": "胎压"}, "@timestamp": "2026-09-01T08:30:00Z", "shown": {"passages": ["p1", 2]}}
    names = {
        "event_id": "id",
        "text": "query.text",
        "issued_at": "@timestamp",
        "shown_passage_ids": "shown.passages",
        "source": None,
        "clicked_passage_ids": None,
        "feedback": None,
    }
    (tmp_path / "a.jsonl").write_bytes(as_json([{**row, "feedback": "nonsense", "source": 5}]))
    row["shown"] = {"passages": ["p1", "2"]}
    (tmp_path / "b.parquet").write_bytes(as_parquet([row]))
    (tmp_path / "c.csv").write_bytes(as_csv([{**row, "query.text": "胎压", "shown.passages": "p1|2"}]))
    event = READ[0] | {"event_id": "17", "text": "胎压", "shown_passage_ids": ["p1", "2"]}
    assert read(log_at(tmp_path, **names)) == [event] * 3


MAPPED = {"user_group": "who", "preferred_passage_id": "answer", "ranker": "served.by", "randomised": "shuffled"}


@pytest.mark.parametrize("shuffled", [True, False, 1, 0, "true", "False", "1", None, ""])
def test_what_users_were_shown_by_whom_is_read_where_it_is_mapped(
    tmp_path: Path, shuffled: object, log_at: LogAt
) -> None:
    row: Row = EVENT | {"who": "dealers", "answer": 17, "served": {"by": "v3"}, "shuffled": shuffled}
    (tmp_path / "a.jsonl").write_bytes(as_json([row]))
    flat = {name: value for name, value in row.items() if name != "served"} | {"served.by": "v3"}
    (tmp_path / "b.csv").write_bytes(as_csv([flat]))
    (tmp_path / "c.parquet").write_bytes(as_parquet([row]))
    expected = {None: None, "": None, "true": True, "1": True}.get(shuffled, shuffled in (True, 1))  # type: ignore[call-overload]
    event = READ[0] | {
        "user_group": "dealers", "preferred_passage_id": "17", "ranker": "v3", "randomised": expected
    }  # fmt: skip
    assert read(log_at(tmp_path, **MAPPED)) == [event] * 3
    assert read(log_at(tmp_path)) == [READ[0]] * 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shuffled": "maybe"}, r"shuffled \(our randomised\) is 'maybe', expected true or false"),
        ({"shuffled": 2}, r"is 2, expected true or false"),
        ({"shuffled": 1.0}, r"is 1.0, expected true or false"),
        ({"who": ["dealers"]}, r"who \(our user_group\) must be text or a whole number, found list"),
        ({"answer": 0.5}, r"answer \(our preferred_passage_id\) is the number 0.5; is it an identifier"),
        ({"served": {"by": True}}, r"served.by \(our ranker\) must be text or a whole number, found bool"),
    ],
)
def test_what_they_were_shown_is_named_when_it_is_nonsense(
    tmp_path: Path, changes: dict[str, Any], said: str, log_at: LogAt
) -> None:
    (tmp_path / "a.jsonl").write_bytes(as_json([EVENT | changes]))
    with pytest.raises(InputError, match=rf"a\.jsonl:1: .*{said}"):
        read(log_at(tmp_path, **MAPPED))


def test_a_dotted_name_may_be_a_field_of_its_own(tmp_path: Path, log_at: LogAt) -> None:
    values: list[Row] = [{"a.q.text": "一"}, {"a": {"q": {"text": "二"}}}, {"a": {}, "a.q": {"text": "三"}}]
    (tmp_path / "a.jsonl").write_bytes(as_json([EVENT | value for value in values]))
    assert [row["text"] for row in read(log_at(tmp_path, text="a.q.text"))] == ["一", "二", "三"]


@pytest.mark.parametrize(
    ("written_as", "hour"),
    [
        ("2026-09-01T16:30:00+08:00", 8),
        ("2026-09-01 08:30:00", 8),
        ("2026-09-01T08:30:00.000Z", 8),
        ("20260901T083000Z", 8),
        ("2026-09-01", 0),
    ],
)
def test_times_are_taken_to_utc(tmp_path: Path, written_as: str, hour: int, log_at: LogAt) -> None:
    (tmp_path / "a.jsonl").write_bytes(as_json([EVENT | {"issued_at": written_as}]))
    (tmp_path / "a.csv").write_bytes(as_csv([EVENT | {"issued_at": written_as}]))
    for row in read(log_at(tmp_path)):
        assert row["issued_at"].astimezone(UTC).hour == hour


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.timestamp("ns"), datetime(2026, 9, 1, 8, 30)),
        (pa.timestamp("s"), datetime(2026, 9, 1, 8, 30)),
        (pa.timestamp("ms", tz="Asia/Shanghai"), datetime(2026, 9, 1, 8, 30, tzinfo=UTC)),
        (pa.timestamp("ns", tz="UTC"), datetime(2026, 9, 1, 8, 30, tzinfo=UTC)),
        (pa.string(), "2026-09-01T08:30:00Z"),
        (pa.date32(), date(2026, 9, 1)),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_parquet_time_may_have_any_type_and_lie_anywhere(
    tmp_path: Path, kind: pa.DataType, value: object, nested: bool, log_at: LogAt
) -> None:
    column = pa.array([value], kind)
    if nested:
        column = pa.StructArray.from_arrays([column], ["at"])
    table = pa.table({"event_id": ["e1"], "text": ["胎压多少"], "when": column})
    pq.write_table(table, tmp_path / "a.parquet")
    settings = log_at(tmp_path, issued_at="when.at" if nested else "when")
    moment = datetime(2026, 9, 1, *((0,) if kind == pa.date32() else (8, 30)), tzinfo=UTC)
    assert read(settings) == [READ[0] | {"issued_at": moment}]
    assert read(settings, since=moment, until=moment + timedelta(microseconds=1)) == read(settings)
    assert read(settings, until=moment) == read(settings, since=moment + timedelta(microseconds=1)) == []


def test_row_groups_outside_the_window_are_not_read(tmp_path: Path, log_at: LogAt) -> None:
    """Their pages are destroyed, and nobody notices."""
    moments = [datetime(2026, 9, 1, hour, tzinfo=UTC) for hour in range(8)]
    rows = [EVENT | {"event_id": f"e{n}", "issued_at": moment} for n, moment in enumerate(moments)]
    whole = as_parquet(rows, row_group_size=2)
    group = pq.ParquetFile(io.BytesIO(whole)).metadata.row_group(0)
    begin = min(group.column(i).dictionary_page_offset or group.column(i).data_page_offset for i in range(3))
    path = tmp_path / "a.parquet"
    path.write_bytes(whole[:begin] + bytes(group.total_byte_size // 2) + whole[begin + group.total_byte_size // 2 :])
    assert ids(log_at(path), since=moments[4], until=moments[7]) == ["e4", "e5", "e6"]
    with pytest.raises(InputError, match=r"a\.parquet: cannot be read"):
        read(log_at(path))


# -- what cannot be read


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"event_id": None}, r"event_id is missing; it has \['issued_at', 'text'\].* query_log\.fields\.event_id"),
        ({"event_id": ""}, "event_id is missing"),
        ({"text": None}, "text is missing"),
        ({"text": 5}, "text must be text, found int"),
        ({"text": "\ud83d"}, "half of a surrogate pair"),
        ({"event_id": 5.5}, "event_id is the number 5.5; is it an identifier"),
        ({"event_id": True}, "event_id must be text or a whole number, found bool"),
        ({"issued_at": True}, r"issued_at must be text \(ISO 8601\) or a timestamp, found bool"),
        ({"issued_at": 1788}, "issued_at is 1788, expected ISO 8601"),
        ({"issued_at": "yesterday"}, "issued_at is 'yesterday', expected ISO 8601 such as"),
        ({"issued_at": "0001-01-01T00:00:00+14:00"}, "issued_at is '0001"),
        ({"feedback": "meh"}, r"feedback is 'meh', allowed are \['none', 'up', 'down'\]"),
        ({"feedback": ["up"]}, r"feedback is \['up'\]"),
        ({"shown_passage_ids": "p1,p2"}, "shown_passage_ids is 'p1,p2': one identifier, or several"),
        ({"shown_passage_ids": {"p1": 1}}, "shown_passage_ids must be a list, found dict"),
        ({"clicked_passage_ids": [1.5]}, "clicked_passage_ids is the number 1.5; is it an identifier"),
        ({"source": 5}, "source must be text, found int"),
    ],
)
def test_a_bad_event_is_named_by_file_and_line(
    tmp_path: Path, changes: dict[str, Any], said: str, log_at: LogAt
) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{**EVENT, "event_id": "e0"}, {**EVENT, **changes}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}:2: .*{said}") as error:
        read(log_at(path))
    assert "\n" not in str(error.value)


def test_a_field_of_another_name_is_named_by_both(tmp_path: Path, log_at: LogAt) -> None:
    (tmp_path / "a.jsonl").write_bytes(as_json([EVENT | {"thumb": "sideways"}]))
    with pytest.raises(InputError, match=r"a\.jsonl:1: thumb \(our feedback\) is 'sideways'"):
        read(log_at(tmp_path, feedback="thumb"))


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        (
            "event_id,text\ne1,t\n",
            "",
            r"has no column issued_at; it has \['event_id', 'text'\]. .*set query_log.fields",
        ),
        ("event_id,text,issued_at\ne1,t,2026-09-01\ne2,t\n", ":3", "2 cells under 3 columns"),
        ("event_id,text,issued_at\ne1,a,b,2026-09-01\n", ":2", "4 cells under 3 columns"),
        ('event_id,text,issued_at\ne1,"a\nb",2026-09-01\ne2,"t,2026-09-01\n', ":4", "not valid CSV"),
        ('event_id,text,issued_at\ne1,"a\nb",2026-09-01\ne2,t,soon\n', ":4", "issued_at is 'soon'"),
        ("event_id,text,issued_at\ne1,t,\n", ":2", "issued_at is missing"),
        ("event_id,text,issued_at,shown_passage_ids\ne1,t,2026-09-01,[p1\n", ":2", "shown_passage_ids is no list"),
        ("event_id,text,issued_at,feedback\ne1,t,2026-09-01,1\n", ":2", "feedback is '1'"),
    ],
)
def test_bad_csv_is_named_by_file_and_line(tmp_path: Path, content: str, line: str, said: str, log_at: LogAt) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content, newline="")
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}{line}[: ].*{said}"):
        read(log_at(path))


def test_bad_parquet_is_named_by_file_and_row(tmp_path: Path, log_at: LogAt) -> None:
    path = tmp_path / "a.parquet"
    rows = [EVENT | {"event_id": f"e{n}", "issued_at": datetime(2026, 9, 1 + n, tzinfo=UTC)} for n in range(5)]
    path.write_bytes(as_parquet([*rows, rows[4] | {"text": None}], row_group_size=2))
    with pytest.raises(InputError, match=r"a\.parquet row 6: text is missing"):
        read(log_at(path), since=datetime(2026, 9, 4, tzinfo=UTC))
    path.write_bytes(as_parquet([*rows, rows[4] | {"issued_at": None}], row_group_size=2))
    with pytest.raises(InputError, match=r"a\.parquet row 6: issued_at is missing"):
        read(log_at(path), since=datetime(2026, 9, 4, tzinfo=UTC))
    path.write_bytes(as_parquet([{"id": "e1", "text": "t"}]))
    with pytest.raises(InputError, match=r"a\.parquet has no column event_id; it has \['id', 'text'\]"):
        read(log_at(path))


@pytest.mark.parametrize("keep", [0, 4, 0.5, 0.95, -9])
@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv.gz", "a.parquet"])
def test_a_cut_file_is_named_in_one_line(tmp_path: Path, name: str, keep: float, log_at: LogAt) -> None:
    whole = FORMATS[name]([FULL | {"event_id": f"e{n}", "text": uuid.uuid4().hex} for n in range(500)])
    path = tmp_path / name
    path.write_bytes(whole[: int(keep * len(whole)) if 0 < keep < 1 else int(keep)])
    if path.stat().st_size == 0:
        assert read(log_at(path)) == []
        return
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}.* cannot be read: .*complete\?$") as error:
        read(log_at(path))
    assert "\n" not in str(error.value)
