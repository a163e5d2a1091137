"""Rows of a Parquet log: of the columns that are asked for, and of the window wherever the file can tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from upath import UPath

from rerankops.errors import InputError
from rerankops.queries.logs.fields import EventFields, Row, moment
from rerankops.queries.sources import opened
from rerankops.records import TIMESTAMP


def parquet_rows(
    file: UPath, fields: EventFields, size: int, since: datetime | None, until: datetime | None
) -> Iterator[Row]:
    """(file and row number, row), with those left out that a timestamp column shows to be outside the window.

    A row group that its statistics place outside is not even read. size: rows in memory, for files with row groups.
    """
    with opened(file) as stream:
        try:
            parquet = pq.ParquetFile(stream)
            schema = parquet.schema_arrow
            paths = {name: path for name in fields.theirs.values() if (path := _path(schema, name))}
            fields.require(str(file), schema.names, set(paths))
            when, columns = fields.theirs["issued_at"], [".".join(path) for path in paths.values()]
            first = 1
            for group in range(parquet.num_row_groups):
                metadata = parquet.metadata.row_group(group)
                if _overlaps(metadata, ".".join(paths[when]), since, until):
                    begins = first
                    for batch in parquet.iter_batches(size, [group], columns):
                        for number, row in _inside(batch, paths, when, since, until):
                            yield f"{file} row {begins + number}", row
                        begins += batch.num_rows
                first += metadata.num_rows
        except pa.ArrowException as error:
            raise InputError(f"{file} cannot be read: {' '.join(str(error).split())}; is it complete?") from error


def _path(schema: pa.Schema | pa.StructType, name: str) -> list[str] | None:
    """Where `name` is: a column, or a.b inside the structs of a column; None when nowhere."""
    if name in schema.names:
        return [name]
    for at, letter in enumerate(name):
        if letter == "." and name[:at] in schema.names and pa.types.is_struct(below := schema.field(name[:at]).type):
            path = _path(below, name[at + 1 :])
            if path:
                return [name[:at], *path]
    return None


def _overlaps(group: pq.RowGroupMetaData, path: str, since: datetime | None, until: datetime | None) -> bool:
    """Whether a row group may hold rows of the window, by its statistics; True when they do not say."""
    columns = [group.column(index) for index in range(group.num_columns)]
    known = next((column.statistics for column in columns if column.path_in_schema == path), None)
    if known is None or not known.has_min_max or known.null_count or not isinstance(known.min, datetime):
        return True
    return (since is None or moment(known.max) >= since) and (until is None or moment(known.min) < until)


def _inside(
    batch: pa.RecordBatch, paths: Mapping[str, list[str]], when: str, since: datetime | None, until: datetime | None
) -> Iterator[tuple[int, dict[str, object]]]:
    """(position, row) of the rows in the window, or of all when the time is text. Of a log, few are in a window: the
    others never become Python objects."""
    columns = {
        name: batch.column(path[0]) if len(path) == 1 else pc.struct_field(batch.column(path[0]), path[1:])
        for name, path in paths.items()
    }
    positions = np.arange(batch.num_rows)
    if pa.types.is_timestamp(columns[when].type):
        times = columns[when] = columns[when].cast(TIMESTAMP, safe=False)  # without a time zone: UTC
        inside = pc.is_null(times)  # those are errors, not outside
        late_enough = pc.greater_equal(times, pa.scalar(since, TIMESTAMP)) if since else pc.is_valid(times)
        early_enough = pc.less(times, pa.scalar(until, TIMESTAMP)) if until else pc.is_valid(times)
        inside = pc.or_kleene(inside, pc.and_(late_enough, early_enough))
        positions = np.flatnonzero(inside.to_numpy(zero_copy_only=False))
        columns = {name: column.take(pa.array(positions)) for name, column in columns.items()}
    for position, *values in zip(positions.tolist(), *(column.to_pylist() for column in columns.values()), strict=True):
        yield position, dict(zip(columns, values, strict=True))
