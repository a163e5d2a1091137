"""Batches as projects of a Label Studio server, and what people made of them.

A project is ours when its description holds our mark: the pipeline's title prefix, the batch and the number of its
tasks. Titles may be changed at will.

What a pull relies on: saving or deleting an annotation, also many at once in the data manager, sets its task's
updated_at (seen on 1.23). Only tasks that changed since the last stored snapshot are asked for, those of the last few
minutes before it again, because a change may be committed after a later one. That a task itself was deleted does not
show there; the project's counts do not fit then, and it is read as a whole.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import NoneType
from typing import Any

import polars as pl
import pyarrow as pa

from rerankops.annotation.channel import SENT, Previous, check_batch_id
from rerankops.annotation.deliveries import Delivery, read
from rerankops.annotation.label_studio import snapshots, template
from rerankops.annotation.label_studio.client import Client, Connection, Fields, NotFound, Unsure, condition
from rerankops.annotation.label_studio.snapshots import Note, Snapshot
from rerankops.config import LabelStudioSettings, ReadingSettings
from rerankops.errors import ServerUnavailable
from rerankops.reading import Unusable

log = logging.getLogger("rerankops")
_LATE = timedelta(minutes=5)
"""How long a change may take from its time stamp to its commit."""
_ROUNDS = 3
"""Times a project that people work on is read before its counts need not fit."""
_LONGEST_TITLE = 50
_MARK = re.compile(r"\[rerankops:(?P<prefix>[^:\]]+):(?P<batch>[A-Za-z0-9._-]+):(?P<tasks>\d{1,9})\]")
_COLUMNS = (
    "id",
    "title",
    "description",
    "created_at",
    "maximum_annotations",
    "task_number",
    "total_annotations_number",
)
_FIELDS: Fields = {
    "id": int,
    "description": (str, NoneType),
    "created_at": datetime,
    "maximum_annotations": int,
    "task_number": (int, NoneType),
    "total_annotations_number": (int, NoneType),
}


@dataclass(frozen=True)
class Project:
    """One of ours. sent: how many tasks the batch has; tasks, annotations: what the server holds."""

    number: int
    batch_id: str
    sent: int
    created_at: datetime
    annotators: int
    tasks: int
    annotations: int

    @classmethod
    def of(cls, item: Mapping[str, Any], prefix: str) -> Project | None:
        """None for a project that is not ours."""
        mark = _MARK.search(item.get("description") or "")
        if mark is None or mark["prefix"] != prefix:
            return None
        return cls(
            number=item["id"],
            batch_id=mark["batch"],
            sent=int(mark["tasks"]),
            created_at=datetime.fromisoformat(item["created_at"]),
            annotators=item["maximum_annotations"],
            tasks=item["task_number"] or 0,
            annotations=item["total_annotations_number"] or 0,
        )


@dataclass(frozen=True)
class LabelStudioChannel:
    """A project a batch.

    annotators_per_task: asked for of a new project; an old one keeps its own. waiting: streams whose last delivery is
    not complete, to tell of those whose project is gone. now: the clock, for deadlines.
    """

    connection: Connection
    settings: LabelStudioSettings
    annotators_per_task: int
    waiting: Collection[str] = ()
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    reading: ReadingSettings | None = None

    # -- out --------------------------------------------------------------------------------------------------------

    def send(self, batch_id: str, tasks: pa.Table) -> str:
        """The batch's project, made when it is not there, with every task in it once. Returns its URL.

        Raises ServerUnavailable when the server went away: sending again takes up where this ended.
        """
        check_batch_id(batch_id)
        rows = pl.DataFrame(pl.from_arrow(tasks.select(SENT))).to_dicts()
        with Client(self.connection, self.settings) as client:
            number = self._project_for(client, batch_id, len(rows))
            self._fill(client, number, rows)
            return f"{client.connection.url}/projects/{number}"

    def _project_for(self, client: Client, batch_id: str, size: int) -> int:
        """The oldest project of the batch; made when there is none."""
        found = self._of_batch(client, batch_id)
        if not found:
            with suppress(Unsure):  # it may have been made all the same: the look below tells
                client.make(
                    f"create the project of batch {batch_id}", "/api/projects/", self._new_project(batch_id, size)
                )
            found = self._of_batch(client, batch_id)
        if not found:
            raise ServerUnavailable(
                f"Label Studio at {client.connection.url}: the project of batch {batch_id} was not made; send it again"
            )
        oldest, *others = found
        for double in others:
            if double.tasks == 0:  # two senders at once
                client.remove("remove a project that was made twice", f"/api/projects/{double.number}/")
        return oldest.number

    def _new_project(self, batch_id: str, size: int) -> dict[str, Any]:
        settings = self.settings
        mark = f"[rerankops:{settings.title_prefix}:{batch_id}:{size}]"
        return {
            "title": f"{settings.title_prefix} {batch_id}"[:_LONGEST_TITLE],
            "description": f"Batch {batch_id}, {size} tasks. This line is how the batch is found again: {mark}",
            "label_config": template.labelling_interface(settings.language),
            "expert_instruction": template.instructions(settings.language),
            "show_instruction": True,
            "show_skip_button": True,
            "enable_empty_annotation": False,
            "maximum_annotations": self.annotators_per_task,
            "sampling": "Sequential sampling",
        }

    def _fill(self, client: Client, number: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Imports what is missing, looking first and looking again: an import that was not answered may have been
        carried out, and one that was given up may be carried out yet."""
        for _ in range(1 + self.settings.retries):
            there = self._tasks_there(client, number)
            missing = [row for row in rows if row["task_id"] not in there]
            if not missing:
                break
            with suppress(Unsure):
                for start in range(0, len(missing), self.settings.import_size):
                    part = missing[start : start + self.settings.import_size]
                    client.make(
                        f"import {len(part)} tasks into project {number}",
                        f"/api/projects/{number}/import",
                        [{"data": template.task_data(row)} for row in part],
                        {"return_task_ids": "true"},
                    )
        else:
            raise ServerUnavailable(
                f"Label Studio at {client.connection.url}: project {number} still lacks {len(missing)} of "
                f"{len(rows)} tasks; send the batch again"
            )
        for double in [double for doubles in there.values() for double in doubles[1:]]:
            client.remove("remove a task that was imported twice", f"/api/tasks/{double}/")

    def _tasks_there(self, client: Client, number: int) -> dict[str, list[int]]:
        """Label Studio's numbers of each of our tasks; those with annotations first, then the oldest."""
        found: dict[str, list[tuple[bool, int]]] = {}
        for task in client.tasks(f"list the tasks of project {number}", number, annotations=False):
            labelled = bool(task.get("total_annotations") or task.get("cancelled_annotations"))
            found.setdefault(str(task["data"].get("task_id")), []).append((not labelled, task["id"]))
        return {task_id: [one for _, one in sorted(several)] for task_id, several in found.items()}

    # -- in ---------------------------------------------------------------------------------------------------------

    def pull(self, previous: Previous) -> Iterator[Delivery]:
        """A snapshot of each of our open projects that is not what it was when it was stored last."""
        with Client(self.connection, self.settings) as client:
            projects = list(self._projects(client))
            self._tell_of_those_gone(projects)
            for project in projects:
                if self.now() - project.created_at > timedelta(days=self.settings.open_days):
                    continue
                stream = f"{self.settings.name}-{project.number}"
                content = previous(stream)
                before = Snapshot.of(content) if content is not None else None
                try:
                    after = self._snapshot(client, project, before)
                except NotFound:
                    log.warning(
                        "label studio: project %d (batch %s) was deleted while it was read; what it held when it was "
                        "stored last stays",
                        project.number,
                        project.batch_id,
                    )
                    continue
                if after is None:
                    continue
                source = f"{stream}/{project.batch_id}.jsonl"
                yield read(
                    after.content(),
                    source=source,
                    settings=self.reading,
                    stream=stream,
                    complete=after.note.complete,
                )

    def left_out(self) -> tuple[Unusable, ...]:
        """Nothing: other projects are other people's."""
        return ()

    def _snapshot(self, client: Client, project: Project, before: Snapshot | None) -> Snapshot | None:
        """What the project holds now; None when `before` says the same, or when there is nothing yet."""
        known = before
        for remaining in reversed(range(_ROUNDS)):
            known, counted = self._read(client, project, known, whole=not remaining)
            if counted:
                break
        if known is None or (before is None and not known.rows and not known.note.complete):
            return None
        same = before is not None and (before.rows, before.note.complete) == (known.rows, known.note.complete)
        return None if same else known

    def _read(self, client: Client, project: Project, known: Snapshot | None, *, whole: bool) -> tuple[Snapshot, bool]:
        """`known` brought up to date, and whether the server counts as many annotations. whole: read all of them."""
        number = project.number
        reading = f"read the annotations of project {number}"
        # Asked before the tasks: what changes while they are read is read again next time.
        newest = client.newest_change(reading, number)
        since = None if whole or known is None else known.note.watermark
        conditions = [] if since is None else [condition("updated_at", "greater_or_equal", "Datetime", _before(since))]
        changed = client.tasks(reading, number, *conditions, annotations=True)
        rows = snapshots.merged(known, changed, whole=since is None, server=self.settings.name)
        now = self._project(client, project)
        # Once it was complete it stays so: what is changed or deleted afterwards is a correction.
        complete = self._complete(now, rows) or (known is not None and known.note.complete)
        return Snapshot(Note(number, now.tasks, newest, complete), rows), len(rows) == now.annotations

    def _complete(self, project: Project, rows: Sequence[snapshots.Row]) -> bool:
        if self.now() - project.created_at >= timedelta(days=self.settings.deadline_days):
            return True
        wanted = max(project.sent, project.tasks)  # fewer are there while the batch is being sent
        return snapshots.finished(rows, tasks=wanted, annotators=project.annotators)

    def _project(self, client: Client, project: Project) -> Project:
        """As it is now."""
        doing = f"read project {project.number}"
        item = client.get(doing, f"/api/projects/{project.number}/", {"include": ",".join(_COLUMNS)})
        return Project.of(client.checked(doing, item, _FIELDS), self.settings.title_prefix) or project

    def _tell_of_those_gone(self, projects: Sequence[Project]) -> None:
        there = {f"{self.settings.name}-{project.number}" for project in projects}
        ours = re.compile(rf"{re.escape(self.settings.name)}-\d+")
        gone = sorted(stream for stream in self.waiting if ours.fullmatch(stream) and stream not in there)
        if gone:
            log.warning(
                "label studio: gone before they were complete: %s; what they held when they were stored last stays, "
                "and is not judged",
                ", ".join(gone),
            )

    def _projects(self, client: Client) -> Iterator[Project]:
        """All of ours, the oldest first."""
        query = {"include": ",".join(_COLUMNS), "ordering": "id"}
        found = client.pages("list projects", "/api/projects/", query, fields=_FIELDS)
        ours = (Project.of(item, self.settings.title_prefix) for item in found)
        yield from sorted((one for one in ours if one is not None), key=lambda one: one.number)

    def _of_batch(self, client: Client, batch_id: str) -> list[Project]:
        return [project for project in self._projects(client) if project.batch_id == batch_id]


def _before(watermark: str) -> str:
    """The moment from which to ask again."""
    return (datetime.fromisoformat(watermark) - _LATE).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
