"""User Behavior Insights by its own names: queries and what people did with them, joined."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rerankops.config import QueryLogSettings, load
from rerankops.queries.logs import open_log
from rerankops.reading import Aside

QUERIES = [
    {"query_id": "q1", "user_query": "胎压多少", "timestamp": "2026-09-01T08:30:00.123Z", "application": "manual",
     "client_id": "c1", "query_response_id": "r1", "query_response_hit_ids": ["p1", "p2", "p3"]},
    {"query_id": "q2", "user_query": "open the bonnet", "timestamp": 1788251400000, "application": "manual",
     "query_attributes": {"ranker": "v7"}},
    {"query_id": "q3", "user_query": None, "timestamp": "2026-09-01T09:00:00Z", "application": "manual"},
]  # fmt: skip


def action(query_id: str, name: str, passage: str, ordinal: int | None = None) -> dict[str, Any]:
    attributes: dict[str, Any] = {"object": {"object_id": passage, "object_id_field": "passage_id"}}
    if ordinal is not None:
        attributes["position"] = {"ordinal": ordinal}
    return {
        "action_name": name, "query_id": query_id, "timestamp": "2026-09-01T08:31:00Z", "event_attributes": attributes,
    }  # fmt: skip


ACTIONS = [
    action("q1", "click", "p3", 3),
    action("q2", "impression", "p9", 2),
    action("q2", "impression", "p8", 1),
    action("q1", "click", "p1", 1),
    action("q2", "thumbs_up", "p8"),
    action("q2", "scroll", "p8"),
    action("gone", "click", "p1", 1),
    action("", "click", "p1", 1),  # before anything was searched for
]


@pytest.mark.parametrize("together", [True, False])
def test_clicks_and_impressions_are_joined_to_their_queries(
    tmp_path: Path, together: bool, log_at: Callable[..., QueryLogSettings]
) -> None:
    if together:
        rows = [{"index": {"_index": "ubi_events"}}, *ACTIONS, *QUERIES]
        (tmp_path / "ubi.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        for name, rows in (("ubi_events.json", ACTIONS), ("ubi_queries.json", QUERIES)):
            (tmp_path / name).write_text(json.dumps(rows))
    settings = load(environ={}, overrides={
        "query_log": {"location": str(tmp_path), "layout": "ubi", "fields": {"ranker": "query_attributes.ranker"},
                      "values": {"feedback": {"thumbs_up": "up"}}}
    })  # fmt: skip
    aside = Aside()
    log = open_log(settings.query_log, settings.reading, {}, lambda: pytest.fail("files need no server"))
    (page,) = log.read(aside=aside)
    first, second = sorted(page.to_pylist(), key=lambda row: str(row["event_id"]))
    assert (first["event_id"], first["text"], first["source"]) == ("q1", "胎压多少", "manual")
    assert (first["shown_passage_ids"], first["clicked_passage_ids"]) == (["p1", "p2", "p3"], ["p3", "p1"])
    assert (second["shown_passage_ids"], second["clicked_passage_ids"]) == (["p8", "p9"], [])
    assert (second["feedback"], second["ranker"], first["feedback"]) == ("up", "v7", "none")
    assert (aside.count, aside.kept[0].kind) == (1, "user_query (our text) is missing")
    assert aside.notes == {"queries_of_actions_not_found": 1}
