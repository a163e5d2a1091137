"""User Behavior Insights, the schema that OpenSearch, Elasticsearch and Solr log searches in: `ubi_queries` and
`ubi_events`, read by its own names (https://github.com/o19s/ubi, versions 1.0 to 1.3).

A query has query_id, user_query, timestamp, and the ids of what it found (query_response_hit_ids, before 1.2
query_response_object_ids). What people did with it are events with action_name, query_id, and in event_attributes the
object and its position; they are joined by query_id, in whatever order and files the two come.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rerankops import reading
from rerankops.config import QueryLogSettings, ReadingSettings
from rerankops.queries.logs.fields import EventFields, reach
from rerankops.reading import Aside, Row, Unfit, Unusable

TIMESTAMP = "timestamp"
OWN = {
    "event_id": "query_id",
    "text": "user_query",
    "issued_at": TIMESTAMP,
    "source": "application",
    "shown_passage_ids": "shown",
    "clicked_passage_ids": "clicked",
    "feedback": "reaction",
}
"""Which of its fields, and of those we add to a query, is which of ours. The others are as query_log.fields says."""
_HITS = ("query_response_hit_ids", "query_response_object_ids", "query_response_objects_ids")
_OBJECTS = ("event_attributes.object.object_id", "event_attributes.object.internal_id", "object_id")
_POSITIONS = ("event_attributes.position.ordinal", "event_attributes.position")


@dataclass
class _Done:
    """What was done with a query: passages seen with their positions, passages opened in order, the last reaction."""

    seen: list[tuple[float, str]] = field(default_factory=list)
    clicked: list[str] = field(default_factory=list)
    reaction: str | None = None


def events(
    rows: Iterable[Row | Unusable],
    log: QueryLogSettings,
    how: ReadingSettings,
    since: datetime | None,
    until: datetime | None,
    *,
    aside: Aside | None,
) -> Iterator[dict[str, Any]]:
    """RAW_EVENT rows of the queries with since <= timestamp < until. rows: of both tables, mixed. Actions of queries
    that are not among the rows are counted in `aside.notes`."""
    fields = EventFields(log.model_copy(update={"fields": log.fields.model_copy(update=OWN)}), how)
    return fields.events(_joined(rows, log, aside), since, until, flat=False, aside=aside)


def _joined(rows: Iterable[Row | Unusable], log: QueryLogSettings, aside: Aside | None) -> Iterator[Row | Unusable]:
    queries: dict[str, Row] = {}
    done: dict[str, _Done] = {}
    for row in rows:
        if isinstance(row, Unusable):
            yield row
            continue
        try:
            query_id = reading.identifier(row.values.get("query_id"))
            if not reading.is_empty(row.values.get("action_name")):
                if query_id is not None:
                    _note(done.setdefault(query_id, _Done()), row.values, log)
            elif query_id is None:
                yield row  # told as what it lacks
            else:
                queries[query_id] = _merged(queries.get(query_id), row)
        except Unfit as error:
            yield reading.unusable(row.place, error, repr(row.values))
    for query_id, query in queries.items():
        yield Row(query.place, query.values | _added(query.values, done.pop(query_id, None)))
    if aside is not None and done:
        aside.notes["queries_of_actions_not_found"] += len(done)


def _note(done: _Done, values: Mapping[str, Any], log: QueryLogSettings) -> None:
    action = str(values["action_name"])
    reaction = reading.mapped(action, log.values.feedback)
    if reaction != action or action in ("up", "down"):
        done.reaction = str(reaction)
        return
    if action not in (*log.ubi.impressions, *log.ubi.clicks):
        return
    values = _opened(values)
    name = next((found for path in _OBJECTS if (found := reading.identifier(reach(values, path))) is not None), None)
    if name is None:
        return
    if action in log.ubi.clicks:
        if name not in done.clicked:
            done.clicked.append(name)
        return
    ordinals = (reach(values, path) for path in _POSITIONS)
    ordinal = next((found for found in ordinals if isinstance(found, int | float)), float(len(done.seen) + 1))
    done.seen.append((ordinal, name))


def _opened(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Attributes that a flat table holds as JSON text, as objects."""
    attributes = values.get("event_attributes")
    if not isinstance(attributes, str):
        return values
    try:
        return {**values, "event_attributes": json.loads(attributes)}
    except (ValueError, RecursionError) as error:
        raise Unfit("event_attributes is no JSON", f"event_attributes is no JSON ({error})") from error


def _merged(known: Row | None, row: Row) -> Row:
    """A query that client and server both logged is one; what the earlier says stands."""
    if known is None:
        return row
    said = {name: value for name, value in known.values.items() if not reading.is_empty(value)}
    return Row(known.place, {**row.values, **said})


def _added(query: Mapping[str, Any], done: _Done | None) -> dict[str, Any]:
    """What was shown: all that the query found, else what impressions tell, the best first."""
    done = done or _Done()
    shown = next((query[name] for name in _HITS if query.get(name)), None)
    if shown is None:
        shown = list(dict.fromkeys(name for _, name in sorted(done.seen, key=lambda seen: seen[0])))
    return {"shown": shown, "clicked": done.clicked, "reaction": done.reaction}
