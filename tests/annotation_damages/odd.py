"""What is odd and harmless, and must be accepted whole."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from annotation_damages.delivery import ACCEPT, BATCH, SENT, Case
from annotation_damages.edits import (
    as_csv,
    earlier,
    every,
    graded,
    leave_out,
    line,
    lines,
    moved,
    person,
    put,
    texts,
    then,
    without,
)

CASES: list[Case] = [
    Case("as it was sent", ACCEPT, aside=0),
    Case("a byte order mark", ACCEPT, content=lambda c: b"\xef\xbb\xbf" + c),
    Case("line ends of Windows", ACCEPT, content=lambda c: c.replace(b"\n", b"\r\n")),
    Case("blank lines", ACCEPT, content=lambda c: b"\n\n" + c.replace(b"\n", b"\n \n")),
    Case("no line end at its end", ACCEPT, content=lambda c: c[:-1]),
    Case("fields that nobody knows", ACCEPT, every(put(comment="gut", nested={"a": [1]}))),
    Case("fields in another order", ACCEPT, every(lambda row: dict(reversed(row.items())))),
    Case("lines in another order", ACCEPT, lambda rows: random.Random(2).sample(rows, len(rows))),
    Case("escaped characters", ACCEPT, content=lambda c: c.replace(b"ann-", b"\\u0061nn-")),
    Case("grades as text", ACCEPT, every(graded(str))),
    Case("grades with a point", ACCEPT, every(graded(float))),
    Case("grades with spaces", ACCEPT, every(graded(lambda g: f" +{g} "))),
    Case(
        "times with a space", ACCEPT, every(lambda r: {**r, "annotated_at": r["annotated_at"][:19].replace("T", " ")})
    ),
    Case(
        "times of Shanghai",
        ACCEPT,
        every(lambda r: {**r, "annotated_at": r["annotated_at"].replace("+00:00", "+08:00")}),
    ),
    Case("full-width digits for grades", ACCEPT, every(graded(lambda g: "０１２３"[g]))),
    Case(
        "times as Excel writes them",
        ACCEPT,
        every(lambda r: {**r, "annotated_at": f"{datetime.fromisoformat(r['annotated_at']):%Y/%-m/%-d %-H:%M}"}),
    ),
    Case(
        "milliseconds since 1970",
        ACCEPT,
        every(lambda r: {**r, "annotated_at": int(datetime.fromisoformat(r["annotated_at"]).timestamp() * 1000)}),
    ),
    Case("dates alone", ACCEPT, then(without("lead_seconds"), every(put(annotated_at="2026-04-21")))),
    Case(
        "times that end in Z", ACCEPT, every(lambda r: {**r, "annotated_at": r["annotated_at"].replace("+00:00", "Z")})
    ),
    Case(
        "local times without a zone", ACCEPT, every(lambda r: {**r, "annotated_at": r["annotated_at"][:19]}), sent=SENT
    ),
    Case("a clock that is hours ahead", ACCEPT, every(moved(timedelta(days=9, hours=8)))),
    Case(
        "everything saved at one time", ACCEPT, then(without("lead_seconds"), every(put(annotated_at=SENT.isoformat())))
    ),
    Case(
        "names in Chinese, and others",
        ACCEPT,
        every(
            lambda r: {
                **r,
                "annotator_id": {"ann-1": "张三", "ann-2": "o'neil@example.com", "ann-3": "Zoë 🚗"}[r["annotator_id"]],
            }
        ),
    ),
    Case(
        "one name in two spellings",
        ACCEPT,
        person("ann-1", lambda n, row: {**row, "annotator_id": "Ann-1"} if n % 2 else row),
        says=("reads like annotator",),
    ),
    Case("texts echoed", ACCEPT, texts(), aside=0),
    Case(
        "texts with other white space",
        ACCEPT,
        texts(lambda t: {name: f" {text.replace(' ', chr(10) + ' ')}\r\n" for name, text in t.items()}),
        aside=0,
    ),
    Case("a line is missing", ACCEPT, lambda rows: rows[:-1]),
    Case(
        "a task nobody graded",
        ACCEPT,
        leave_out(lambda row: row["task_id"] == "task-000"),
        says=("1 queries lack grades",),
    ),
    Case(
        "a query nobody graded",
        ACCEPT,
        leave_out(lambda row: row["task_id"] in {"task-000", "task-001", "task-002"}),
        says=("后备箱 0 有多大",),
    ),
    Case(
        "a fourth person",
        ACCEPT,
        lambda rows: rows + [moved(timedelta(seconds=40))({**row, "annotator_id": "ann-4"}) for row in rows[:30:3]],
    ),
    Case("a few quick answers", ACCEPT, lines(12, put(lead_seconds=0.2)), aside=0),
    Case(
        "a person with three quick answers",
        ACCEPT,
        lambda rows: rows + [{**row, "annotator_id": "new", "lead_seconds": 0.1} for row in rows[:9:3]],
        aside=0,
    ),
    Case(
        "a person who says 0 eight times",
        ACCEPT,
        lambda rows: rows + [{**row, "annotator_id": "new", "grade": 0} for row in rows[:24:3]],
        aside=0,
    ),
    Case("seconds below 0", ACCEPT, line(5, lead_seconds=-3), says=("line 5 ", "'-3' seconds", "the grade counts")),
    Case("seconds without end", ACCEPT, line(5, lead_seconds=float("inf")), says=("line 5 ", "'Infinity' seconds")),
    Case("seconds in words", ACCEPT, line(5, lead_seconds="a while"), says=("'a while' seconds",)),
    Case("CSV", ACCEPT, content=as_csv, source=f"{BATCH}.csv"),
    Case("grades as before", ACCEPT, history=earlier(0.42, 0.2, 0.22, 0.16), aside=0),
    Case(
        "grades a little other than before",
        ACCEPT,
        history=earlier(0.7, 0.2, 0.07, 0.03),
        says=("would have to be others to look like", "by hand"),
    ),
    Case("hardly any earlier grades", ACCEPT, history=[("numeric", 3, 3.0)], aside=0),
    Case("strata that are new", ACCEPT, history=[("summary", 3, 500.0)], aside=0),
    Case("gold elsewhere", ACCEPT, near_gold=frozenset({"q99"}), aside=0),
]
