"""The query log in a table or view of any database that SQLAlchemy speaks to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus
from zoneinfo import ZoneInfo

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import exc

from rerankops import reading
from rerankops.config import QueryLogSettings, ReadingSettings
from rerankops.errors import InputError, RerankopsError, ServerRefused, ServerUnavailable, SettingsError
from rerankops.queries.logs.fields import EventFields, Places, as_table, paged
from rerankops.reading import Aside, Place, Row, Unfit, Unusable

URL = "RERANKOPS_QUERY_LOG_URL"
"""Environment variable: the database, such as postgresql://user:password@host/database. It is never shown."""
_MOST_TIMELESS = 1000
"""Rows without a time that are named; no window ever shows them, and nobody reads more."""
_DASHED = "____-__-__%"
_REFUSED = re.compile(
    "authentication failed|access denied|login failed|permission denied|no password supplied|no pg_hba.conf entry|"
    "not permitted to log in|unknown database|(?:role|database) .* does not exist",
    re.IGNORECASE,
)


class SqlLog:
    """`location` is TABLE or SCHEMA.TABLE; list columns are arrays, JSON, or text separated by `|`.

    The time is a timestamp, a date, text or a number; of the last two, the whole table is looked at in every pull.
    Raises SettingsError when the URL is none or there is no such table or column, ServerUnavailable when the database
    cannot be reached, ServerRefused when it does not let us in, InputError naming table, event and field.
    """

    def __init__(self, settings: QueryLogSettings, how: ReadingSettings, environ: Mapping[str, str]) -> None:
        if not settings.location:
            raise SettingsError("setting query_log.location names nothing: give the log's table, or schema.table")
        if settings.layout == "ubi":
            raise SettingsError("setting query_log.layout is 'ubi', which is read from files or Elasticsearch, not sql")
        self._settings, self._location = settings, settings.location
        self._fields, self._zone = EventFields(settings, how), ZoneInfo(how.time_zone)
        self._url = _url(environ.get(URL, ""))

    def read(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        *,
        aside: Aside | None = None,
        again: Mapping[str, Places] | None = None,
    ) -> Iterator[pa.Table]:
        """See QueryLog.read. One statement, so one state of the table, its rows streamed in order of their time. Events
        that were set aside before are taken again by a window of their own."""
        with _told(self._url):
            engine = sa.create_engine(self._url, poolclass=sa.NullPool)
            with engine.connect() as connection:
                columns = self._columns(connection)
                rows = self._rows(connection, columns, since, until)
                events = self._fields.events(rows, since, until, flat=True, aside=aside)
                for page in paged(events, self._settings.page_size):
                    yield as_table(page)

    def _columns(self, connection: sa.Connection) -> dict[str, sa.types.TypeEngine[Any]]:
        """The table's columns and their types; every field of ours is among them."""
        inspector = sa.inspect(connection)
        schema, _, name = self._location.rpartition(".")
        if not inspector.has_table(name, schema or None):
            there = sorted([*inspector.get_table_names(schema or None), *inspector.get_view_names(schema or None)])
            raise SettingsError(
                f"setting query_log.location is {self._location!r}: {_where(self._url)} has no such table or view; it "
                f"has {there[:20]}"
            )
        columns = {column["name"]: column["type"] for column in inspector.get_columns(name, schema or None)}
        for ours, theirs in self._fields.theirs.items():
            if theirs not in columns:
                raise SettingsError(
                    f"setting query_log.fields.{ours} is {theirs!r}: {self._location} has no such column; it has "
                    f"{sorted(columns)}"
                )
        return columns

    def _rows(
        self,
        connection: sa.Connection,
        columns: Mapping[str, sa.types.TypeEngine[Any]],
        since: datetime | None,
        until: datetime | None,
    ) -> Iterator[Row | Unusable]:
        schema, _, name = self._location.rpartition(".")
        names = list(dict.fromkeys(self._fields.theirs.values()))
        id_name, time_name = self._fields.theirs["event_id"], self._fields.theirs["issued_at"]
        # Without types: what the driver gives is what is there, and SQLite's is text whatever the column is said to be.
        table = sa.table(name, *(sa.column(column) for column in names), schema=schema or None)
        event_id, issued_at = table.c[id_name], table.c[time_name]
        timeless = connection.execute(sa.select(event_id).where(issued_at.is_(None)).limit(_MOST_TIMELESS))
        for (known,) in timeless:
            words = f"{self._fields.name('issued_at')} is missing"
            yield reading.unusable(Place(f"table {self._location}", item=f"event {known!r}"), Unfit(words))
        query = sa.select(*table.c).where(*self._window(connection, columns[time_name], since, until))
        found = connection.execute(
            query.order_by(issued_at, event_id),
            execution_options={"stream_results": True, "yield_per": self._settings.page_size},
        )
        for number, values in enumerate(found, start=1):
            row = dict(zip(names, values, strict=True))
            known = row[id_name]
            place = f"row {number} by time" if known is None else f"event {known!r}"
            yield Row(Place(f"table {self._location}", item=place), row)

    def _window(
        self,
        connection: sa.Connection,
        kind: sa.types.TypeEngine[Any],
        since: datetime | None,
        until: datetime | None,
    ) -> Sequence[sa.ColumnElement[bool]]:
        """What the database can leave out; what is left is looked at one by one."""
        name = self._fields.theirs["issued_at"]
        if connection.dialect.name == "sqlite" or isinstance(kind, sa.String):
            # Text may be in any time zone, with T or a space: only its date can be compared, give or take two days.
            # Text that begins with no YYYY-MM-DD compares with nothing and is always fetched.
            text = sa.column(name, sa.String())
            bounds = [text >= _day(since, -2)] if since else []
            bounds += [text < _day(until, 3)] if until else []
            return [sa.or_(sa.and_(*bounds), text.not_like(_DASHED))] if bounds else []
        if isinstance(kind, sa.DateTime):
            when = sa.column(name, kind)
            first, last = (self._as(kind, moment) if moment else None for moment in (since, until))
            return [*([when >= first] if first else []), *([when < last] if last else [])]
        if isinstance(kind, sa.Date):
            day = sa.column(name, kind)
            begins, ends = (moment.astimezone(self._zone).date() if moment else None for moment in (since, until))
            return [*([day >= begins] if begins else []), *([day <= ends] if ends else [])]
        if isinstance(kind, sa.Integer | sa.Numeric):
            return []  # since 1970, in seconds or smaller parts: each is looked at
        raise SettingsError(
            f"setting query_log.fields.issued_at is {name!r}: in {self._location} that is {kind}, not a timestamp, a "
            "date, a number or text"
        )

    def _as(self, kind: sa.DateTime, moment: datetime) -> datetime:
        """A moment as the column has it: with its time zone, or in the one that is assumed."""
        return moment if kind.timezone else moment.astimezone(self._zone).replace(tzinfo=None)


