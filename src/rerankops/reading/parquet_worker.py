"""The process that opens Parquet files, so that a damaged file can end only this process. Run as a script.

Standard input, one line a file: {path, columns (null: all), window (null, or [column, since, until] in microseconds,
null: no limit), size, megabytes, utc (times without a zone are in UTC; otherwise they are left as they are)}. Standard
output: {columns, found, twice, rows}, then for each batch of rows {bytes} and an Arrow stream of that many bytes, whose
last column is the row number in the file, from 1; at the end {end}; {error} if something went wrong. All but the Arrow
streams are JSON, one object a line. The process ends when its input does.

columns may be dotted, a.b being the field b of the struct a. The script imports nothing of ours, so it starts at once.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

NUMBER = "row number"
"""The output column that is not in the file."""
_MICROSECONDS = pa.timestamp("us", tz="UTC")
_OWN_MEMORY = 4 * 2**30
"""Address space besides the data: libraries, threads."""


def main() -> None:
    out = sys.stdout.buffer
    for line in sys.stdin:
        asked = json.loads(line)
        limit = _OWN_MEMORY + 4 * int(asked["megabytes"] * 2**20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        try:
            _answer(out, asked)
        except Exception as error:  # noqa: BLE001 - whatever a damaged file does goes to the other process as words
            _say(out, {"end": True, "error": " ".join(str(error).split())})
        else:
            _say(out, {"end": True})


def _answer(out: Any, asked: dict[str, Any]) -> None:
    file = pq.ParquetFile(asked["path"])
    schema = file.schema_arrow
    names = asked["columns"] if asked["columns"] is not None else schema.names
    paths = {name: path for name in dict.fromkeys(names) if (path := _path(schema, name))}
    twice = sorted({name for name in paths if schema.names.count(name) > 1})
    _say(out, {"columns": schema.names, "found": list(paths), "twice": twice, "rows": file.metadata.num_rows})
    if not paths or twice:
        return
    for batch in _batches(file, paths, asked["window"], asked["size"], utc=asked["utc"]):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        content = sink.getvalue()
        _say(out, {"bytes": content.size})
        out.write(content)


def _batches(
    file: pq.ParquetFile, paths: dict[str, list[str]], window: list[Any] | None, size: int, *, utc: bool
) -> Iterator[pa.RecordBatch]:
    when, since, until = window if window is not None and window[0] in paths else (None, None, None)
    if when is not None and not utc and getattr(_type(file.schema_arrow, paths[when]), "tz", None) is None:
        when = None
    columns = [".".join(path) for path in paths.values()]
    first = 1
    for group in range(file.num_row_groups):
        metadata = file.metadata.row_group(group)
        if when is None or _overlaps(metadata, ".".join(paths[when]), since, until):
            begins = first
            for batch in file.iter_batches(size, [group], columns):
                yield _selected(batch, paths, when, since, until, begins)
                begins += batch.num_rows
        first += metadata.num_rows


def _path(schema: Any, name: str) -> list[str] | None:
    """Where `name` is: a column, or a.b inside the structs of a column; None when it does not exist."""
    if name in schema.names:
        return [name]
    for at, letter in enumerate(name):
        if letter == "." and name[:at] in schema.names and pa.types.is_struct(below := schema.field(name[:at]).type):
            path = _path(below, name[at + 1 :])
            if path:
                return [name[:at], *path]
    return None


def _type(schema: Any, path: list[str]) -> Any:
    kind = schema.field(path[0]).type
    for name in path[1:]:
        kind = kind.field(name).type
    return kind


def _overlaps(group: Any, path: str, since: int | None, until: int | None) -> bool:
    """Whether a row group may hold rows of the window, by its statistics; True when they do not say."""
    columns = [group.column(index) for index in range(group.num_columns)]
    known = next((column.statistics for column in columns if column.path_in_schema == path), None)
    if known is None or not known.has_min_max or known.null_count or not isinstance(known.min, datetime):
        return True
    return (since is None or _micros(known.max) >= since) and (until is None or _micros(known.min) < until)


def _micros(moment: datetime) -> int:
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1e6)


def _selected(
    batch: pa.RecordBatch,
    paths: dict[str, list[str]],
    when: str | None,
    since: int | None,
    until: int | None,
    begins: int,
) -> pa.RecordBatch:
    """The rows in the window, or all rows when the time is text. In a log, few rows are in a window; the others never
    leave this process."""
    columns = {
        name: batch.column(path[0]) if len(path) == 1 else pc.struct_field(batch.column(path[0]), path[1:])
        for name, path in paths.items()
    }
    for name, column in columns.items():
        if pa.types.is_timestamp(column.type):
            columns[name] = (
                column.cast(_MICROSECONDS, safe=False)
                if column.type.tz or name == when
                else column.cast(pa.timestamp("us"), safe=False)
            )
    columns[NUMBER] = pa.array(range(begins, begins + batch.num_rows), pa.int64())
    if when is not None and pa.types.is_timestamp(columns[when].type):
        times = columns[when].cast(pa.int64())
        inside = pc.is_valid(times)
        if since is not None:
            inside = pc.and_(inside, pc.greater_equal(times, since))
        if until is not None:
            inside = pc.and_(inside, pc.less(times, until))
        inside = pc.or_(pc.fill_null(inside, False), pc.is_null(times))  # rows without a time are faults
        columns = {name: column.filter(inside) for name, column in columns.items()}
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _say(out: Any, words: dict[str, Any]) -> None:
    out.write(json.dumps(words).encode() + b"\n")
    out.flush()


if __name__ == "__main__":
    main()
