"""Recognises a file by its first bytes, not by its name, and unpacks compressed files within limits."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from upath import UPath

from rerankops.reading.places import Refused

Kind = Literal["text", "parquet", "workbook"]
_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"
_PARQUET = b"PAR1"
_OTHERS: tuple[tuple[bytes, str, str], ...] = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook, or one with a password", "save it as .xlsx"),
    (b"PK\x05\x06", "an empty zip archive", "send the file itself"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it, or pack it with gzip"),
    (b"BZh", "compressed with bzip2", "unpack it, or pack it with gzip"),
    (b"\xfd7zXZ\x00", "compressed with xz", "unpack it, or pack it with gzip"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "send the file itself"),
    (b"Rar!", "a rar archive", "send the file itself"),
    (b"ARROW1", "an Arrow IPC file", "save it as Parquet"),
    (b"Obj\x01", "an Avro file", "save it as Parquet or JSON lines"),
    (b"ORC", "an ORC file", "save it as Parquet"),
    (b"SQLite format 3\x00", "an SQLite database", "name it as a database, or export the table"),
    (b"%PDF-", "a PDF document", "save the table as CSV or JSON lines"),
    (b"{\\rtf", "a rich text document", "save the table as CSV UTF-8"),
    (b"\x89PNG", "a picture", "save the table as CSV or JSON lines"),
)  # fmt: skip
"""First bytes of files that are not tables: what each one is, and what to do."""
_ENCRYPTED_PARQUET = b"PARE"


class _Bounded(io.RawIOBase):
    """A stream that raises Refused when it holds more than `limit` bytes or breaks off."""

    def __init__(self, stream: Any, limit: int) -> None:
        self._stream, self._limit, self._read = stream, limit, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._stream.read(len(buffer))
        except (OSError, EOFError, zlib.error) as error:
            raise Refused("the file ends early or is damaged", f"cannot be read: {error}; is it complete?") from error
        self._read += len(data)
        if self._read > self._limit:
            raise Refused(
                "the file is too large",
                f"holds more than {self._limit // 2**20} MiB unpacked; split it, or raise reading.max_megabytes",
            )
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def unpacked(source: bytes | Path | UPath, *, megabytes: float) -> Iterator[io.BufferedReader[Any]]:
    """The bytes of a file, with gzip unpacked: at most `megabytes` MiB. A file that is too large or ends early raises
    Refused when reading reaches that point."""
    limit = int(megabytes * 2**20)
    try:
        raw = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    except OSError as error:
        raise Refused("the file cannot be opened", f"cannot be opened: {error.strerror or error}") from error
    with raw:
        stream: io.BufferedReader[Any] = io.BufferedReader(_Bounded(raw, limit))
        if stream.peek(2)[:2] == _GZIP:
            with gzip.GzipFile(fileobj=stream) as packed:
                yield io.BufferedReader(_Bounded(packed, limit))
        else:
            yield stream


def kind_of(stream: io.BufferedReader[Any]) -> Kind:
    """The kind of content in the stream; consumes nothing. Raises Refused, naming the content, when it is not a
    table."""
    head = stream.peek(512)[:512]
    if head.startswith(_PARQUET):
        return "parquet"
    if head.startswith(_ENCRYPTED_PARQUET):
        raise Refused("encrypted Parquet", "is encrypted Parquet; write it without encryption")
    if head.startswith(_ZIP):
        return "workbook"
    for first, words, advice in _OTHERS:
        if head.startswith(first):
            raise Refused(words, f"is {words}; {advice}")
    opening = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if opening.startswith((b"<!doctype html", b"<html", b"<?xml", b"<table")):
        raise Refused("a web page or XML", "is a web page or XML, no table; export it as CSV or JSON lines")
    return "text"


def whole(stream: io.BufferedReader[Any], *, megabytes: float, what: str) -> bytes:
    """The whole stream, read into memory. Raises Refused when it is larger than `megabytes` MiB."""
    limit = int(megabytes * 2**20)
    data = stream.read(limit + 1)
    if len(data) > limit:
        raise Refused(
            f"{what} is too large",
            f"is {what} of more than {megabytes:g} MiB, which is read at once; write it as JSON lines or Parquet, or "
            "raise reading.max_document_megabytes",
        )
    return data


def archive_of(data: bytes, *, megabytes: float) -> zipfile.ZipFile:
    """A zip archive whose parts together fit the limit. Raises Refused when it is damaged or larger."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, struct.error) as error:
        raise Refused("a damaged workbook", f"is a damaged zip or workbook ({error}); is it complete?") from error
    if sum(part.file_size for part in archive.infolist()) > megabytes * 2**20:
        raise Refused(
            "the workbook is too large",
            f"unpacks to more than {megabytes:g} MiB; save it as CSV, or raise reading.max_document_megabytes",
        )
    return archive
