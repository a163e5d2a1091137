"""The query log in Elasticsearch: an index, an alias or a pattern."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from datetime import UTC, datetime
from itertools import chain
from threading import Lock
from typing import Any

import pyarrow as pa
from elasticsearch import ApiError

from rerankops import reading
from rerankops.config import QueryLogSettings, ReadingSettings
from rerankops.elastic import Cluster
from rerankops.errors import ServerRefused, ServerUnavailable, SettingsError
from rerankops.queries.logs import ubi
from rerankops.queries.logs.fields import EventFields, Places, as_table, paged
from rerankops.reading import Aside, Place, Row, Unfit, Unusable

KEEP_ALIVE = "5m"
"""How long a point in time outlives the last page that was read in it."""
_ISO = "strict_date_optional_time_nanos"
_LARGEST_PAGE = 10_000
"""Elasticsearch's own limit, index.max_result_window."""
_RENEWALS = 3
"""Of a point in time, without a page between them."""
_MISSING = "setting query_log.location has to name an index, an alias or a pattern that is there"


class SearchLog:
    """`location` is what the log is called. The time is a date or date_nanos field; its precision is the index's, which
    for a date is a millisecond. `_id` may be mapped, to event_id for example. One value may stand for a list of one.

    Raises SettingsError when there is no such field or it is no date, ServerRefused when there is no such index, it is
    closed or we may not read it, ServerUnavailable, and InputError naming document and field.
    """

    def __init__(self, settings: QueryLogSettings, how: ReadingSettings, elasticsearch: Callable[[], Cluster]) -> None:
        if not settings.location:
            raise SettingsError("setting query_log.location names nothing: give an index, an alias or a pattern")
        self._settings, self._how = settings, how
        self._location, self._elasticsearch = settings.location, elasticsearch
        self._fields = EventFields(settings, how)
        self._ubi = settings.layout == "ubi"
        self._when = ubi.TIMESTAMP if self._ubi else self._fields.theirs["issued_at"]

    def read(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        *,
        aside: Aside | None = None,
        again: Mapping[str, Places] | None = None,
    ) -> Iterator[pa.Table]:
        """See QueryLog.read. The state of one point in time, read in `slices` side by side: pages come in any order.
        Documents that were set aside before are taken again by a window of their own. Of the layout `ubi`, the actions
        of the window are held until all its queries are read."""
        with self._elasticsearch() as cluster:
            kinds = self._check(cluster)
            with closing(_PointInTime(cluster, self._location)) as snapshot:
                rows = self._timeless(snapshot)
                if self._ubi:
                    every = chain(rows, *self._pages(snapshot, kinds, since, None))
                    found = ubi.events(every, self._settings, self._how, since, until, aside=aside)
                    yield from map(as_table, paged(found, self._settings.page_size))
                    return
                for page in chain([rows], self._pages(snapshot, kinds, since, until)):
                    events = list(self._fields.events(page, aside=aside))
                    if events:
                        yield as_table(events)

    def _pages(
        self, snapshot: _PointInTime, kinds: set[str], since: datetime | None, until: datetime | None
    ) -> Iterator[Iterator[Row]]:
        search, parts = self._search(kinds, since, until), self._settings.slices
        slices = [_Slice(snapshot, search, self._when, number, parts) for number in range(parts)]
        return (map(self._row, hits) for hits in _side_by_side(slices))

    def _check(self, cluster: Cluster) -> set[str]:
        """The types that the time has in the log's indexes."""
        when, doing = self._when, f"read query log {self._location}"
        found = cluster.ask(
            doing,
            lambda: cluster.client.field_caps(index=self._location, fields=[when], include_unmapped=True),
            missing=_MISSING,
        )
        if not found["indices"]:
            raise SettingsError(f"setting query_log.location is {self._location!r}: no index is called so")
        kinds = set(found["fields"].get(when, {"unmapped": {}}))
        if kinds <= {"date", "date_nanos"}:
            return kinds
        dates = cluster.ask(
            doing,
            lambda: cluster.client.field_caps(index=self._location, fields=["*"], types=["date", "date_nanos"]),
        )
        raise SettingsError(
            f"setting query_log.fields.issued_at is {when!r}: in query log {self._location} that is "
            f"{', '.join(sorted(kinds))}, it has to be date or date_nanos in every index; these are: "
            f"{sorted(dates['fields'])}"
        )

    def _timeless(self, snapshot: _PointInTime) -> Iterator[Row | Unusable]:
        """Documents without a time, the first page of them: no window would ever show them."""
        query = {"bool": {"must_not": {"exists": {"field": self._when}}}}
        size = min(self._settings.page_size, _LARGEST_PAGE)
        body = {"query": query, "size": size, "source": False, "track_total_hits": False}
        name = self._when if self._ubi else self._fields.name("issued_at")
        words = f"{name} is missing or no date. Mend it, or narrow query_log.location"
        for hit in snapshot.search(lambda _: body):
            yield reading.unusable(_place(hit), Unfit(f"{name} is missing or no date", words))

    def _search(self, kinds: set[str], since: datetime | None, until: datetime | None) -> dict[str, Any]:
        when = self._when
        window = {"gte": since, "lt": until}
        bounds = {name: moment.astimezone(UTC).isoformat() for name, moment in window.items() if moment}
        order = {"order": "asc", "format": _ISO} | ({"numeric_type": "date_nanos"} if len(kinds) > 1 else {})
        return {
            "query": {"bool": {"filter": [{"range": {when: {"format": _ISO, **bounds}}}]}},
            "sort": [{when: order}, {"_shard_doc": "asc"}],
            "source": True if self._ubi else sorted(set(self._fields.theirs.values()) - {when}),
            "size": min(self._settings.page_size, _LARGEST_PAGE),
            "track_total_hits": False,
        }

    def _row(self, hit: Mapping[str, Any]) -> Row:
        # The time that the index knows is what the window means; the source may have written it in any way.
        return Row(_place(hit), {"_id": hit["_id"], **(hit.get("_source") or {}), self._when: hit["sort"][0]})


