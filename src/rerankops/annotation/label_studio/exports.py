"""Label Studio's own exports, as people take them from its pages and put them into the inbox.

The JSON export holds what the API gives: who gave a grade, when, and what was skipped. The CSV and the JSON_MIN export
name an account by a number or an address in `annotator`, which is nobody's id here, and have no skipped tasks: they are
named (`is_flat`), and the JSON export is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from rerankops.annotation.label_studio.snapshots import annotator_of, grade_of, number_of, seconds_of
from rerankops.reading import Unfit

_TEXTS = ("query_text", "passage_title", "passage_text")
_FLAT = frozenset({"annotation_id", "annotator"})


def is_task(value: Any) -> bool:
    """Whether an item is a task of the JSON export."""
    return isinstance(value, Mapping) and isinstance(value.get("data"), Mapping) and "annotations" in value


def is_flat(columns: Collection[str]) -> bool:
    """Whether these are the columns of the CSV or JSON_MIN export."""
    return set(columns) >= _FLAT


def rows_of(task: Mapping[str, Any], *, server: str) -> list[dict[str, Any]]:
    """A row for each annotation of a task; skipping is none. Raises Unfit where an annotation is none."""
    data, found = task["data"], task["annotations"]
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise Unfit("no annotations", "has annotations that are no list of objects; export the project again as JSON")
    rows = []
    for one in found:
        if one.get("was_cancelled"):
            continue
        author = number_of(one.get("completed_by"))
        # An export of an older version does not say who wrote it last.
        editor = author if one.get("updated_by") is None else number_of(one["updated_by"])
        annotator, doubt = annotator_of(author, editor, server)
        rows.append(
            {
                "batch_id": data.get("batch_id"),
                "task_id": data.get("task_id"),
                "annotator_id": annotator,
                "grade": grade_of(one.get("result")),
                "annotated_at": one.get("updated_at") or one.get("created_at"),
                "lead_seconds": seconds_of(one.get("lead_time")),
                **{name: data[name] for name in _TEXTS if name in data},
                "doubt": doubt,
            }
        )
    return rows


def as_text(value: Any) -> str | None:
    """A JSON value as text; null stays null."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)
