"""Tasks to label, and people who label them through the API as the labelling page does."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import httpx
import pyarrow as pa

from rerankops.annotation.channel import Delivery
from rerankops.records import AnnotationTask

QUERIES, EACH = 4, 3


def tasks_of(batch_id: str, queries: int = QUERIES, each: int = EACH) -> pa.Table:
    """Three passages a query; the first passage of the first two queries is a control."""
    return AnnotationTask.table(
        {
            "batch_id": batch_id,
            "task_id": f"{batch_id}-{query}-{n}",
            "query_id": f"{batch_id}-q{query}",
            "passage_id": f"p{query}-{n}",
            "query_text": f"后备箱 {query} 多大",
            "passage_title": f"第 {n} 节 <容积>",
            "passage_text": f"后备箱容积 {query}{n} 升。\n座椅放倒后更大 & 更平。",
            "stratum": "numeric",
            "control_grade": {0: 3, 1: 0}.get(query) if n == 0 else None,
            "chosen_for": "random",
        }
        for query in range(queries)
        for n in range(each)
    )


def result(grade: object) -> list[dict[str, Any]]:
    return [{"from_name": "grade", "to_name": "passage", "type": "choices", "value": {"choices": [str(grade)]}}]


@dataclass(frozen=True)
class Person:
    """An account that labels. token: its legacy token."""

    url: str
    token: str

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        headers = {"authorization": f"Token {self.token}"}
        return httpx.request(method, self.url + path, json=body, headers=headers, timeout=60, trust_env=False)

    def grade(self, task: int, grade: object, *, seconds: float = 4.5, **more: Any) -> int:
        """The number of the annotation."""
        body = {"result": result(grade), "lead_time": seconds, "unique_id": str(uuid.uuid4())} | more
        said = self.ask("POST", f"/api/tasks/{task}/annotations/", body)
        assert said.status_code == httpx.codes.CREATED, said.text
        number: int = said.json()["id"]
        return number

    def edit(self, annotation: int, grade: object) -> None:
        said = self.ask("PATCH", f"/api/annotations/{annotation}/", {"result": result(grade)})
        assert said.is_success, said.text

    def delete(self, annotation: int) -> None:
        assert self.ask("DELETE", f"/api/annotations/{annotation}/").status_code == httpx.codes.NO_CONTENT


def tasks_in(person: Person, project: int) -> dict[str, list[int]]:
    """Label Studio's numbers of our tasks, from one large page."""
    said = person.ask("GET", f"/api/tasks/?project={project}&page_size=1000")
    found: dict[str, list[int]] = {}
    for task in said.json()["tasks"]:
        found.setdefault(task["data"]["task_id"], []).append(task["id"])
    return found


def number_of(place: str) -> int:
    """A project's number, from where a batch was sent."""
    return int(place.rpartition("/")[2])


def grades(delivery: Delivery) -> set[tuple[str, str | None, str | None]]:
    rows = delivery.rows.to_pylist()
    found = {(row["task_id"], row["annotator_id"], row["grade"]) for row in rows}
    assert len(found) == len(rows)
    return found
