"""Production queries from where they are logged: files, a database or Elasticsearch, behind one protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Protocol

import pyarrow as pa

from rerankops.config import QueryLogSettings, ReadingSettings
from rerankops.elastic import Cluster
from rerankops.queries.logs.fields import RAW_EVENT, Places
from rerankops.reading import Aside

__all__ = ["RAW_EVENT", "QueryLog", "open_log"]


class QueryLog(Protocol):
    """A log that can be read, any number of times."""

    def read(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        *,
        aside: Aside | None = None,
        again: Mapping[str, Places] | None = None,
    ) -> Iterator[pa.Table]:
        """RAW_EVENT pages of the events with since <= issued_at < until, at most query_log.page_size rows each.

        since, until: in UTC, None: no such end. An event that is logged twice comes twice, and the order of pages is
        the source's affair. aside: takes rows and files that are no events, which without it raise InputError naming
        file and line, table and event or document, the field and what to do. again: of files, the places that were set
        aside before; what stands there now comes whenever it was issued.

        Raises SettingsError naming the setting, ServerUnavailable or ServerRefused.
        """
        ...


def open_log(
    settings: QueryLogSettings,
    how: ReadingSettings,
    environ: Mapping[str, str],
    elasticsearch: Callable[[], Cluster],
) -> QueryLog:
    """The log that `query_log` names; nothing is asked of a server before the first page.

    how: files, times and values are read. environ: where RERANKOPS_QUERY_LOG_URL comes from. elasticsearch: the
    cluster, asked for when the log is in one.
    """
    if settings.source == "sql":
        from rerankops.queries.logs.sql import SqlLog

        return SqlLog(settings, how, environ)
    if settings.source == "elasticsearch":
        from rerankops.queries.logs.search import SearchLog

        return SearchLog(settings, how, elasticsearch)
    from rerankops.queries.logs.files import FileLog

    return FileLog(settings, how)
