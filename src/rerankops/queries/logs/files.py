"""The query log in files: JSON lines, CSV or Parquet, local or under any fsspec URI."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import datetime
from typing import cast

import pyarrow as pa
from upath import UPath

from rerankops.config import QueryLogSettings
from rerankops.errors import InputError
from rerankops.queries.logs.fields import EventFields, Row, as_table, paged, split_list
from rerankops.queries.logs.parquet import parquet_rows
from rerankops.queries.sources import JSON_LINES, files_at, json_rows, text_lines

CSV = (".csv", ".csv.gz")
PARQUET = (".parquet",)


class FileLog:
    """A folder or one file. A folder is read in the order of names; in it, files of other kinds are passed over.

    CSV has a header, and holds lists as JSON or separated by `|`, as Parquet may. An optional field may be absent from
    a file. Raises SettingsError when nothing is there, InputError naming file, line (or row) and field.
    """

    def __init__(self, settings: QueryLogSettings) -> None:
        self._settings = settings
        self._nested = EventFields(settings.fields)
        self._flat = EventFields(settings.fields, as_list=split_list)

    def read(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[pa.Table]:
        """See QueryLog.read. Line by line, row group by row group: a file may be larger than memory."""
        location, size = self._settings.location or "", self._settings.page_size
        for file in files_at(location, (*JSON_LINES, *CSV, *PARQUET), setting="query_log.location"):
            fields, rows = self._nested, cast(Iterator[Row], json_rows(file))
            if file.name.endswith(CSV):
                fields, rows = self._flat, csv_rows(file, self._flat)
            elif file.name.endswith(PARQUET):
                fields, rows = self._flat, parquet_rows(file, self._flat, size, since, until)
            for page in paged(fields.events(rows, since, until), size):
                yield as_table(page)


def csv_rows(file: UPath, fields: EventFields) -> Iterator[Row]:
    """(file:line, row) of every row; a row that goes over several lines is named by its first."""
    reader = csv.reader(text_lines(file), strict=True)
    header: list[str] | None = None
    begins = 1
    while True:
        try:
            values = next(reader, None)
        except csv.Error as error:
            raise InputError(f"{file}:{begins}: not valid CSV ({error})") from error
        if values is None:
            return
        if header is None and values:
            header = values
            fields.require(str(file), header, set(header))
        elif header is not None and values:
            if len(values) != len(header):
                raise InputError(
                    f"{file}:{begins}: {len(values)} values under {len(header)} columns; is a quote missing, or the "
                    "end of the file?"
                )
            yield f"{file}:{begins}", dict(zip(header, values, strict=True))
        begins = reader.line_num + 1
