"""Erasure: what is named goes, from every table that holds it, and everything else stays readable."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from rerankops import config
from rerankops.errors import InputError
from rerankops.pipeline.answers import StoredAnswers
from rerankops.pipeline.context import Context
from rerankops.pipeline.forgetting import Wish, forget, look
from rerankops.records import Query, QueryEvent
from rerankops.workspace import Address, Workspace

OLD, NEW = datetime(2024, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
SECRET = "我家的鹦鹉怎么上车"


@pytest.fixture
def here(tmp_path: Path) -> Context:
    return Context(config.load(environ={}), Workspace(tmp_path / "workspace"))


def event(number: int, text: str, issued_at: datetime = NEW, group: str | None = None) -> dict[str, object]:
    return {
        "event_id": f"e{number}", "text": text, "issued_at": issued_at, "source": "log", "shown_passage_ids": ["p1"],
        "clicked_passage_ids": [], "feedback": "none", "query_id": f"q{number}", "redactions": 0, "user_group": group,
        "preferred_passage_id": None, "ranker": None, "randomised": None,
    }  # fmt: skip


def stored(here: Context) -> tuple[Address, Address]:
    rows = [event(1, SECRET), event(2, "胎压多少", OLD, "dealers"), event(3, "机油多少升")]
    events = here.workspace.publish(QueryEvent, QueryEvent.table(rows), step="pull_events")
    found = [
        {"query_id": f"q{n}", "text": text, "stratum": "summary", "frequency": 1, "first_seen": seen, "last_seen": seen}
        for n, (text, seen) in enumerate([(SECRET, NEW), ("胎压多少", OLD), ("机油多少升", NEW)], 1)
    ]
    queries = here.workspace.publish(Query, Query.table(found), step="distil_queries", inputs=[events])
    return events, queries


def texts(here: Context, address: Address) -> list[str]:
    record = QueryEvent if address.startswith("query_events") else Query
    return list(here.workspace.read(address, record)["text"].to_pylist())


def test_looking_says_what_would_go_and_changes_nothing(here: Context) -> None:
    events, queries = stored(here)
    assert look(Wish(text=SECRET), context=here).rows == {events: 1, queries: 1}
    assert SECRET in texts(here, events)


def test_a_text_goes_from_every_table_however_it_is_spelled(here: Context, tmp_path: Path) -> None:
    events, queries = stored(here)
    forget(Wish(text=f" {SECRET}？！"), context=here)
    assert texts(here, events) == texts(here, queries) == ["胎压多少", "机油多少升"]
    left = [path.read_bytes() for path in (tmp_path / "workspace").rglob("*") if path.is_file()]
    assert not any(SECRET.encode() in content for content in left)
    assert here.workspace.manifest(events).counts["forgotten"] == 1
    here.workspace.read_through(queries)
    assert look(Wish(text=SECRET), context=here).rows == {}


def test_an_identifier_a_group_and_an_age_name_rows_too(here: Context) -> None:
    events, queries = stored(here)
    assert look(Wish(identifier="e3"), context=here).rows == {events: 1}
    assert look(Wish(group="dealers"), context=here).rows == {events: 1}
    assert look(Wish(before=datetime(2025, 1, 1, tzinfo=UTC)), context=here).rows == {events: 1, queries: 1}


def test_answers_of_language_models_that_quote_it_go(here: Context) -> None:
    answers = StoredAnswers(here.workspace)
    for key, text in {"ab1": f"用户问：{SECRET}", "cd2": "250 kPa"}.items():
        answers.put(key, {"text": text, "finish_reason": "stop", "tokens": 3})
    assert forget(Wish(text=SECRET), context=here).answers == ["ab/ab1.json"]
    assert answers.get("ab1") is None
    assert answers.get("cd2")


def test_other_artefacts_that_quote_it_are_named(here: Context) -> None:
    report = here.workspace.publish_folder(
        "reports", lambda folder: (folder / "index.html").write_text(SECRET, encoding="utf-8") and None, step="report"
    )
    assert list(look(Wish(text=SECRET), context=here).remains) == [report]


def test_a_wish_for_nothing_is_refused(here: Context) -> None:
    with pytest.raises(InputError, match="name what to forget"):
        forget(Wish(), context=here)
