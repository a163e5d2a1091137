"""The query log in files: whatever `reading` reads, local or under any fsspec URI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa
from upath import UPath

from rerankops import reading
from rerankops.config import QueryLogSettings, ReadingSettings
from rerankops.errors import InputError
from rerankops.queries.logs import ubi
from rerankops.queries.logs.fields import EventFields, Places, as_table, paged
from rerankops.reading import Aside, Place, Refused, Row, Unusable, Window


class FileLog:
    """A folder or one file. A folder is read in the order of names; a file in it that is no table is left out.

    An optional field may be absent from a file. Raises SettingsError when nothing is there, InputError naming file,
    line (or row) and field.
    """

    def __init__(self, settings: QueryLogSettings, how: ReadingSettings) -> None:
        self._settings, self._how = settings, how
        self._fields = EventFields(settings, how)

    def read(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        *,
        aside: Aside | None = None,
        again: Mapping[str, Places] | None = None,
    ) -> Iterator[pa.Table]:
        """See QueryLog.read. Line by line, row group by row group: a file may be larger than memory, but for a JSON
        array, a workbook and the layout `ubi`, whose clicks are held until all queries are read."""
        listing = reading.files_at(self._settings.location or "", setting="query_log.location")
        if aside is not None:
            aside.left_out.extend(listing.left_out)
        if self._settings.layout == "ubi":
            rows = self._all_rows(listing.files, aside)
            events = ubi.events(rows, self._settings, self._how, since, until, aside=aside)
        else:
            events = self._events(listing.files, since, until, aside, again or {})
        for page in paged(events, self._settings.page_size):
            yield as_table(page)
        if aside is not None and not aside.files and not aside.read:
            there = "; ".join(map(str, aside.left_out[:5]))
            raise InputError(f"query_log.location {self._settings.location!r} holds no table to read: {there}")

    def _events(
        self,
        files: tuple[UPath, ...],
        since: datetime | None,
        until: datetime | None,
        aside: Aside | None,
        again: Mapping[str, Places],
    ) -> Iterator[dict[str, Any]]:
        fields = self._fields
        for file in files:
            anew = again.get(reading.shown(file), ())
            window = None if anew else Window(fields.theirs["issued_at"], since, until)
            try:
                with reading.opened(file, self._how, known=list(fields.theirs.values()), window=window) as table:
                    table.require(fields.required)
                    if aside is not None:
                        aside.files += 1
                    flat = table.form not in ("JSON lines", "JSON")
                    yield from fields.events(table.rows, since, until, flat=flat, aside=aside, again=anew)
            except Refused as error:
                _leave(file, error, aside, alone=len(files) == 1)

    def _all_rows(self, files: tuple[UPath, ...], aside: Aside | None) -> Iterator[Row | Unusable]:
        for file in files:
            try:
                with reading.opened(file, self._how) as table:
                    if aside is not None:
                        aside.files += 1
                    yield from table.rows
            except Refused as error:
                _leave(file, error, aside, alone=len(files) == 1)


def _leave(file: UPath, error: Refused, aside: Aside | None, *, alone: bool) -> None:
    """A file that cannot be read is set aside when it should be a table, left out when its name promises none."""
    item = Unusable(Place(reading.shown(file)), error.kind, str(error).removeprefix(f"{reading.shown(file)} "))
    if not alone and not reading.is_data(file.name):
        if aside is not None:
            aside.left_out.append(item)
        return
    if aside is None:
        raise error
    aside.files += 1
    aside.put(item)
