"""The query log in a table or view of any database that SQLAlchemy speaks to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import exc

from rerankops.config import QueryLogSettings
from rerankops.errors import InputError, RerankopsError, ServerRefused, ServerUnavailable, SettingsError
from rerankops.queries.logs.fields import EventFields, Row, as_table, paged, split_list

URL = "RERANKOPS_QUERY_LOG_URL"
"""Environment variable: the database, such as postgresql://user:password@host/database. It is never shown."""
_DASHED = "____-__-__%"
_REFUSED = re.compile(
    "authentication failed|access denied|login failed|permission denied|no password supplied|no pg_hba.conf entry|"
    "not permitted to log in|unknown database|(?:role|database) .* does not exist",
    re.IGNORECASE,
)


class SqlLog:
    """`location` is TABLE or SCHEMA.TABLE; list columns are arrays, JSON, or text separated by `|`.

    The time is a timestamp, a date or ISO 8601 text; of text, the whole table is looked at in every pull.
    Raises SettingsError when the URL is none or there is no such table or column, ServerUnavailable when the database
    cannot be reached, ServerRefused when it does not let us in, InputError naming table, event and field.
    """

    def __init__(self, settings: QueryLogSettings, environ: Mapping[str, str]) -> None:
        if not settings.location:
            raise SettingsError("setting query_log.location names nothing: give the log's table, or schema.table")
        self._settings, self._location = settings, settings.location
        self._fields = EventFields(settings.fields, as_list=split_list)
        self._url = _url(environ.get(URL, ""))

    def read(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[pa.Table]:
        """See QueryLog.read. One statement, so one state of the table, its rows streamed in order of their time."""
        with _told(self._url):
            engine = sa.create_engine(self._url, poolclass=sa.NullPool)
            with engine.connect() as connection:
                columns = self._columns(connection)
                rows = self._rows(connection, columns, since, until)
                for page in paged(self._fields.events(rows, since, until), self._settings.page_size):
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
    ) -> Iterator[Row]:
        schema, _, name = self._location.rpartition(".")
        names = list(dict.fromkeys(self._fields.theirs.values()))
        id_name, time_name = self._fields.theirs["event_id"], self._fields.theirs["issued_at"]
        # Without types: what the driver gives is what is there, and SQLite's is text whatever the column is said to be.
        table = sa.table(name, *(sa.column(column) for column in names), schema=schema or None)
        event_id, issued_at = table.c[id_name], table.c[time_name]
        timeless = connection.execute(sa.select(event_id).where(issued_at.is_(None)).limit(1)).first()
        if timeless is not None:
            raise InputError(
                f"table {self._location}, event {timeless[0]!r}: {self._fields.name('issued_at')} is missing"
            )
        query = sa.select(*table.c).where(*self._window(connection, columns[time_name], since, until))
        found = connection.execute(
            query.order_by(issued_at, event_id),
            execution_options={"stream_results": True, "yield_per": self._settings.page_size},
        )
        for number, values in enumerate(found, start=1):
            row = dict(zip(names, values, strict=True))
            known = row[id_name]
            place = f"row {number} by time" if known is None else f"event {known!r}"
            yield f"table {self._location}, {place}", row

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
            # Text may be in any time zone, with T or a space: only its date can be compared, give or take a day.
            # Text that begins with no YYYY-MM-DD compares with nothing and is always fetched.
            text = sa.column(name, sa.String())
            bounds = [text >= _day(since, -1)] if since else []
            bounds += [text < _day(until, 2)] if until else []
            return [sa.or_(sa.and_(*bounds), text.not_like(_DASHED))] if bounds else []
        if isinstance(kind, sa.DateTime):
            when = sa.column(name, kind)
            return [*([when >= _as(kind, since)] if since else []), *([when < _as(kind, until)] if until else [])]
        if isinstance(kind, sa.Date):
            day = sa.column(name, kind)
            first, last = (moment.astimezone(UTC).date() if moment else None for moment in (since, until))
            return [*([day >= first] if first else []), *([day <= last] if last else [])]
        raise SettingsError(
            f"setting query_log.fields.issued_at is {name!r}: in {self._location} that is {kind}, not a timestamp, a "
            "date or text"
        )


def _as(kind: sa.DateTime, moment: datetime) -> datetime:
    in_utc = moment.astimezone(UTC)
    return in_utc if kind.timezone else in_utc.replace(tzinfo=None)


def _day(moment: datetime, days: int) -> str:
    number = moment.astimezone(UTC).toordinal() + days
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