def _day(moment: datetime, days: int) -> str:
    number = moment.toordinal() + days
    return date.fromordinal(min(max(number, 1), date.max.toordinal())).isoformat()


def _url(text: str) -> sa.URL:
    if not text:
        raise SettingsError(
            f"environment variable {URL} is not set: give the database of the query log, such as "
            "postgresql://user:password@host/database"
        )
    try:
        url = sa.make_url(text)
        if url.password and "@" in f"{url.host}{url.database}":
            raise ValueError("part of a password is taken for a host")
        url.get_dialect().import_dbapi()
    except exc.NoSuchModuleError:
        raise SettingsError(f"environment variable {URL}: SQLAlchemy knows no database {url.drivername!r}") from None
    except ImportError as error:
        raise SettingsError(
            f"environment variable {URL}: the driver of {url.drivername} is not installed ({error})"
        ) from error
    except (exc.ArgumentError, ValueError):  # its words may quote the password
        raise SettingsError(
            f"environment variable {URL} is no database URL such as postgresql://user:password@host/database; is a "
            "character of the password not percent-encoded?"
        ) from None
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise SettingsError(f"environment variable {URL}: there is no file {url.database}")  # SQLite would make one
    return url


def _where(url: sa.URL) -> str:
    if not url.host:
        return f"{url.get_backend_name()} database {url.database}"
    return f"{url.get_backend_name()} at {url.host}{f':{url.port}' if url.port else ''}, database {url.database}"


@contextmanager
def _told(url: sa.URL) -> Iterator[None]:
    """Turns SQLAlchemy's errors into ours."""
    try:
        yield
    except exc.SQLAlchemyError as error:
        raise _explained(error, url) from error


def _explained(error: exc.SQLAlchemyError, url: sa.URL) -> RerankopsError:
    original = getattr(error, "orig", None) or error
    said = " ".join(str(original).split())[:300]
    for secret in {str(url.password), quote(str(url.password)), quote_plus(str(url.password))} if url.password else ():
        said = said.replace(secret, "***")
    where, state = _where(url), str(getattr(original, "sqlstate", None) or getattr(original, "pgcode", None) or "")
    if state.startswith(("28", "3D", "42501")) or _REFUSED.search(said):
        return ServerRefused(f"{where} refuses: {said}; check user, password and rights, and {URL}")
    if isinstance(error, exc.OperationalError | exc.InterfaceError) or getattr(error, "connection_invalidated", False):
        return ServerUnavailable(f"{where}: {said}; is it running and reachable?")
    if isinstance(error, exc.DataError):
        return InputError(f"{where}: the query log holds a value that cannot be read: {said}")
    return ServerRefused(f"{where}: cannot read the query log: {said}")
