"""Whatever arrives at a door, nothing comes out of it but rows or an error that a person can act on.

What arrives is made by hypothesis: a file of file_variants with bytes changed, taken away, repeated or put in from
another; a table of values that no door expects, in any container; bytes at random; replies of model servers; and texts.
The sample in tests/unit and the campaign in tests/campaigns are the same code with other numbers.
"""

from __future__ import annotations

import gzip
import json
import resource
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import pyarrow as pa
from doors import DOORS, Door
from file_variants import LIMITS, VARIANTS, Rows, json_lines, parquet, sheet, table, workbook
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

from rerankops import config
from rerankops.evaluation import normalise
from rerankops.llm import replies
from rerankops.llm.asking import Answer
from rerankops.llm.final import final
from rerankops.privacy import Redactor

LONGEST = 60
"""Seconds after which an input hangs."""
MOST_WORDS = 6000
"""Characters of an error that a person still reads; it may hold the whole of an over-long value no more."""
MOST_MEMORY = 1 << 30
"""Bytes by which the process may grow, whatever it is given; its limits for a file are LIMITS."""
SETTINGS = config.load(environ={})
HOW = SETTINGS.reading.model_copy(update=LIMITS)

Arrived = tuple[str, bytes]
"""The ending of a file's name, and what is in it."""


def inputs(count: int, *, repeatable: bool) -> settings:
    """repeatable: the same inputs every time, as CI wants them."""
    return settings(
        max_examples=count,
        derandomize=repeatable,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


# -- what arrives

_TEXT = st.text(st.characters(codec="utf-8"), max_size=40) | st.sampled_from(
    ["", " ", "０１２", "＝1+1", "=cmd|' /C calc'!A0", "1e400", "-0", "NaN", "2026-13-45", "2026/11/30 8:54", "1/-1",
     "p1|p2", "p1；p2", "[", '["p1"', "{}", "\\x22", "\u202e", "\x00", "\ufeff", "a" * 6000, "٣", "九", "null",
     "None", "TRUE", "是"]
)  # fmt: skip
_VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | _TEXT
    | st.sampled_from([1e308, -1, 2**63, 1788240000, 1788240000000, "2026-09-01T08:30:00Z"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)


@cache
def _made(door: str) -> tuple[bytes, ...]:
    """The files of all variants, made once: a workbook holds the moment at which it was made."""
    return tuple(variant.make(NAMED[door].rows) for variant in VARIANTS)


@st.composite
def _spoiled(draw: Any, door: str) -> Arrived:
    """One of file_variants, changed here and there, or not at all."""
    number = draw(st.integers(0, len(VARIANTS) - 1))
    variant, content = VARIANTS[number], _made(door)[number]
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(content)))
        length = draw(st.integers(0, 40) | st.integers(0, len(content)))
        piece = draw(
            st.sampled_from([b"", content[start : start + length] * 2, draw(st.sampled_from(_made(door)))])
            | st.binary(max_size=12)
            | st.sampled_from([b'"', b"\n", b"\r", b"\0", b"\\", b"{", b"[", b",", b"\xff", b"\x81\x30", "；".encode()])
        )
        content = content[:start] + piece + content[start + length :]
    ending = draw(st.sampled_from([variant.ending, variant.ending, *(other.ending for other in VARIANTS)]))
    return ending, content


@st.composite
def _odd_rows(draw: Any, rows: Rows) -> list[dict[str, Any]]:
    """The table with values in it, and columns, that nobody expects."""
    made = [dict(row) for row in rows]
    for _ in range(draw(st.integers(1, 6))):
        row = draw(st.sampled_from(made))
        name = draw(st.sampled_from([*rows[0], *rows[0]]) | _TEXT)
        row[name] = draw(_VALUE)
    gone = draw(st.none() | st.sampled_from(list(rows[0])))
    return [{name: value for name, value in row.items() if name != gone} or {"a": 1} for row in made]


def _plain(value: Any) -> Any:
    """As a spreadsheet's library takes it."""
    if isinstance(value, list | dict):
        value = json.dumps(value)
    if isinstance(value, str):
        return ILLEGAL_CHARACTERS_RE.sub("", value)[:32_000]
    return None if isinstance(value, float) and value != value else value


