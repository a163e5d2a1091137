"""A delivery that nothing is wrong with, and edits that damage one."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from rerankops.records import AnnotationTask

BATCH = "batch-1"
NOW = datetime(2026, 5, 1, tzinfo=UTC)
SENT = datetime(2026, 4, 20, tzinfo=UTC)
PEOPLE = ("ann-1", "ann-2", "ann-3")

Row = dict[str, Any]
Edit = Callable[[list[Row]], list[Row]]
ACCEPT, PART, QUARANTINE = "accept", "accept_in_part", "quarantine"


def batch() -> pa.Table:
    """records.AnnotationTask: 60 tasks of 20 queries, and 6 controls, mixed in."""
    tasks = [
        {
            "batch_id": BATCH,
            "task_id": f"task-{n:03}",
            "query_id": f"q{n // 3:02}" if n < 60 else f"known-{n}",
            "passage_id": f"p{n:02}",
            "query_text": f"后备箱 {n // 3} 有多大" if n < 60 else f"如何更换 {n}",
            "passage_title": f"第 {n % 7} 节",
            "passage_text": f"第 {n} 段：后备箱容积为 {300 + n} 升，后排放倒后为 {900 + n} 升。",
            "stratum": ("numeric", "procedure")[n % 2],
            "control_grade": None if n < 60 else (3, 0)[n % 2],
        }
        for n in range(66)
    ]
    random.Random(5).shuffle(tasks)
    return AnnotationTask.table(tasks)


def returned(tasks: pa.Table) -> list[Row]:
    """What three careful people return: they mostly agree, each takes some seconds a task, in an order of their own."""
    rows = []
    listed = tasks.to_pylist()
    clock = {who: SENT + timedelta(days=1, hours=n) for n, who in enumerate(PEOPLE)}
    for task in listed:
        luck = random.Random(task["task_id"])
        truth = task["control_grade"]
        truth = luck.choices((0, 1, 2, 3), (50, 20, 15, 15))[0] if truth is None else truth
        for who in PEOPLE:
            slip = luck.random() < 0.1 and task["control_grade"] is None
            seconds = round(4 + luck.expovariate(1 / 15), 1)
            clock[who] += timedelta(seconds=seconds + 1)
            rows.append(
                {
                    "batch_id": BATCH,
                    "task_id": task["task_id"],
                    "annotator_id": who,
                    "grade": min(3, truth + 1) if slip else truth,
                    "annotated_at": clock[who].isoformat(),
                    "lead_seconds": seconds,
                }
            )
    return rows


def encoded(rows: Sequence[Row]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


@dataclass(frozen=True)
class Case:
    """rows, then content: what is done to a good delivery. says: what some reason or warning must hold, all of it.
    aside: lines that must be set aside (None: any). near_gold, history, sent, settings: see validate."""

    name: str
    outcome: str
    rows: Edit = list
    content: Callable[[bytes], bytes] = bytes
    says: tuple[str, ...] = ()
    aside: int | None = None
    near_gold: frozenset[str] = frozenset()
    history: Sequence[tuple[str, int, float]] = ()
    sent: datetime | None = None
    source: str = f"{BATCH}.jsonl"
    settings: dict[str, Any] = field(default_factory=dict)
    control: Callable[[list[Row], dict[str, int | None]], list[Row]] | None = None
    """An edit that knows the control grades by task; None for tasks that are no controls."""
