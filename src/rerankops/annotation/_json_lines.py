r"""JSON lines in UTF-8, one annotation a line.

There are two ways to read a line, with the same result. Well-formed lines, those that look like a line read before (the
same keys in the same order, plain values), are read by polars, many at a time. Each other line is read on its own by
Python's json, which says what is wrong with it. What is plain is chosen so that the two cannot differ:

- keys are distinct (polars takes the first of two that are the same; a line with two is unreadable);
- numbers are written as Python writes them: `12.0`, `1e3` and `12345678901234567890` are not plain;
- strings hold no half of a surrogate pair, and lines are whole UTF-8.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from rerankops.annotation.deliveries import FIELDS, OPTIONAL, RAW, SNAPSHOT, Lines, Unreadable
from rerankops.reading import shortly

_NAMES = (*FIELDS, *OPTIONAL)
_BOM = b"\xef\xbb\xbf"
_CHUNK = 16 * 2**20
"""Bytes that are read at a time; memory beside content and result is a few times as much."""
_LAYOUTS = 8
"""Orders of keys that a file's lines may have and be read fast; more are read one by one."""
_MOST_KEYS = 40
_SAMPLED = 256
"""Lines of a chunk that no known layout fits and that are looked at for another one."""

_SPACE = r"[ \t\r\n]*"
_STRING = (
    r'"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|'
    r'\\u(?:[0-9a-ce-fA-CE-F][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}))*"'
)
_NUMBER = (
    r"-?(?:[1-9][0-9]{0,14}|[1-9][0-9]{0,8}\.[0-9]{0,5}[1-9]|0\.[0-9]{0,3}[1-9]|0\.[0-9]{0,3}[1-9][0-9]{0,9}[1-9])|0"
)
_VALUE = f"(?:{_STRING}|{_NUMBER}|null|true|false)"
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def read(content: bytes) -> Lines:
    """Every line that holds anything, as a row or as unreadable."""
    tables: list[pa.Table] = []
    unreadable: list[Unreadable] = []
    fields: set[str] = set()
    layouts: list[tuple[str, ...]] = []
    for first_line, lines in _chunks(content):
        rows = _read_chunk(first_line, lines, layouts, unreadable, fields)
        tables.append(rows)
    table = pa.concat_tables([RAW.empty_table(), *tables])
    return Lines(table, tuple(unreadable), frozenset(fields))


def _chunks(content: bytes) -> Iterator[tuple[int, pa.LargeBinaryArray]]:
    """(number of the first line, lines with their ends) of pieces of about _CHUNK bytes, without copying."""
    buffer = pa.py_buffer(content)
    start, number = len(_BOM) if content.startswith(_BOM) else 0, 1
    while start < len(content):
        newline = content.find(b"\n", start + _CHUNK)
        end = len(content) if newline < 0 else newline + 1
        ends = np.flatnonzero(np.frombuffer(content, np.uint8, end - start, start) == 0x0A) + 1
        offsets = np.concatenate([[0], ends, [] if ends.size and ends[-1] == end - start else [end - start]])
        lines = pa.Array.from_buffers(
            pa.large_binary(),
            len(offsets) - 1,
            [None, pa.py_buffer(offsets.astype(np.int64)), buffer.slice(start, end - start)],
        )
        yield number, lines
        start, number = end, number + len(lines)


def _read_chunk(
    first_line: int,
    lines: pa.LargeBinaryArray,
    layouts: list[tuple[str, ...]],
    unreadable: list[Unreadable],
    fields: set[str],
) -> pa.Table:
    """The rows of one chunk; layouts, unreadable and fields are added to."""
    left = np.arange(len(lines))
    parts: list[pl.DataFrame] = []
    try:
        text = lines.cast(pa.large_string())  # checks that it is UTF-8, without copying
    except pa.ArrowInvalid:
        text = None  # some line is not: each is read on its own
    tried = 0
    while text is not None and left.size:
        if tried == len(layouts):
            candidate = _another_layout(lines, left, layouts) if len(layouts) < _LAYOUTS else None
            if candidate is None:
                break
            layouts.append(candidate)
        keys = layouts[tried]
        tried += 1
        whole = left.size == len(lines)
        fitting = pc.match_substring_regex(text if whole else text.take(left), _pattern(keys)).to_numpy(False)
        rows = _plain_rows(lines if whole and fitting.all() else lines.take(pa.array(left[fitting])), keys)
        if rows is not None:
            parts.append(rows.with_columns(line=pl.Series(left[fitting] + first_line)))
            fields.update(name for name in keys if name in _NAMES)
            left = left[~fitting]
    if left.size:
        parts.append(_lenient_rows(first_line, lines, left, unreadable, fields))
    names = RAW.names
    rows = pl.concat([part.select(names) for part in parts]) if parts else pl.DataFrame(schema={"line": pl.Int64})
    if not parts:
        return RAW.empty_table()
    return (rows if len(parts) == 1 else rows.sort("line")).to_arrow().cast(RAW)