@st.composite
def _odd_table(draw: Any, rows: Rows) -> Arrived:
    odd = draw(_odd_rows(rows))
    names = list(dict.fromkeys(name for row in odd for name in row))
    even = [{name: row.get(name) for name in names} for row in odd]
    kind = draw(st.sampled_from(["lines", "lines", "array", "csv", "csv", "xlsx", "parquet"]))
    if kind == "lines":
        return ".jsonl", json_lines(odd).encode("utf-8", "surrogatepass")
    if kind == "array":
        return ".json", json.dumps(odd).encode()
    if kind == "csv":
        separator = draw(st.sampled_from([",", ";", "\t", "|"]))
        encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "gb18030", "utf-16"]))
        return ".csv", table(even, separator).encode(encoding, "replace")
    if kind == "xlsx":
        return ".xlsx", workbook([[_plain(value) for value in line] for line in sheet(even)])
    texts = [{name: value if value is None else str(value) for name, value in row.items()} for row in even]
    content = parquet(texts, kind=draw(st.sampled_from([lambda found: found, _dictionaries])))
    return ".parquet", gzip.compress(content) if draw(st.booleans()) else content


def _dictionaries(found: pa.Table) -> pa.Table:
    columns = [column.cast(pa.string()).dictionary_encode() for column in found.columns]
    return pa.table(columns, names=found.column_names)


def files(door: Door) -> SearchStrategy[Arrived]:
    random = st.tuples(st.sampled_from([variant.ending for variant in VARIANTS]), st.binary(max_size=600))
    return _spoiled(door.name) | _odd_table(door.rows) | random


_MARKS = ["<think>", "</think>", "```", "```json", "[THINK]", "<|im_end|>", '{"verdict": "right"}', "right", "答案"]
SAID = st.lists(_TEXT | st.sampled_from(_MARKS), max_size=6).map("".join)
"""What a model says."""


@st.composite
def bodies(draw: Any) -> bytes:
    """What a model server sends: as it should, with a part of it odd, or cut, or anything at all."""
    message: dict[str, Any] = {"role": "assistant", "content": draw(SAID)}
    reason = draw(st.sampled_from(["stop", "length", "tool_calls"]) | _VALUE)
    reply: dict[str, Any] = {"choices": [{"message": message, "finish_reason": reason}], "usage": draw(_VALUE)}
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.sampled_from([reply, message, reply["choices"][0]]))
        names = ["choices", "message", "content", "error", "refusal", "tool_calls", "reasoning_content", "usage"]
        place[draw(st.sampled_from(names))] = draw(_VALUE)
        if not (isinstance(reply["choices"], list) and reply["choices"] and isinstance(reply["choices"][0], dict)):
            break
    content = json.dumps(reply).encode()
    return draw(st.sampled_from([content, content[: draw(st.integers(0, len(content)))], draw(st.binary(max_size=80))]))


# -- what must hold


def at_a_door(door: Door, arrived: Arrived, folder: Path) -> None:
    """Raises AssertionError; whatever else it raises is a raw exception."""
    ending, content = arrived
    path = folder / f"table{ending}"
    path.write_bytes(content)
    with in_time():
        found = door(path, HOW)
    assert len(found.refusal) <= MOST_WORDS
    assert "\n" not in found.refusal, found.refusal
    for row in found.rows:
        json.dumps(row, ensure_ascii=False, default=str).encode()  # no half of a surrogate pair stays


def from_a_server(content: bytes, kind: str) -> None:
    with in_time():
        headers = httpx.Headers({"content-type": kind})
        try:
            reply = replies.read(headers, content, str)
            replies.usage(reply)
            replies.error_of(reply)
            said = replies.content(reply, str, content)
        except replies.NotThis:
            return
        _final(said)


def _final(said: replies.Said) -> None:
    found = final(Answer(said.text, said.finish_reason, 1, reasoning=said.reasoning))
    assert (found.text is None) == bool(found.reason)
    assert "\n" not in found.reason


def in_a_text(texts: Sequence[str]) -> None:
    """Redaction and the judge take every text."""
    with in_time():
        assert len(REDACTOR.texts(texts)) == len(texts)
        for text in texts:
            normalise.judge(text, texts)


REDACTOR = Redactor(SETTINGS.queries)
TEXTS = st.lists(SAID, min_size=1, max_size=4)
KINDS = st.sampled_from(["application/json", "text/plain", "text/html; charset=x", ""])
NAMED: Mapping[str, Door] = {door.name: door for door in DOORS}


@contextmanager
def in_time() -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"not done after {LONGEST} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LONGEST)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def in_bounds() -> Iterator[None]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < MOST_MEMORY, f"{grown / 2**20:.0f} MiB more than before"
