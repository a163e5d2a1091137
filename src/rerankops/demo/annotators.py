"""Five simulated annotators with stated error profiles. They stand in for people in the demonstration and in tests.

Nothing they say is evidence about people: every identifier starts with sim-.
"""

from __future__ import annotations

import hashlib
import math
import random
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rerankops.records import GRADES, Annotation

Confusion = tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True)
class Annotator:
    """A simulated annotator.

    confusion: row true grade, column said grade, P(said | true); rows sum to 1. seconds: median time per task.
    about: the habit that the matrix expresses.
    """

    annotator_id: str
    about: str
    confusion: Confusion
    seconds: float


ANNOTATORS: tuple[Annotator, ...] = (
    Annotator(
        "sim-careful",
        "reads title and text; seldom wrong, and then by one",
        ((0.97, 0.03, 0.00, 0.00), (0.03, 0.92, 0.04, 0.01), (0.00, 0.05, 0.90, 0.05), (0.00, 0.01, 0.04, 0.95)),
        24.0,
    ),
    Annotator(
        "sim-hasty",
        "skips the title, so the right fact of the wrong car (1) is often taken for an answer",
        ((0.92, 0.06, 0.01, 0.01), (0.08, 0.66, 0.12, 0.14), (0.02, 0.14, 0.66, 0.18), (0.01, 0.03, 0.08, 0.88)),
        7.0,
    ),
    Annotator(
        "sim-lenient",
        "in doubt gives the higher grade",
        ((0.88, 0.11, 0.01, 0.00), (0.01, 0.72, 0.23, 0.04), (0.00, 0.02, 0.70, 0.28), (0.00, 0.00, 0.03, 0.97)),
        16.0,
    ),
    Annotator(
        "sim-strict",
        "in doubt gives the lower grade; full marks only for a complete answer",
        ((0.99, 0.01, 0.00, 0.00), (0.24, 0.74, 0.02, 0.00), (0.03, 0.25, 0.70, 0.02), (0.00, 0.04, 0.22, 0.74)),
        19.0,
    ),
    Annotator(
        "sim-careless",
        "wrong four times in ten, whatever the pair",
        ((0.60, 0.18, 0.12, 0.10), (0.15, 0.60, 0.15, 0.10), (0.10, 0.15, 0.60, 0.15), (0.10, 0.12, 0.18, 0.60)),
        5.0,
    ),
)

BATCH = 400
"""An annotator works through a batch in an order of their own; a task's place in it is drawn from this many."""


def annotate(
    tasks: pa.Table, true_grades: NDArray[np.integer], *, annotators_per_task: int, started_at: datetime, seed: int
) -> pa.Table:
    """What the simulated annotators say about the tasks.

    tasks: records.AnnotationTask. true_grades: one per row. Each task's annotators, grades and times depend on its
    task_id and the seed alone, so that a task sent again, or in other company, is answered alike.
    Returns records.Annotation, in the order of the tasks.
    """
    if not 1 <= annotators_per_task <= len(ANNOTATORS):
        raise ValueError(f"annotators_per_task is {annotators_per_task}; allowed are 1 to {len(ANNOTATORS)}")
    if len(true_grades) != tasks.num_rows:
        raise ValueError(f"{len(true_grades)} true grades for {tasks.num_rows} tasks; there must be one each")
    if started_at.tzinfo is None:
        raise ValueError(f"started_at is {started_at.isoformat()}; it must carry a time zone")
    rows = []
    columns = zip(tasks["batch_id"].to_pylist(), tasks["task_id"].to_pylist(), true_grades.tolist(), strict=True)
    for batch_id, task_id, true in columns:
        digest = hashlib.sha256(f"{seed}\x1f{task_id}".encode()).digest()
        rng = random.Random(int.from_bytes(digest[:8], "big"))
        for annotator in rng.sample(ANNOTATORS, annotators_per_task):
            said = rng.choices(GRADES, weights=annotator.confusion[int(true)])[0]
            waited = rng.randrange(BATCH) * annotator.seconds + annotator.seconds * math.exp(rng.gauss(0.0, 0.45))
            rows.append(
                {
                    "batch_id": batch_id,
                    "task_id": task_id,
                    "annotator_id": annotator.annotator_id,
                    "grade": said,
                    "annotated_at": started_at + timedelta(seconds=waited),
                }
            )
    return Annotation.table(rows)
