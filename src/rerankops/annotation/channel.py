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

from rerankops.annotation.deliveries import (
    BATCH_ID,
    FIELDS,
    OPTIONAL,
    RAW,
    Delivery,
    Unreadable,
    read,
)
from rerankops.config import ReadingSettings
from rerankops.errors import InputError
from rerankops.reading import Listing, Place, Unusable, is_data, listed, shown
from rerankops.records import AnnotationTask
from rerankops.spreadsheets import as_csv, as_workbook

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
"""Columns that a spreadsheet has for people to fill in."""
OutboxFormat = Literal["jsonl", "csv", "xlsx"]

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

    def left_out(self) -> tuple[Unusable, ...]:
        """What lies where annotations come back and is not read, each with why not."""
        ...


@dataclass(frozen=True)
class FileChannel:
    """Batches as files in `outbox`, annotations as files in `inbox`.

    Each is a folder or an fsspec URI. A returned file holds one whole batch, all its annotators together, as any table
    that rerankops.reading takes, whatever `outbox_format` is, or as Label Studio's JSON export. What is not read is
    listed (`left_out`); write under a name that begins with a dot or ends in .tmp or .part, then rename. server: the
    name of the Label Studio server whose exports come back (label_studio.name).
    """

    outbox: str | os.PathLike[str]
    inbox: str | os.PathLike[str]
    outbox_format: OutboxFormat = "jsonl"
    reading: ReadingSettings | None = None
    server: str = "label-studio"

    def send(self, batch_id: str, tasks: pa.Table) -> str:
        """Writes `<outbox>/<batch_id>.jsonl` (or .csv, .xlsx), at once or not at all."""
        check_batch_id(batch_id)
        table = pl.DataFrame(pl.from_arrow(tasks.select(SENT)))
        if self.outbox_format == "jsonl":
            content = table.write_ndjson().encode()
        else:
            written = as_csv if self.outbox_format == "csv" else as_workbook
            filled = table.with_columns(pl.lit("").alias(name) for name in _TO_FILL)
            content = written(filled.columns, filled.iter_rows(named=True))
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
        """Each file of the inbox that promises a table, in the order of their names. A missing inbox holds nothing.

        Raises InputError naming a file that cannot be opened.
        """
        for file in self._listing().files:
            delivery = read(_bytes(file), source=shown(file.name), settings=self.reading, server=self.server)
            if previous(delivery.stream) is None:
                yield delivery

    def left_out(self) -> tuple[Unusable, ...]:
        """The rest of the inbox."""
        return self._listing().left_out

    def _listing(self) -> Listing:
        folder = UPath(self.inbox)
        if not folder.is_dir():
            return Listing((), ())
        found = listed(folder)
        others = [file for file in found.files if not is_data(file.name)]
        why_not = "its name ends like no table's; .jsonl, .json, .csv, .tsv, .txt, .xlsx and .parquet are read"
        more = (Unusable(Place(shown(file)), "left out", why_not) for file in others)
        return Listing(
            tuple(file for file in found.files if file not in others),
            tuple(sorted([*found.left_out, *more], key=lambda one: one.place.file)),
        )


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
