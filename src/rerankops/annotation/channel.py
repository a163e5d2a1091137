"""How tasks reach people and grades come back. The file channel serves teams without an annotation tool."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import polars as pl
import pyarrow as pa
from upath import UPath

from rerankops.annotation import _csv
from rerankops.annotation.deliveries import (
    BATCH_ID,
    FIELDS,
    OPTIONAL,
    RAW,
    Delivery,
    Unreadable,
    read,
)
from rerankops.errors import InputError
from rerankops.records import AnnotationTask

__all__ = [
    "FIELDS",
    "OPTIONAL",
    "RAW",
    "SENT",
    "Channel",
    "Delivery",
    "FileChannel",
    "Previous",
    "Unreadable",
    "read",
]

SENT = tuple(column for column in AnnotationTask.columns if column not in {"control_grade", "chosen_for"})
"""What people are sent. Whether a task is a control, or why it was chosen, never leaves the system."""
_TO_FILL = tuple(name for name in FIELDS if name not in SENT)
"""Columns that a CSV file has for people to fill in."""

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
    """Batches as files in `outbox`, annotations as files in `inbox`: JSON lines or CSV.

    Each is a folder or an fsspec URI. A returned file holds one whole batch, all its annotators together; both formats
    are read, whatever `outbox_format` is. Names that start with a dot or do not end in .jsonl or .csv are ignored:
    write under such a name, then rename.
    """

    outbox: str | os.PathLike[str]
    inbox: str | os.PathLike[str]
    outbox_format: Literal["jsonl", "csv"] = "jsonl"

    def send(self, batch_id: str, tasks: pa.Table) -> str:
        """Writes `<outbox>/<batch_id>.jsonl` (or .csv), at once or not at all."""
        check_batch_id(batch_id)
        table = pl.DataFrame(pl.from_arrow(tasks.select(SENT)))
        if self.outbox_format == "csv":
            content = _csv.write(table.with_columns(pl.lit("").alias(name) for name in _TO_FILL))
        else:
            content = table.write_ndjson().encode()
        folder = UPath(self.outbox)
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{batch_id}.{self.outbox_format}"
        if folder.protocol in {"", "file", "local"}:
            temporary = folder / f".{batch_id}.{uuid.uuid4().hex}.tmp"
            try:
                temporary.write_bytes(content)
                os.replace(temporary.path, target.path)  # noqa: PTH105 - UPath.replace is not atomic everywhere
            finally:
                temporary.unlink(missing_ok=True)
        else:
            target.write_bytes(content)  # an object store shows an object when it is whole
        return str(target)

    def pull(self, previous: Previous) -> Iterator[Delivery]:
        """Each `<inbox>/*.jsonl` and `*.csv` in the order of their names. A missing inbox holds nothing.

        Raises InputError naming a file that cannot be opened.
        """
        folder = UPath(self.inbox)
        if not folder.is_dir():
            return
        suffixes = {".jsonl", ".csv"}
        for name in sorted(
            path.name for path in folder.iterdir() if path.suffix.lower() in suffixes and path.is_file()
        ):
            if name.startswith("."):
                continue
            delivery = read(_bytes(folder / name), source=name)
            if previous(delivery.stream) is None:
                yield delivery


def check_batch_id(batch_id: str) -> None:
    """Raises InputError when it cannot be a file's name."""
    if not BATCH_ID.fullmatch(batch_id):
        raise InputError(f"batch id {batch_id!r} is no file name; use letters, digits, '.', '_' and '-'")


def _bytes(path: UPath) -> bytes:
    try:
        content: bytes = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    return content
