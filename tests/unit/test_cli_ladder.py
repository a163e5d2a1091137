"""The ladder as it is printed: refusals have a column where the reader can refuse."""

from __future__ import annotations

import io
from typing import Any

import pytest

from rerankops.cli import output


def row(name: str, refusals: dict[str, Any] | None) -> dict[str, Any]:
    ranking = dict.fromkeys(("mrr@10", "ndcg@10", "hit@1", "hit@6"), 0.5)
    return {
        "name": name,
        "n": 40,
        "accuracy": 0.6,
        "accuracy_interval": [0.45, 0.74],
        "strata": {},
        "refusals": refusals,
        "milliseconds_per_query": 1.0,
        **ranking,
    }


def printed(rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from rich.console import Console

    console = Console(width=200, record=True, file=io.StringIO())
    monkeypatch.setattr(output, "console", console)
    output.print_ladder({"systems": rows})
    return console.export_text().splitlines()


def test_the_share_of_unanswerable_questions_refused_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = printed([row("retrieval_only", {"share": 0.523}), row("challenger", {"share": None})], monkeypatch)
    assert any("accuracy" in line and "refused" in line for line in lines)
    assert any("retrieval_only" in line and "52.3" in line for line in lines)


def test_a_reader_that_never_refuses_has_no_such_column(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any("refused" in line for line in printed([row("retrieval_only", None)], monkeypatch))
