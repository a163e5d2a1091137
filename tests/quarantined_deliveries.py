"""A workspace into which real deliveries come through the file channel and the door, good ones and others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rerankops import config
from rerankops.pipeline import channels, validation
from rerankops.pipeline.context import Context
from rerankops.pipeline.corpus import GOLD
from rerankops.records import AnnotationTask, GoldQuestion
from rerankops.workspace import Address, Workspace

PEOPLE = ("ann-1", "ann-2", "ann-3")
QUERIES, EACH = 10, 3

Row = dict[str, Any]


class Place:
    """One batch is out: 10 queries of 3 passages each, which three people grade."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.inbox, self.batch = folder, folder / "inbox", "b1"
        self.settings = {
            "workspace": {"root": str(folder / "workspace")},
            "annotation": {"inbox": str(self.inbox), "outbox": str(folder / "outbox")},
        }
        self.context = Context(config.load(environ={}, overrides=self.settings), Workspace(folder / "workspace"))
        self.workspace = self.context.workspace

    def copied(self, folder: Path) -> Place:
        """The same, elsewhere: deliveries are looked at once and decided about many times."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return Place(folder)

    def begin(self) -> Place:
        """Gold questions, and the batch b1."""
        self.inbox.mkdir(parents=True)
        gold = {"question_id": "g", "text": "天窗怎么关", "accepted_answers": ["按"], "stratum": "procedure"}
        questions = GoldQuestion.table([gold | {"relevant_passage_ids": [], "relevant_grades": None}])
        self.workspace.point(GOLD, self.workspace.publish(GoldQuestion, questions, step="load_gold"))
        self.send("b1")
        return self

    def send(self, batch: str) -> None:
        """A batch of its own tasks about the same pairs; what is delivered after it is for it."""
        self.batch = batch
        tasks = AnnotationTask.table(self._task(query, n) for query in range(QUERIES) for n in range(EACH))
        address = self.workspace.publish(AnnotationTask, tasks, step="make_annotation_batch")
        self.workspace.point(f"batches/{batch}", address)

    def _task(self, query: int, n: int) -> Row:
        return {
            "batch_id": self.batch,
            "task_id": f"{self.batch}-{query}-{n}",
            "query_id": f"q{query}",
            "passage_id": f"p{query}-{n}",
            "query_text": f"后备箱 {query} 多大",
            "passage_title": f"第 {n} 节",
            "passage_text": f"后备箱容积 {query}{n} 升",
            "stratum": "numeric",
            "control_grade": None,
            "chosen_for": "random",
        }

    def rows(self, people: Sequence[str] = PEOPLE) -> list[Row]:
        """What they return. From one person alone it is too little: the batch asks three."""
        return [
            {
                "batch_id": self.batch,
                "task_id": f"{self.batch}-{query}-{n}",
                "annotator_id": who,
                "grade": (query + n) % 4,
                "annotated_at": (datetime.now(UTC) - timedelta(seconds=7 * (query * EACH + n) + place)).isoformat(),
            }
            for place, who in enumerate(people)
            for query in range(QUERIES)
            for n in range(EACH)
        ]

    def deliver(self, name: str, rows: Iterable[Row]) -> tuple[Address, str]:
        """Puts a file into the inbox, pulls and validates it: the delivery, and the outcome."""
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (self.inbox / name).write_text(text, encoding="utf-8")
        (delivery,) = channels.pull_deliveries(context=self.context)
        return delivery, validation.validate_delivery(delivery, context=self.context)["outcome"]

    def incomplete(self, name: str = "one.jsonl", person: str = "ann-1") -> Address:
        """A delivery of one person alone, which is quarantined."""
        delivery, outcome = self.deliver(name, self.rows([person]))
        assert outcome == "quarantine"
        return delivery

    def whole(self, name: str = "all.jsonl") -> Address:
        delivery, outcome = self.deliver(name, self.rows())
        assert outcome == "accept"
        return delivery

    def stored(self) -> dict[str, bytes]:
        """Every file of every artefact."""
        folder = Path(self.workspace.root.path) / "objects"
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
