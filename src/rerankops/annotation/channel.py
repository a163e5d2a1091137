"""How tasks reach people and grades come back. The file channel serves teams without an annotation tool.

What comes back is data from outside. Reading it never fails and never repairs: the bytes are kept as they came, every
value is text, and a line that is no JSON object is listed with its number, so that `expectations.validate` can accept
or quarantine the delivery as a whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Protocol

import polars as pl
import pyarrow as pa
from upath import UPath

from rerankops.errors import InputError
from rerankops.records import AnnotationTask

FIELDS = ("batch_id", "task_id", "annotator_id", "grade", "annotated_at")
"""What one returned line must hold."""
OPTIONAL = ("lead_seconds", "query_text", "passage_title", "passage_text")
"""What it may hold besides: the seconds a grade took, and the texts as the annotator read them. More is ignored."""
SENT = tuple(column for column in AnnotationTask.columns if column not in {"control_grade", "chosen_for"})
"""What people are sent. Whether a task is a control, or why it was chosen, never leaves the system."""
RAW = pa.schema([("line", pa.int64()), *((name, pa.string()) for name in (*FIELDS, *OPTIONAL))])
"""Rows as they came: line number, and the fields as text or null."""

_BATCH_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class Unreadable:
    """A line that is no JSON object, and why."""

    line: int
    words: str


@dataclass(frozen=True)
class Delivery:
    """One file of returned annotations, exactly as it came, or all that a project of an annotation tool holds now.

    batch_id: the one that most rows name, else the file's name without its ending; always safe as a file name.
    rows: RAW, one row a readable line. fields: those of FIELDS and OPTIONAL that at least one line has.
    stream: what it is a state of, safe as a file name; a later delivery of the same stream replaces this one. A file
    never changes: its content is its stream. complete: False while people are still at it: stored, not judged.
    """

    batch_id: str
    source: str
    content: bytes
    sha256: str
    rows: pa.Table
    unreadable: tuple[Unreadable, ...]
    fields: frozenset[str]
    stream: str
    complete: bool = True


Previous = Callable[[str], bytes | None]
"""The content of the last delivery of a stream that was stored; None when there was none."""


class Channel(Protocol):
    """Where tasks go and annotations come from."""

    def send(self, batch_id: str, tasks: pa.Table) -> str:
        """Hands records.AnnotationTask to people, without control grades; sending twice is the same as once.
        Returns where they went."""
        ...

    def pull(self, previous: Previous) -> Iterator[Delivery]:
        """Everything that has come back and is not the last stored of its stream, in a stable order."""
        ...


@dataclass(frozen=True)
class FileChannel:
    """Batches as JSON lines in `outbox`, annotations as JSON lines in `inbox`.

    Each is a folder or an fsspec URI. A returned file holds one whole batch, all its annotators together. Names that
    start with a dot or do not end in .jsonl are ignored: write under such a name, then rename.
    """

    outbox: str | os.PathLike[str]
    inbox: str | os.PathLike[str]

    def send(self, batch_id: str, tasks: pa.Table) -> str:
        """Writes `<outbox>/<batch_id>.jsonl`, at once or not at all."""
        if not _BATCH_ID.fullmatch(batch_id):
            raise InputError(f"batch id {batch_id!r} is no file name; use letters, digits, '.', '_' and '-'")
        text = pl.DataFrame(pl.from_arrow(tasks.select(SENT))).write_ndjson()
        folder = UPath(self.outbox)
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{batch_id}.jsonl"
        if folder.protocol in {"", "file", "local"}:
            temporary = folder / f".{batch_id}.{uuid.uuid4().hex}.tmp"
            try:
                temporary.write_bytes(text.encode())
                os.replace(temporary.path, target.path)  # noqa: PTH105 - UPath.replace is not atomic everywhere
            finally:
                temporary.unlink(missing_ok=True)
        else:
            target.write_bytes(text.encode())  # an object store shows an object when it is whole
        return str(target)

    def pull(self, previous: Previous) -> Iterator[Delivery]:
        """Each `<inbox>/*.jsonl` in the order of their names. A missing inbox holds nothing.

        Raises InputError naming a file that cannot be opened.
        """
        folder = UPath(self.inbox)
        if not folder.is_dir():
            return
        for name in sorted(path.name for path in folder.iterdir() if path.suffix == ".jsonl" and path.is_file()):
            if name.startswith("."):
                continue
            delivery = read(_bytes(folder / name), source=name)
            if previous(delivery.stream) is None:
                yield delivery


def read(content: bytes, *, source: str, stream: str | None = None, complete: bool = True) -> Delivery:
    """A delivery from its bytes: JSON lines in UTF-8, read leniently. source: the file's name, for messages.
    stream: None for a file."""
    lines: list[int] = []
    values: dict[str, list[str | None]] = {name: [] for name in (*FIELDS, *OPTIONAL)}
    unreadable = []
    fields: set[str] = set()
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            unreadable.append(Unreadable(number, f"no JSON ({_shortly(str(error))}): {_excerpt(line)}"))
            continue
        if not isinstance(row, dict):
            unreadable.append(Unreadable(number, f"JSON, but no object: {_excerpt(line)}"))
            continue
        lines.append(number)
        if len(fields) < len(values):
            fields.update(row.keys() & values.keys())
        for name, column in values.items():
            column.append(_text(row.get(name)))
    sha256 = hashlib.sha256(content).hexdigest()
    return Delivery(
        batch_id=_batch_id(values["batch_id"], source),
        source=source,
        content=content,
        sha256=sha256,
        rows=pa.table({"line": lines, **values}, schema=RAW),
        unreadable=tuple(unreadable),
        fields=frozenset(fields),
        stream=f"file-{sha256[:32]}" if stream is None else stream,
        complete=complete,
    )


def _bytes(path: UPath) -> bytes:
    try:
        content: bytes = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    return content


def _text(value: Any) -> str | None:
    """A JSON value as text; null stays null. Half a surrogate pair, legal in JSON alone, is spelled out."""
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def _batch_id(named: list[str | None], source: str) -> str:
    counted = Counter(value for value in named if value)
    usable = [(count, value) for value, count in counted.items() if _BATCH_ID.fullmatch(value)]
    if not usable:
        return PurePosixPath(source).stem
    most = max(count for count, _ in usable)
    return min(value for count, value in usable if count == most)


def _excerpt(line: bytes) -> str:
    return _shortly(repr(line.strip().decode(errors="replace")))


def _shortly(text: str, length: int = 80) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
