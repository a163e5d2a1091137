"""A project's annotations as the content of a delivery, and how what changed is merged into it. Pure.

The content is JSON lines: a note (`deliveries.SNAPSHOT`) with all that the next pull has to know, then a line an
annotation, in the order of task and annotation. The same state of the project gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rerankops.annotation.deliveries import SNAPSHOT
from rerankops.annotation.label_studio.template import GRADE

Row = dict[str, Any]
_TEXTS = ("query_text", "passage_title", "passage_text")


@dataclass(frozen=True)
class Note:
    """project: Label Studio's number. tasks: how many it has. watermark: every change until then is in the snapshot
    (ISO 8601, the server's clock). complete: nobody is waited for any more."""

    project: int
    tasks: int
    watermark: str | None
    complete: bool


@dataclass(frozen=True)
class Snapshot:
    """rows: one an annotation, each with the numbers of its task and of itself in Label Studio."""

    note: Note
    rows: tuple[Row, ...]

    def content(self) -> bytes:
        lines = [{SNAPSHOT: asdict(self.note)}, *self.rows]
        return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode(errors="backslashreplace")

    @classmethod
    def of(cls, content: bytes) -> Snapshot | None:
        """What `content` wrote; None for anything else: then the project is read as a whole."""
        first, *others = content.split(b"\n")
        try:
            return cls(Note(**json.loads(first)[SNAPSHOT]), tuple(json.loads(line) for line in others if line))
        except (ValueError, TypeError, KeyError):
            return None


def merged(before: Snapshot | None, tasks: Iterable[Mapping[str, Any]], *, whole: bool, server: str) -> tuple[Row, ...]:
    """The rows of `before` with those of `tasks` (as they are now) in the place of what they were.

    tasks: as the API gives them, with all their annotations. whole: they are all that the project has.
    """
    known = {row["source_annotation"]: row for row in before.rows} if before else {}
    fresh = {task["id"]: rows_of(task, known, server=server) for task in tasks}
    kept = [] if whole else [row for row in known.values() if row["source_task"] not in fresh]
    rows = [*kept, *(row for rows in fresh.values() for row in rows)]
    return tuple(sorted(rows, key=lambda row: (row["source_task"], row["source_annotation"])))


def rows_of(task: Mapping[str, Any], known: Mapping[int, Row], *, server: str) -> list[Row]:
    """A row for each of a task's annotations; skipping is none.

    known: rows of an earlier snapshot by annotation. An account that was deleted since takes its name off its
    annotations but does not unsay them: they keep the pseudonym they had.
    """
    data = task["data"] if isinstance(task.get("data"), dict) else {}
    rows = []
    for one in task["annotations"]:
        if one["was_cancelled"]:
            continue
        author, editor = number_of(one.get("completed_by")), number_of(one.get("updated_by"))
        annotator, doubt = annotator_of(author, editor, server)
        earlier = known.get(one["id"])
        if author is None and earlier and earlier["annotated_at"] == one["updated_at"]:
            annotator, doubt = earlier["annotator_id"], earlier["doubt"]
        rows.append(
            {
                "batch_id": data.get("batch_id"),
                "task_id": data.get("task_id"),
                "annotator_id": annotator,
                "grade": grade_of(one.get("result")),
                "annotated_at": one["updated_at"],
                "lead_seconds": seconds_of(one.get("lead_time")),
                **{name: data.get(name) for name in _TEXTS},
                "doubt": doubt,
                "source_task": task["id"],
                "source_annotation": one["id"],
            }
        )
    return rows


def annotator_id(user: int | None, server: str) -> str:
    """The pseudonym of an account: the same in every project of a server, and no name or address."""
    return "ls-" + hashlib.sha256(f"{server}\x1f{user}".encode()).hexdigest()[:16]


def annotator_of(author: int | None, editor: int | None, server: str) -> tuple[str | None, str | None]:
    """(annotator_id, doubt) of an annotation: one of them is None."""
    doubt = _doubt(author, editor)
    return (None if doubt else annotator_id(author, server)), doubt


def _doubt(author: int | None, editor: int | None) -> str | None:
    """The server lets anyone who may annotate name another account as the author; who wrote last it notes itself."""
    if author is None:
        return "the account that gave it was deleted before it was pulled"
    if editor != author:
        return "it was last written by another account than the one it is given for"
    return None


def grade_of(result: Any) -> Any:
    """The choice, as it stands there, for validation to judge; null when nothing was chosen, all of it when there is
    more or something else than one choice."""
    regions = result if isinstance(result, list) else []
    chosen: list[Any] = []
    for region in regions:
        value = region.get("value") if isinstance(region, dict) else None
        if isinstance(value, dict) and region.get("from_name") == GRADE and isinstance(value.get("choices"), list):
            chosen += value["choices"]
    if len(chosen) == 1:
        return chosen[0]
    return chosen or (result if regions else None)


def seconds_of(lead_time: Any) -> Any:
    return round(lead_time, 3) if isinstance(lead_time, float) else lead_time


def number_of(user: Any) -> int | None:
    """An account's number; in some answers it is an object with one."""
    found = user.get("id") if isinstance(user, dict) else user
    return found if isinstance(found, int) else None


def finished(snapshot_rows: Sequence[Row], *, tasks: int, annotators: int) -> bool:
    """Whether each of the project's tasks has a grade by so many accounts, doubtful ones not counted."""
    people: dict[int, set[str | None]] = {}
    for row in snapshot_rows:
        if row["grade"] is not None and row["doubt"] is None:
            people.setdefault(row["source_task"], set()).add(row["annotator_id"])
    return tasks > 0 and sum(len(who) >= annotators for who in people.values()) == tasks