def _another_layout(
    lines: pa.LargeBinaryArray, left: np.ndarray[Any, Any], known: Sequence[tuple[str, ...]]
) -> tuple[str, ...] | None:
    """The keys of the first of the lines left that fast reading could do with."""
    for number in left[:_SAMPLED].tolist():
        try:
            pairs = json.loads(lines[number].as_py(), object_pairs_hook=tuple)
        except (ValueError, RecursionError):
            continue
        if not isinstance(pairs, tuple) or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
            continue
        keys = tuple(key for key, _ in pairs)
        flat = all(value is None or isinstance(value, str | int | float) for _, value in pairs)
        if (
            flat
            and set(keys) & set(_NAMES)
            and len(set(keys)) == len(keys)
            and SNAPSHOT not in keys
            and len(keys) <= _MOST_KEYS
            and all(map(_KEY.fullmatch, keys))
            and keys not in known
        ):
            return keys
    return None


def _pattern(keys: Sequence[str]) -> str:
    """A line with exactly these keys in this order and plain values."""
    pairs = f"{_SPACE},{_SPACE}".join(f'"{re.escape(key)}"{_SPACE}:{_SPACE}{_VALUE}' for key in keys)
    return rf"^{_SPACE}\{{{_SPACE}{pairs}{_SPACE}\}}{_SPACE}$"


def _plain_rows(lines: pa.LargeBinaryArray, keys: Sequence[str]) -> pl.DataFrame | None:
    """Lines that fit a pattern, each with its line end except, maybe, the last. None when there are none, or when
    polars does not see them as lines: then they are read one by one."""
    if not len(lines):
        return None
    ours = {name: pl.String for name in keys if name in _NAMES}
    _, offsets, data = lines.buffers()
    at = np.frombuffer(offsets, np.int64)[lines.offset : lines.offset + len(lines) + 1]
    try:
        rows = pl.read_ndjson(data.slice(int(at[0]), int(at[-1] - at[0])).to_pybytes(), schema=ours)
    except pl.exceptions.PolarsError:
        return None
    if rows.height != len(lines):
        return None
    return rows.with_columns(pl.lit(None, pl.String).alias(name) for name in _NAMES if name not in ours)


def _lenient_rows(
    first_line: int,
    lines: pa.LargeBinaryArray,
    left: np.ndarray[Any, Any],
    unreadable: list[Unreadable],
    fields: set[str],
) -> pl.DataFrame:
    """Line by line."""
    numbers: list[int] = []
    values: dict[str, list[str | None]] = {name: [] for name in _NAMES}
    for place in left.tolist():
        line, number = lines[place].as_py().removesuffix(b"\n"), first_line + place
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_each_name_once)
        except (ValueError, RecursionError) as error:
            why = "nested too deep" if isinstance(error, RecursionError) else shortly(str(error))
            unreadable.append(Unreadable(number, f"no JSON ({why}): {_excerpt(line)}"))
            continue
        if not isinstance(row, dict):
            unreadable.append(Unreadable(number, f"JSON, but no object: {_excerpt(line)}"))
            continue
        if number == 1 and SNAPSHOT in row:
            continue
        numbers.append(number)
        fields.update(row.keys() & values.keys())
        for name, column in values.items():
            column.append(_text(row.get(name)))
    schema = {"line": pl.Int64} | dict.fromkeys(_NAMES, pl.String)
    return pl.DataFrame({"line": numbers, **values}, schema=schema)


def _each_name_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Of two values by the same name nobody can say which is meant."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} stands in it twice")
    return found


def _text(value: Any) -> str | None:
    """A JSON value as text; null stays null. Half a surrogate pair, legal in JSON alone, is spelled out."""
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def _excerpt(line: bytes) -> str:
    return shortly(repr(line.strip().decode(errors="replace")))
