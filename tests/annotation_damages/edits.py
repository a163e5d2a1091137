"""What is done to a good delivery: edits of its rows, and of its bytes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from annotation_damages.delivery import Edit, Row, batch


def line(number: int, **values: Any) -> Edit:
    """Other values in one line (the first is 1)."""
    return lambda rows: [{**row, **values} if n == number - 1 else row for n, row in enumerate(rows)]


def lines(count: int, change: Callable[[Row], Row]) -> Edit:
    """Every so-manieth line, so many in all, changed."""

    def edit(rows: list[Row]) -> list[Row]:
        chosen = {n * len(rows) // count for n in range(count)}
        return [change(row) if n in chosen else row for n, row in enumerate(rows)]

    return edit


def every(change: Callable[[Row], Row]) -> Edit:
    return lambda rows: [change(row) for row in rows]


def put(**values: Any) -> Callable[[Row], Row]:
    return lambda row: {**row, **values}


def graded(grade: Callable[[int], Any]) -> Callable[[Row], Row]:
    return lambda row: {**row, "grade": grade(row["grade"])}


def moved(by: timedelta) -> Callable[[Row], Row]:
    return lambda row: {
        **row,
        "annotated_at": (datetime.fromisoformat(row["annotated_at"]) + by).isoformat(),
    }


def renamed(**names: str) -> Edit:
    return every(lambda row: {names.get(name, name): value for name, value in row.items()})


def without(*names: str) -> Edit:
    return every(lambda row: {name: value for name, value in row.items() if name not in names})


def one_without(name: str) -> Edit:
    return lambda rows: [*rows[:4], {key: value for key, value in rows[4].items() if key != name}, *rows[5:]]


def swapped(one: str, other: str) -> Edit:
    return every(lambda row: {**row, one: row[other], other: row[one]})


def person(who: str, change: Callable[[int, Row], Row]) -> Edit:
    """One person's lines changed; the change is given the number of each among theirs."""

    def edit(rows: list[Row]) -> list[Row]:
        number = -1
        done = []
        for row in rows:
            number += row["annotator_id"] == who
            done.append(change(number, row) if row["annotator_id"] == who else row)
        return done

    return edit


def leave_out(drop: Callable[[Row], bool]) -> Edit:
    return lambda rows: [row for row in rows if not drop(row)]


def then(*edits: Edit) -> Edit:
    def edit(rows: list[Row]) -> list[Row]:
        for one in edits:
            rows = one(rows)
        return rows

    return edit


def texts(change: Callable[[dict[str, Any]], dict[str, Any]] = dict) -> Edit:
    """Lines that echo their task's texts, changed."""
    tasks = {task["task_id"]: task for task in batch().to_pylist()}
    names = ("query_text", "passage_title", "passage_text")
    return every(lambda row: {**row, **change({name: tasks[row["task_id"]][name] for name in names})})


def copied(rows: list[Row]) -> list[Row]:
    own = {row["task_id"]: row for row in rows if row["annotator_id"] == "ann-2"}
    return [{**own[row["task_id"]], "annotator_id": "ann-3"} if row["annotator_id"] == "ann-3" else row for row in rows]


def line_bytes(number: int, change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    def edit(content: bytes) -> bytes:
        parts = content.split(b"\n")
        parts[number - 1] = change(parts[number - 1])
        return b"\n".join(parts)

    return edit


def as_csv(content: bytes) -> bytes:
    rows = [json.loads(one) for one in content.splitlines()]
    return "\r\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]).encode()


def as_array(content: bytes) -> bytes:
    return b"[" + b",".join(content.splitlines()) + b"]"


def as_pretty(content: bytes) -> bytes:
    return b"\n".join(json.dumps(json.loads(one), indent=2).encode() for one in content.splitlines())


def controls(change: Callable[[int, Row], Any], *who: str) -> Callable[[list[Row], dict[str, int | None]], list[Row]]:
    """Grades of control tasks by these people, changed: change(known grade, row)."""

    def edit(rows: list[Row], known: dict[str, int | None]) -> list[Row]:
        done = []
        for row in rows:
            grade = known[row["task_id"]]
            mine = grade is not None and row["annotator_id"] in who
            done.append({**row, "grade": change(grade, row)} if mine and grade is not None else row)
        return done

    return edit


def turned(*who: str) -> Edit:
    return every(lambda row: {**row, "grade": 3 - row["grade"]} if row["annotator_id"] in who else row)


def guessed(rows: list[Row]) -> list[Row]:
    luck = random.Random(3)
    return [{**row, "grade": luck.randrange(4)} if row["annotator_id"] == "ann-2" else row for row in rows]


def earlier(*shares: float) -> list[tuple[str, int, float]]:
    """Grades of 400 earlier tasks, see GRADE_COUNTS: the share of each grade."""
    return [(stratum, grade, 200 * share) for stratum in ("numeric", "procedure") for grade, share in enumerate(shares)]
