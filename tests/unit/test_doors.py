"""Every door takes the same table however it arrives: each of file_variants is read, set aside with a count, or
refused with what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from file_variants import LIMITS, READ, REFUSED, VARIANTS, Rows, Variant

from rerankops import config
from rerankops.annotation.imports import read_labels
from rerankops.config import ReadingSettings
from rerankops.errors import InputError, SettingsError
from rerankops.queries.logs import open_log
from rerankops.queries.sources import read_corpus, read_gold
from rerankops.reading import Aside

TEXTS = ("后备箱容积多少", "how do I open it, please; today", "胎压怎么看", '仪表上的"黄灯"')
HOW = config.load(environ={}).reading.model_copy(update=LIMITS)
Taken = tuple[list[tuple[Any, ...]], int, bool]
"""Rows as the door gives them, how many were set aside, and whether a file was."""


@dataclass(frozen=True)
class Door:
    """rows: of the table that arrives. wanted: as the door gives them. take: reads a file and sets rows aside."""

    name: str
    rows: Rows
    wanted: list[tuple[Any, ...]]
    take: Callable[[Path, ReadingSettings], Taken]


def _log(path: Path, how: ReadingSettings) -> Taken:
    settings = config.load(environ={}, overrides={"query_log": {"location": str(path)}}).query_log
    aside = Aside()
    pages = open_log(settings, how, {}, lambda: pytest.fail("files need no server")).read(aside=aside)
    columns = ("event_id", "text", "shown_passage_ids", "feedback")
    rows = [tuple(row[name] for name in columns) for page in pages for row in page.to_pylist()]
    return rows, aside.count, bool(aside.files_unusable)


def _corpus(path: Path, how: ReadingSettings) -> Taken:
    aside = Aside()
    table = read_corpus(str(path), how, aside=aside)
    rows = [(row["passage_id"], row["title"], row["text"]) for row in table.to_pylist()]
    return rows, aside.count, bool(aside.files_unusable)


def _gold(path: Path, how: ReadingSettings) -> Taken:
    aside = Aside()
    columns = ("question_id", "text", "accepted_answers", "relevant_passage_ids")
    rows = [tuple(row[name] for name in columns) for row in read_gold(str(path), how, aside=aside).to_pylist()]
    return rows, aside.count, bool(aside.files_unusable)


def _labels(form: Any) -> Callable[[Path, ReadingSettings], Taken]:
    def take(path: Path, how: ReadingSettings) -> Taken:
        labels = read_labels(form, path, how)
        return list(labels.rows.select("query", "text", "score").iter_rows()), len(labels.rejected), False

    return take


def _events() -> list[dict[str, Any]]:
    shown = (["p01", "p02"], ["p03"], ["p01", "p04"], [])
    feedback = ("up", "none", "down", "none")
    return [
        {"event_id": f"e-{n}", "text": TEXTS[n], "issued_at": f"2026-09-01T08:3{n}:00Z", "feedback": feedback[n],
         "shown_passage_ids": shown[n]}
        for n in range(4)
    ]  # fmt: skip


EVENTS = _events()
PASSAGES = [{"passage_id": f"p0{n}", "title": f"section {n}", "text": text} for n, text in enumerate(TEXTS)]
QUESTIONS = [
    {
        "question_id": f"g{n}",
        "text": text,
        "accepted_answers": [f"{n} 升", f"{n} L"],
        "relevant_passage_ids": [f"p0{n}"],
    }
    for n, text in enumerate(TEXTS)
]
PAIRS = [{"query": text, "passage": f"passage {n}", "score": n % 2} for n, text in enumerate(TEXTS)]
TRIPLES = [{"query": text, "positive": f"right {n}", "negative": f"wrong {n}"} for n, text in enumerate(TEXTS)]
DOORS = (
    Door(
        "query log",
        EVENTS,
        [(row["event_id"], row["text"], row["shown_passage_ids"], row["feedback"]) for row in EVENTS],
        _log,
    ),
    Door("corpus", PASSAGES, [tuple(row.values()) for row in PASSAGES], _corpus),
    Door("gold questions", QUESTIONS, [tuple(row.values()) for row in QUESTIONS], _gold),
    Door("pairs", PAIRS, [(row["query"], row["passage"], float(str(row["score"]))) for row in PAIRS], _labels("pairs")),
    Door(
        "triples",
        TRIPLES,
        [(r["query"], text, grade) for r in TRIPLES for text, grade in ((r["positive"], 3.0), (r["negative"], 0.0))],
        _labels("triples"),
    ),
)


def _refusal(door: Door, path: Path) -> tuple[Taken, str]:
    try:
        return door.take(path, HOW), ""
    except (InputError, SettingsError) as error:
        return ([], 0, False), str(error)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_every_door_reads_sets_aside_or_refuses_every_variant(door: Door, variant: Variant, tmp_path: Path) -> None:
    path = tmp_path / f"table{variant.ending}"
    path.write_bytes(variant.make(door.rows))
    if variant.outcome == REFUSED:
        (rows, count, of_file), words = _refusal(door, path)
        assert path.name in words or of_file or not (rows or count)
        assert "\n" not in words
        return
    rows, count, of_file = door.take(path, HOW)
    assert not of_file
    if variant.outcome == READ:
        assert (rows, count) == (door.wanted, 0)
    else:
        per_row = len(door.wanted) // len(door.rows)
        assert len(rows) == len(door.wanted) - variant.lost * per_row
        assert all(row in door.wanted for row in rows)
        assert count == 1
