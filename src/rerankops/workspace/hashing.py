"""SHA-256 of tables and files; a process reads each file once, as long as the file is the same.

A file is the same while its device, inode, size and times of change are. A file that changed less than two seconds ago
is read again each time, because file system clocks tick that slowly (git calls this racily clean).
"""

from __future__ import annotations

import hashlib
import io
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_SETTLED = 2_000_000_000
"""Nanoseconds: the coarsest file system clock in use (FAT)."""
_KNOWN: dict[str, tuple[tuple[int, ...], str]] = {}
"""Path to its state and its hash. An entry is replaced as a whole, so threads may share it."""


def sha256(content: bytes | Path) -> str:
    """Hexadecimal SHA-256 of bytes or of a file. Raises OSError."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_once(path: Path) -> str:
    """Like `sha256`, but does not read again a file that this process has already read and that is the same."""
    before = _state(path)
    known = _KNOWN.get(str(path))
    if known is not None and known[0] == before:
        return known[1]
    found = sha256(path)
    if _state(path) == before and time.time_ns() - max(before[-2:]) > _SETTLED:
        _KNOWN[str(path)] = before, found
    return found


def _state(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def table_hash(table: pa.Table) -> str:
    """Hexadecimal SHA-256 of a table's values, for the address of data from outside. It hashes Parquet, because in
    Arrow the same strings may be in memory in any order."""
    buffer = io.BytesIO()
    pq.write_table(table.combine_chunks(), buffer)
    return hashlib.sha256(buffer.getbuffer()).hexdigest()
