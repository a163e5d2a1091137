"""Damage to a file: its fields, its encoding, its format, its end."""

from __future__ import annotations

import gzip
import random

from annotation_damages.delivery import ACCEPT, BATCH, PART, QUARANTINE, Case
from annotation_damages.edits import (
    as_array,
    as_csv,
    as_pretty,
    every,
    line,
    line_bytes,
    one_without,
    put,
    renamed,
    texts,
    without,
)

CASES: list[Case] = [
    # fields
    *(
        Case(
            f"no line has {name}",
            QUARANTINE,
            without(name),
            says=(f"no line has the field '{name}'", "add to every line"),
        )
        for name in ("batch_id", "task_id", "annotator_id", "grade", "annotated_at")
    ),
    *(
        Case(
            f"one line has no {name}",
            PART,
            one_without(name),
            says=("line 5 ", f"has no {name}", "fill it in"),
            aside=1,
        )
        for name in ("batch_id", "task_id", "annotator_id", "grade", "annotated_at")
    ),
    Case(
        "a field under another name",
        QUARANTINE,
        renamed(task_id="task"),
        says=("'task_id'", "'task'", "add to every line"),
    ),
    Case(
        "two fields renamed",
        QUARANTINE,
        renamed(grade="score", annotator_id="user"),
        says=("fields 'annotator_id', 'grade'", "'user', 'score'"),
    ),
    Case("names in capitals", QUARANTINE, renamed(grade="GRADE"), says=("no line has the field 'grade'", "'GRADE'")),
    Case("rows inside another object", QUARANTINE, every(lambda row: {"row": row}), says=("no line has the field",)),
    Case("grades are null", QUARANTINE, every(put(grade=None)), says=("has no grade", "(and 197 more")),
    Case("a blank annotator", PART, line(5, annotator_id=" \t "), says=("line 5 ", "has no annotator_id"), aside=1),
    Case("an empty grade", PART, line(5, grade=""), says=("line 5 ", "'ann-2'", "has no grade"), aside=1),
    Case("a nested grade", PART, line(5, grade={"value": 1}), says=("line 5 ", "no whole number"), aside=1),
    Case("a grade in a list", PART, line(5, grade=[1]), says=("'[1]'", "no whole number"), aside=1),
    Case("a nested task", PART, line(5, task_id={"id": "task-004"}), says=("line 5 ", "does not have"), aside=1),
    Case("an annotator as an object", PART, line(5, annotator_id={"id": 7}), says=("annotator_id", "markup"), aside=1),
    Case(
        "JSON nested without end",
        PART,
        content=line_bytes(5, lambda _: b"[" * 100_000),
        says=("line 5: no JSON", "one JSON object a line"),
        aside=1,
    ),
    Case(
        "a line that is a number", PART, content=line_bytes(5, lambda _: b"42"), says=("line 5: JSON, but no object",)
    ),
    Case("a line that is null", PART, content=line_bytes(5, lambda _: b"null"), says=("line 5: JSON, but no object",)),
    Case("every line in single quotes", QUARANTINE, content=lambda c: c.replace(b'"', b"'"), says=("no JSON",)),
    Case("a comma after every line", QUARANTINE, content=lambda c: c.replace(b"}\n", b"},\n"), says=("no JSON",)),
    # encodings
    Case("UTF-16", ACCEPT, content=lambda c: c.decode().encode("utf-16")),
    Case("UTF-16, big end first", ACCEPT, content=lambda c: b"\xfe\xff" + c.decode().encode("utf-16-be")),
    Case("UTF-16 without its mark", ACCEPT, content=lambda c: c.decode().encode("utf-16-le")),
    Case("UTF-32", ACCEPT, content=lambda c: c.decode().encode("utf-32")),
    Case("GB18030", ACCEPT, texts(), lambda c: c.decode().encode("gb18030")),
    Case(
        "one line in GB18030, others in UTF-8",
        PART,
        texts(),
        line_bytes(5, lambda one: one.replace(b"ann-2", "张三".encode("gb18030"))),
        says=("line 5: no JSON", "in UTF-8"),
        aside=1,
    ),
    Case(
        "a stray byte",
        PART,
        content=line_bytes(7, lambda one: one.replace(b"ann", b"\xe4nn")),
        says=("line 7",),
        aside=1,
    ),
    Case("NUL bytes at the end", QUARANTINE, content=lambda c: c + b"\0" * 4096, says=("the last", "cut off")),
    Case("nothing but NUL bytes", QUARANTINE, content=lambda c: b"\0" * len(c), says=("NUL bytes", "copy it again")),
    Case("a line of NUL bytes", PART, content=line_bytes(5, lambda one: b"\0" * len(one)), says=("line 5",), aside=1),
    Case("a NUL in a name", PART, line(5, annotator_id="ann-2\0"), says=("line 5 ", "markup"), aside=1),
    Case(
        "half a surrogate pair in a name",
        PART,
        content=line_bytes(5, lambda one: one.replace(b"ann-2", rb"ann\ud800")),
        says=("line 5 ", "markup"),
        aside=1,
    ),
    Case("line ends of an old Mac", ACCEPT, content=lambda c: c.replace(b"\n", b"\r")),
    # other formats
    Case("gzip", ACCEPT, content=gzip.compress),
    Case("half a workbook", QUARANTINE, content=lambda _: b"PK\x03\x04\x14\0\6\0" + b"\xa7" * 500, says=("workbook",)),
    Case("half a Parquet file", QUARANTINE, content=lambda _: b"PAR1\x15\x04" + b"\xb3" * 500, says=("Parquet",)),
    Case("a PDF", QUARANTINE, content=lambda _: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", says=("PDF",)),
    Case(
        "a log-in page", QUARANTINE, content=lambda _: b"<!DOCTYPE html>\n<title>Log in</title>\n", says=("a web page",)
    ),
    Case("one JSON array", ACCEPT, content=as_array),
    Case("printed for people", ACCEPT, content=as_pretty),
    Case(
        "one object around all", QUARANTINE, content=lambda c: b'{"rows": ' + as_array(c) + b"}", says=("no line has",)
    ),
    Case("CSV that says it is JSON", ACCEPT, content=as_csv),
    Case("JSON that says it is CSV", ACCEPT, source=f"{BATCH}.csv"),
    Case(
        "rubbish", QUARANTINE, content=lambda _: random.Random(1).randbytes(5000), says=("neither UTF-8 nor GB18030",)
    ),
    Case("an empty file", QUARANTINE, content=lambda _: b"", says=("no annotation", "deliver the batch again")),
    Case("blank lines alone", QUARANTINE, content=lambda _: b"\n  \n\r\n", says=("no annotation",)),
    # broken off
    Case(
        "cut in the middle of a line", QUARANTINE, content=lambda c: c[: len(c) // 2 + 20], says=("the last", "cut off")
    ),
    Case(
        "cut a few bytes before its end", QUARANTINE, content=lambda c: c[:-12], says=("line 198, the last", "cut off")
    ),
    Case(
        "cut in the middle of a character",
        QUARANTINE,
        texts(),
        lambda c: c[: c.rindex("升".encode()) + 1],
        says=("the last", "cut off"),
    ),
    Case(
        "cut between lines",
        QUARANTINE,
        lambda rows: rows[:100],
        says=("of the annotations asked for", "the whole batch"),
    ),
    Case("only its end", QUARANTINE, content=lambda c: c[len(c) // 2 :], says=("of the annotations asked for",)),
    Case("its first bytes are gone", PART, content=lambda c: c[30:], says=("line 1: no JSON",), aside=1),
    Case("a piece is gone within", PART, content=lambda c: c[:1000] + c[1150:], says=("no JSON",), aside=1),
    Case("a footer", QUARANTINE, content=lambda c: c + b"-- 198 rows exported --\n", says=("line 199, the last",)),
    Case(
        "two files glued without a line end", PART, content=lambda c: c[:-1].replace(b"}\n{", b"}{", 1) + b"\n", aside=1
    ),
]