def _place(hit: Mapping[str, Any]) -> Place:
    return Place("", item=f"document {hit['_index']}/{hit['_id']}")


class _PointInTime:
    """One state of the log. When the servers lose it (a restart, a reader slower than KEEP_ALIVE), it is opened anew:
    another generation, in which places of the former one mean nothing."""

    def __init__(self, cluster: Cluster, location: str) -> None:
        self._cluster, self._location, self._lock = cluster, location, Lock()
        self._generation = 0
        self._id, self._shards = self._open()

    def search(self, body: Callable[[int], Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Hits of the search that `body` gives for the generation it is asked in."""
        for renewals_left in reversed(range(1 + _RENEWALS)):
            with self._lock:
                generation, point = self._generation, {"id": self._id, "keep_alive": KEEP_ALIVE}
            search = functools.partial(
                self._cluster.client.search, pit=point, allow_partial_search_results=False, **body(generation)
            )
            try:
                answer = self._cluster.ask(f"read query log {self._location}", search)
            except (ServerRefused, ServerUnavailable) as error:
                if not (renewals_left and _is_lost(error)):
                    raise
                self._renew(generation)
            else:
                self._keep(generation, answer["pit_id"])
                return list(answer["hits"]["hits"])
        raise AssertionError("the last try returns or raises")

    def close(self) -> None:
        """One try; a point in time that nobody closes ends by itself."""
        with suppress(ServerRefused, ServerUnavailable), self._cluster.told(f"close query log {self._location}"):
            self._cluster.client.close_point_in_time(id=self._id)

    def _open(self) -> tuple[str, int]:
        answer = self._cluster.ask(
            f"read query log {self._location}",
            lambda: self._cluster.client.open_point_in_time(index=self._location, keep_alive=KEEP_ALIVE),
            missing=_MISSING,
        )
        return answer["id"], answer["_shards"]["total"]

    def _keep(self, generation: int, point: str) -> None:
        with self._lock:
            if generation == self._generation:
                self._id = point

    def _renew(self, lost: int) -> None:
        with self._lock:
            if lost == self._generation:  # else another slice was first
                self._id, shards = self._open()
                self._generation += 1
                if shards != self._shards:  # then events are in other slices than they were
                    raise ServerUnavailable(
                        f"query log {self._location}: indexes came or went while it was read, and the servers lost the "
                        "state we read; nothing was stored, try again"
                    )


class _Slice:
    """The events of one part of the log, in order of their time. All events of a time are in one slice, whatever the
    generation, so a slice can go on from its last event's time."""

    def __init__(self, snapshot: _PointInTime, search: Mapping[str, Any], when: str, number: int, of: int) -> None:
        self._snapshot, self._when = snapshot, when
        self._search = {**search, "slice": {"field": when, "id": number, "max": of}} if of > 1 else dict(search)
        self._generation = 0
        self._after: list[Any] | None = None
        self._last: str | None = None
        self._seen: set[tuple[str, str]] = set()
        """The documents of the last time that were read already."""

    def page(self) -> list[dict[str, Any]]:
        """The next hits; [] at the end."""
        while True:
            hits = self._snapshot.search(self._body)
            if not hits:
                return []
            fresh = [hit for hit in hits if (hit["_index"], hit["_id"]) not in self._seen]
            self._after = hits[-1]["sort"]
            if self._last != self._after[0]:
                self._last, self._seen = self._after[0], set()
            self._seen |= {(hit["_index"], hit["_id"]) for hit in hits if hit["sort"][0] == self._last}
            if fresh:
                return fresh

    def _body(self, generation: int) -> dict[str, Any]:
        if generation != self._generation:
            self._generation, self._after = generation, None
        if self._after is not None:
            return {**self._search, "search_after": self._after}
        if self._last is None:
            return self._search
        rest = {"range": {self._when: {"format": _ISO, "gte": self._last}}}
        return {**self._search, "query": {"bool": {"filter": [self._search["query"], rest]}}}


def _side_by_side(slices: Sequence[_Slice]) -> Iterator[list[dict[str, Any]]]:
    """Pages of all slices as they come; of each slice, one is fetched while another is worked on."""
    with ThreadPoolExecutor(len(slices), thread_name_prefix="query-log") as pool:
        waiting: dict[Future[list[dict[str, Any]]], _Slice] = {pool.submit(part.page): part for part in slices}
        try:
            while waiting:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    part, hits = waiting.pop(future), future.result()
                    if hits:
                        waiting[pool.submit(part.page)] = part
                        yield hits
        finally:
            for future in waiting:
                future.cancel()


def _is_lost(error: Exception) -> bool:
    cause = error.__cause__
    return isinstance(cause, ApiError) and "search_context_missing_exception" in str(cause.body)
