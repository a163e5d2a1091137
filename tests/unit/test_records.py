"""The one door through which a table becomes a record's."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from rerankops import records
from rerankops.errors import SchemaMismatch
from rerankops.records import RECORDS, AnnotationTask, Judgment, Passage, Query, Record, TrainingGroup

NOW = datetime(2026, 9, 1, 8, 30, tzinfo=UTC)
QUERY = {
    "query_id": "q1",
    "text": "胎压多少",
    "stratum": "numeric",
    "frequency": 2,
    "first_seen": NOW,
    "last_seen": NOW,
}


def changed(**columns: pa.Array) -> pa.Table:
    """One query whose columns are replaced by others."""
    table = Query.table([QUERY])
    arrays = {name: columns.get(name, table[name]) for name in Query.columns}
    return pa.table({**arrays, **{name: column for name, column in columns.items() if name not in arrays}})


def test_a_conforming_table_passes_unchanged() -> None:
    table = Query.table([QUERY])
    assert Query.conform(table).equals(table)
    assert table.schema.equals(Query.schema, check_metadata=True)


def test_columns_come_back_in_the_order_of_the_record() -> None:
    table = Query.table([QUERY])
    assert Query.conform(table.select(Query.columns[::-1])).column_names == Query.columns


def test_casts_without_loss_are_made() -> None:
    given = changed(
        frequency=pa.array([7.0]),
        stratum=pa.array(["numeric"]).dictionary_encode(),
        text=pa.array(["胎压"], pa.large_string()),
        first_seen=pa.array([NOW.replace(tzinfo=None)], pa.timestamp("ms")),
    )
    assert Query.conform(given).to_pylist() == [{**QUERY, "frequency": 7, "text": "胎压"}]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (changed().drop_columns("text"), "missing column 'text'"),
        (changed(wheels=pa.array([4])), "unknown column 'wheels'"),
        (pa.table([*changed().columns, pa.array(["q2"])], [*Query.columns, "query_id"]), "'query_id' is there more"),
        (changed(frequency=pa.array([1.5])), "column 'frequency' is double, expected int64"),
        (changed(frequency=pa.array(["many"])), "column 'frequency' is string, expected int64"),
        (changed(text=pa.array([["胎压"]])), "column 'text' is list"),
        (changed(first_seen=pa.array(["yesterday"])), "column 'first_seen' is string, expected timestamp"),
        (changed(text=pa.array([None], pa.string())), "column 'text' is null in row 0"),
        (Query.table([QUERY, {**QUERY, "query_id": "q2"}]).set_column(3, "frequency", [[1, None]]), "null in row 1"),
    ],
)
def test_a_table_that_breaks_the_promise_is_refused_by_column(table: pa.Table, message: str) -> None:
    with pytest.raises(SchemaMismatch, match=f"^queries: .*{message}") as caught:
        Query.conform(table)
    assert "\n" not in str(caught.value)


def test_null_is_found_behind_the_first_chunk() -> None:
    text = pa.chunked_array([["a", "b"], pa.array(["c", None], pa.string())])
    rows = Query.table([{**QUERY, "query_id": str(i)} for i in range(4)])
    with pytest.raises(SchemaMismatch, match="row 3"):
        Query.conform(rows.set_column(1, "text", text))


def test_a_repeated_key_is_refused_and_shown() -> None:
    row = {"query_id": "q", "passage_id": "p", "query_text": "t", "stratum": "s", "grade": 1, "confidence": 1.0}
    row |= {"annotator_count": 1, "origin": "human"}
    assert Judgment.table([row, {**row, "origin": "teacher"}]).num_rows == 2
    with pytest.raises(SchemaMismatch, match=r"1 repeated key.*'query_id': 'q', 'passage_id': 'p', 'origin': 'human'"):
        Judgment.table([row, {**row, "grade": 2}])


def test_rows_may_repeat_in_a_record_without_a_key() -> None:
    record = Record("notes", 1, pa.schema([records.field("note", pa.string(), "anything")]))
    assert record.table([{"note": "a"}, {"note": "a"}]).num_rows == 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**QUERY, "text": 5}, "column 'text' holds a value that is no string"),
        ({**QUERY, "frequency": "often"}, "column 'frequency' holds a value that is no int64"),
        ({**QUERY, "frequency": 1 << 70}, "column 'frequency' holds a value that is no int64"),
        ({**QUERY, "text": "\ud800"}, "column 'text' holds a value that is no string"),
        ({**QUERY, "txet": "胎压"}, "unknown column 'txet'"),
        ({name: value for name, value in QUERY.items() if name != "text"}, "column 'text' is null in row 0"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_by_column(row: dict[str, object], message: str) -> None:
    with pytest.raises(SchemaMismatch, match=f"^queries: {message}"):
        Query.table([row])


def test_a_nullable_column_may_be_absent_from_rows() -> None:
    names = [f.name for f in AnnotationTask.schema if not f.nullable]
    assert AnnotationTask.table([dict.fromkeys(names, "x")])["control_grade"].to_pylist() == [None]


def test_nested_values_survive() -> None:
    graded = {"passage_id": "p", "title": "", "text": "胎压2.3bar", "grade": None, "weight": 0.5}
    row = {"query_id": "q", "query_text": "t", "stratum": "s", "split": "dev", "positives": [graded], "negatives": []}
    assert TrainingGroup.table([row]).to_pylist() == [row]
    passage = {"passage_id": "p", "title": "", "text": "", "metadata": [("model", "X5"), ("year", "2024")]}
    assert Passage.table([passage]).to_pylist() == [passage]


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_every_record_has_an_empty_table_and_a_key_among_its_columns(record: Record) -> None:
    assert record.conform(record.empty()).num_rows == 0
    assert record.table([]).schema.equals(record.schema)
    assert set(record.key) <= set(record.columns)
    assert not any(record.schema.field(name).nullable for name in record.key)
