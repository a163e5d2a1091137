"""Atomic writes of whole files, scratch folders, and errors of a full disk."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from rerankops.errors import DiskFull, RerankopsError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_LINKS = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK)
_LEFT_OVER = 7 * 24 * 3600.0
"""Seconds after which a scratch folder has no owner: its process was killed."""


@contextlib.contextmanager
def room(what: str) -> Iterator[None]:
    """Turns the different "disk full" errors of Python and the libraries that write files into DiskFull. what: what is
    written, in words."""
    try:
        yield
    except Exception as error:
        words = str(error)
        full = isinstance(error, OSError) and error.errno in _FULL
        full |= any(os.strerror(code) in words for code in _FULL)
        if not full or isinstance(error, RerankopsError):
            raise
        raise DiskFull(
            f"no room is left for {what} ({words[:200]}); nothing was stored; make room and run the step again"
        ) from error


def replace(path: Path, data: bytes) -> None:
    """Replaces the content of a file atomically."""
    with _beside(path, data) as temporary:
        temporary.replace(path)


def create(path: Path, data: bytes) -> None:
    """Like `replace`, for a file that does not exist. Raises FileExistsError."""
    with _beside(path, data) as temporary:
        _link(temporary, path)


@contextlib.contextmanager
def _beside(path: Path, data: bytes) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.write_bytes(data)
        sync(temporary)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _link(source: Path, target: Path) -> None:
    """Gives a file a second name. Unlike a rename, this fails if another process was faster. On a file system without
    hard links (BeeGFS between folders, some FUSE mounts) it copies the file: still exclusive, but not atomic."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with target.open("xb") as copy:
            copy.write(source.read_bytes())
            copy.flush()
            os.fsync(copy.fileno())


@contextlib.contextmanager
def scratch(parent: Path, what: str, *, prefix: str = "") -> Iterator[Path]:
    """An empty folder that only its owner can open, removed afterwards; also removes old folders of killed processes
    beside it. what: its purpose, in words. prefix: of its name, and of the folders that may be swept."""
    folder = parent / f"{prefix}{os.getpid()}-{uuid.uuid4().hex}"
    with room(what):
        parent.mkdir(parents=True, exist_ok=True)
        _sweep(parent, prefix)
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path, prefix: str) -> None:
    """Removes scratch folders that have not changed for a week."""
    before = time.time() - _LEFT_OVER
    for folder in parent.glob(f"{prefix}*"):
        with contextlib.suppress(FileNotFoundError):  # its own process was faster
            if folder.stat().st_mtime < before:
                shutil.rmtree(folder, ignore_errors=True)


def sync(path: Path) -> None:
    """Flushes a file or a folder to disk, so that a rename never outlives its content."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
