"""Damage to lines: grades, times, repetitions, ids, texts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from annotation_damages.delivery import ACCEPT, PART, QUARANTINE, SENT, Case
from annotation_damages.edits import every, graded, line, lines, moved, put, swapped, texts, then

_PAST = timedelta(days=-40)
CASES: list[Case] = [
    # grades
    *(
        Case(
            f"the grade {value!r}",
            PART,
            line(5, grade=value),
            says=("line 5 ", "'ann-2'", words, "one of 0, 1, 2, 3"),
            aside=1,
        )
        for value, words in (
            (9, "grade '9', which is unknown"),
            (-1, "grade '-1', which is unknown"),
            (4, "grade '4', which is unknown"),
            (1.5, "'1.5', which is no whole number"),
            ("good", "'good', which is no whole number"),
            ("三", "'三', which is no whole number"),
            (True, "'true', which is no whole number"),
            (10**300, "which is no whole number"),
            (float("nan"), "'NaN', which is no whole number"),
            (float("inf"), "'Infinity', which is no whole number"),
            ("{0}{line}$x", "which is no whole number"),
            ("x" * 100_000, "…', which is no whole number"),
        )
    ),
    Case(
        "grades counted from 1", QUARANTINE, every(graded(lambda g: g + 1)), says=("counted from 1", "take 1 from each")
    ),
    Case("per cent", QUARANTINE, every(graded(lambda g: g * 33)), says=("which is unknown", "one of 0, 1, 2, 3")),
    Case("five stars", QUARANTINE, every(graded(lambda g: (1, 2, 4, 5)[g])), says=("which is unknown",)),
    Case("words for grades", QUARANTINE, every(graded(lambda g: "ABCD"[g])), says=("which is no whole number",)),
    Case("nine bad lines", PART, lines(9, put(grade=8)), says=("(and 8 more", "unknown"), aside=9),
    Case("ten bad lines", QUARANTINE, lines(10, put(grade=8)), says=("5.1% of 198 lines cannot be used",)),
    Case(
        "few of each fault, many in all",
        QUARANTINE,
        then(lines(8, put(grade=8)), lines(7, put(annotated_at="?"))),
        says=("cannot be used", "grade out of range: 8", "unreadable time: 7"),
    ),
    # times
    *(
        Case(f"the time {value!r}", PART, line(5, annotated_at=value), says=("line 5 ", words), aside=1)
        for value, words in (
            ("gestern", "'gestern', which is no time; write times in ISO 8601"),
            ("03/04/2026 10:00", "which is no time; write times in ISO 8601"),
            (17672256, "'17672256', which is no time"),
            ("2026-13-01T00:00:00Z", "which is no time"),
            ("2026-04-21T25:61:00Z", "which is no time"),
            ("99999-01-01T00:00:00Z", "which is no time"),
            ("1969-12-31T00:00:00Z", "before 2000-01-01 or in the future; correct the clock"),
            ("0001-01-01T00:00:00Z", "before 2000-01-01 or in the future"),
            ("2026-05-03T00:00:00Z", "before 2000-01-01 or in the future"),
            ("9999-12-31T23:59:59Z", "before 2000-01-01 or in the future"),
        )
    ),
    Case(
        "seconds for milliseconds",
        QUARANTINE,
        every(lambda row: {**row, "annotated_at": datetime.fromtimestamp(1.7e6, UTC).isoformat()}),
        says=("before 2000-01-01", "(and 197 more"),
    ),
    Case(
        "milliseconds for seconds",
        QUARANTINE,
        every(moved(timedelta(days=365 * 900))),
        says=("in the future", "correct the clock or the export"),
    ),
    Case(
        "day or month first",
        QUARANTINE,
        every(put(annotated_at="03/04/2026 10:00")),
        says=("which is no time", "reading.date_order"),
    ),
    Case("a clock that is a week ahead", QUARANTINE, every(moved(timedelta(days=14))), says=("in the future",)),
    Case("graded before it was sent", QUARANTINE, every(moved(_PAST)), sent=SENT, says=("before the batch was made",)),
    Case(
        "one line before it was sent",
        PART,
        lines(1, moved(_PAST)),
        sent=SENT,
        says=("before the batch was made",),
        aside=1,
    ),
    # twice
    Case(
        "the file twice",
        ACCEPT,
        lambda rows: rows * 2,
        says=("line 199 ", "says again what line 1 says", "counts once"),
    ),
    Case("one line twice", ACCEPT, lambda rows: [*rows, rows[4]], says=("line 199 ", "says again what line 5 says")),
    Case(
        "one line twice at another time",
        ACCEPT,
        lambda rows: [*rows, moved(timedelta(minutes=3))(rows[4])],
        says=("says again what line 5 says",),
    ),
    Case(
        "one task twice, differently",
        PART,
        lambda rows: [*rows, {**rows[4], "grade": 3 - rows[4]["grade"]}],
        says=("line 5 ", "'ann-2'", "what line 199 of the same annotator", "keep one grade"),
        aside=2,
    ),
    Case(
        "everything twice, differently",
        QUARANTINE,
        lambda rows: [*rows, *map(graded(lambda g: (g + 1) % 4), rows)],
        says=("of the same annotator grades differently",),
    ),
    # batches and tasks
    Case(
        "a line of another batch",
        PART,
        line(5, batch_id="batch-0"),
        says=("'batch-0', the file to 'batch-1'",),
        aside=1,
    ),
    Case("two batches mixed", QUARANTINE, lines(66, put(batch_id="batch-0")), says=("(and 65 more", "in its own file")),
    Case("a batch that nobody sent", QUARANTINE, every(put(batch_id="batch-9")), says=("'batch-9' was never sent",)),
    Case("a batch in capitals", QUARANTINE, every(put(batch_id="BATCH-1")), says=("'BATCH-1' was never sent",)),
    Case(
        "a batch that climbs", QUARANTINE, every(put(batch_id="../../batch-1")), says=("'../../batch-1', the file to",)
    ),
    Case("an unknown task", PART, line(5, task_id="nope"), says=("line 5 ", "'nope'", "does not have"), aside=1),
    Case(
        "tasks by number", QUARANTINE, every(lambda r: {**r, "task_id": int(r["task_id"][5:])}), says=("does not have",)
    ),
    Case(
        "tasks of another batch",
        QUARANTINE,
        lines(40, put(task_id="task-999")),
        says=("(and 39 more", "as they were sent"),
    ),
    Case("a task with a space within", PART, line(5, task_id="task- 001"), says=("does not have",), aside=1),
    # columns in one another's place
    Case(
        "task and annotator",
        QUARANTINE,
        swapped("task_id", "annotator_id"),
        says=("task_id seem to stand in annotator_id",),
    ),
    Case(
        "grade and annotator",
        QUARANTINE,
        swapped("grade", "annotator_id"),
        says=("grade seem to stand in annotator_id",),
    ),
    Case(
        "grade and seconds", QUARANTINE, swapped("grade", "lead_seconds"), says=("grade seem to stand in lead_seconds",)
    ),
    Case(
        "time and annotator",
        QUARANTINE,
        swapped("annotated_at", "annotator_id"),
        says=("annotated_at seem to stand in",),
    ),
    Case("batch and task", QUARANTINE, swapped("batch_id", "task_id"), says=("batch_id seem to stand in task_id",)),
    Case(
        "batch and annotator",
        QUARANTINE,
        swapped("batch_id", "annotator_id"),
        says=("batch_id seem to stand in annotator",),
    ),
    Case(
        "query and passage",
        QUARANTINE,
        then(texts(), swapped("query_text", "passage_text")),
        says=("query_text seem to stand in passage_text", "under its own name"),
    ),
]
