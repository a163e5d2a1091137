"""A small real batch: 20 queries, 60 passages, 3 annotators who grade by a known truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from rerankops.annotation import Control, Delivery, make_batch, read
from rerankops.config import AnnotationSettings, load
from rerankops.records import Candidate, Passage, Query

NOW = datetime(2026, 5, 1, tzinfo=UTC)
BATCH = "batch-1"

Row = dict[str, Any]


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def settings() -> AnnotationSettings:
    return load(environ={}).annotation


@pytest.fixture(scope="session")
def queries() -> pa.Table:
    return Query.table(
        {
            "query_id": f"q{n:02}",
            "text": f"后备箱 {n} 多大",
            "stratum": "numeric",
            "frequency": 1,
            "first_seen": NOW,
            "last_seen": NOW,
        }
        for n in range(20)
    )


@pytest.fixture(scope="session")
def passages() -> pa.Table:
    return Passage.table(
        {"passage_id": f"p{n:02}", "title": f"第 {n} 节", "text": f"第 {n} 段说明。", "metadata": []} for n in range(60)
    )


@pytest.fixture(scope="session")
def candidates() -> pa.Table:
    return Candidate.table(
        {
            "query_id": f"q{query:02}",
            "passage_id": f"p{(query * 3 + rank) % 60:02}",
            "rank": rank + 1,
            "fused_score": 1 / (60 + rank),
            "bm25_rank": None,
            "bm25_score": None,
            "dense_rank": None,
            "dense_score": None,
        }
        for query in range(20)
        for rank in range(10)
    )


@pytest.fixture(scope="session")
def known() -> pa.Table:
    """Eight earlier judgments that are sure: six answer fully, two are irrelevant."""
    return Control.table(
        {
            "query_id": f"old{n}",
            "query_text": f"如何更换 {n}",
            "stratum": "procedure",
            "passage_id": f"p{n:02}",
            "grade": 3 if n < 6 else 0,
        }
        for n in range(8)
    )


@pytest.fixture(scope="session")
def tasks(queries: pa.Table, candidates: pa.Table, passages: pa.Table, known: pa.Table) -> pa.Table:
    """60 tasks and 6 controls."""
    return make_batch(
        queries,
        candidates,
        passages,
        candidates_per_query=3,
        controls=known,
        control_share=0.09,
        batch_id=BATCH,
        seed=7,
    )


@pytest.fixture(scope="session")
def good_rows(tasks: pa.Table) -> list[Row]:
    """What three careful people return: the known grade of controls, and a 2 for every third other task."""
    return [
        {
            "batch_id": BATCH,
            "task_id": task["task_id"],
            "annotator_id": annotator,
            "grade": task["control_grade"] if task["control_grade"] is not None else 2 * (n % 3 == 0),
            "annotated_at": (NOW - timedelta(minutes=n, seconds=17 * person)).isoformat(),
        }
        for n, task in enumerate(tasks.to_pylist())
        for person, annotator in enumerate(("ann-1", "ann-2", "ann-3"))
    ]


@pytest.fixture(scope="session")
def deliver() -> Callable[[Sequence[Row]], Delivery]:
    def _deliver(rows: Sequence[Row]) -> Delivery:
        text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        return read(text.encode(), source=f"{BATCH}.jsonl")

    return _deliver
