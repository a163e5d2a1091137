"""Every way in which a table may arrive, at the doors through which people send: deliveries, gold forms, judge samples.

Each is read, or set aside with a count, or refused with what to do; a delivery is never refused as a whole here, it is
validation that decides about it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from file_variants import LIMITS, READ, VARIANTS, Variant

from rerankops.annotation import read
from rerankops.annotation.gold import forms
from rerankops.annotation.gold.forms import ANNOTATOR, Asked, Header
from rerankops.config import ReadingSettings
from rerankops.errors import InputError
from rerankops.evaluation import agreement

QUESTIONS = {
    name: Asked(name, text, "numeric")
    for name, text in {"0012": "后备箱多大", "q2": "胎压", "q3": "油", "q4": "水"}.items()
}
FORM = [
    {
        "draft": "autumn", "annotator": "anna", "role": ANNOTATOR, "question_id": name, "stratum": "numeric",
        "question": asked.text, "candidates": None, "accepted_answers": "450升；450 L", "grades": None,
        "other_passages": "p9=2", "unanswerable": None, "discard": None, "comment": "见手册",
    }
    for name, asked in QUESTIONS.items()
]  # fmt: skip
DELIVERY = [
    {"batch_id": "b-1", "task_id": f"0{n}e5", "annotator_id": "张三", "grade": n % 4, "annotated_at": "2026/11/30 8:54"}
    for n in range(4)
]
SAMPLE = [{"question": f"多大{n}", "accepted_answers": "450升", "answer": "450 L", "correct": "是"} for n in range(4)]


def delivered(content: bytes, settings: ReadingSettings) -> tuple[list[Any], str]:
    found = read(content, source="anna", settings=settings)
    kept = [row for row in found.rows.to_pylist() if row["task_id"] is not None]  # validation sets the others aside
    rows = [(row["task_id"], row["grade"], row["annotated_at"][:16]) for row in kept]
    aside = ["a row without a task"] * (found.rows.num_rows - len(kept))
    return rows, "; ".join([*(one.words for one in found.unreadable), *aside])


def answered(content: bytes, settings: ReadingSettings) -> tuple[list[Any], str]:
    try:
        header = forms.header_of(content, "anna", settings)
        found = forms.parse(content, "anna", header, QUESTIONS, settings)
    except InputError as error:
        return [], str(error)
    assert header == Header("autumn", "anna", ANNOTATOR)
    return [(row["question_id"], tuple(row["accepted_answers"])) for row in found.to_pylist()], ""


def sampled(content: bytes, settings: ReadingSettings) -> tuple[list[Any], str]:
    try:
        found = agreement.parse(content, "anna", settings)
    except InputError as error:
        return [], str(error)
    return [(row["question"], row["accepted_answers"], row["answer"], row["correct"]) for row in found.to_pylist()], ""


Door = tuple[list[Mapping[str, Any]], Callable[[bytes, ReadingSettings], tuple[list[Any], str]], list[Any]]
DOORS: dict[str, Door] = {
    "delivery": (DELIVERY, delivered, [(f"0{n}e5", str(n % 4), "2026-11-30T08:54") for n in range(4)]),
    "gold form": (FORM, answered, [(name, ("450升；450 L",)) for name in QUESTIONS]),
    "judge sample": (SAMPLE, sampled, [(f"多大{n}", ["450升"], "450 L", True) for n in range(4)]),
}


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
@pytest.mark.parametrize("door", DOORS)
def test_what_people_send_is_read_set_aside_or_refused(door: str, variant: Variant, settings: ReadingSettings) -> None:
    rows, take, wanted = DOORS[door]
    found, words = take(variant.make(rows), settings.model_copy(update=LIMITS))
    if variant.outcome == READ:
        assert found == wanted, words
        assert not words
    else:
        assert set(map(str, found)) <= set(map(str, wanted))
        assert words or not found or len(found) == len(wanted)
        assert "Traceback" not in words
