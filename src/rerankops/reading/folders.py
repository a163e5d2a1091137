"""The files of a source: each one is read, or listed with the reason why not."""

from __future__ import annotations

import errno
import stat
from pathlib import Path
from typing import NamedTuple

from upath import UPath

from rerankops.errors import SettingsError
from rerankops.reading.places import Place, Unusable

_DATA = (
    ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".parquet", ".pq", ".xlsx", ".log", ".dat", ".psv",
)  # fmt: skip


class Listing(NamedTuple):
    """files: the files to read, in the order of names. left_out: what else is there, each with the reason for skipping
    it."""

    files: tuple[UPath, ...]
    left_out: tuple[Unusable, ...]


def files_at(location: str, *, setting: str) -> Listing:
    """The file, or the files of the folder. Raises SettingsError, saying what is there instead."""
    if not location:
        raise SettingsError(f"setting {setting} names nothing: give a folder or a file")
    place = UPath(location)
    try:
        if not place.is_dir():
            if place.is_file():
                return Listing((place,), ())
            raise SettingsError(f"{setting} is {location!r}: no such file or folder")
        found = listed(place)
    except OSError as error:
        raise SettingsError(f"{setting} is {location!r}: {error.strerror or error}") from error
    if not found.files:
        there = "; ".join(map(str, found.left_out)) or "it is empty"
        raise SettingsError(f"{setting} is {location!r}: a folder without a file to read ({there})")
    return found


def listed(folder: UPath) -> Listing:
    """The files of an existing folder, maybe none. Raises OSError."""
    reasons = {file: _why_not(file) for file in sorted(folder.iterdir(), key=lambda file: file.name)}
    return Listing(
        tuple(file for file, reason in reasons.items() if reason is None),
        tuple(
            Unusable(Place(shown(file)), "left out", reason) for file, reason in reasons.items() if reason is not None
        ),
    )


def shown(file: Path | UPath | str) -> str:
    """A file's name as messages and tables may hold it: bytes that are not UTF-8 are spelled out."""
    return str(file).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def is_data(name: str) -> bool:
    """Whether a name promises a table. This does not decide how a file is read, only whether failing to read it is a
    fault: for a README beside a log it is not."""
    return name.lower().removesuffix(".gz").endswith(_DATA)


def _why_not(file: UPath) -> str | None:
    name = file.name
    if name.startswith((".", "~$")):
        return "hidden, or a program's own file; its name begins with . or ~$"
    if name.endswith((".tmp", ".part", ".crdownload", ".swp", "~")):
        return "its name says that it is still being written"
    try:
        if file.is_dir():
            return "a folder; name it in the setting, or move its files here"
        if not _is_local(file):
            return None
        mode = Path(file.path).stat().st_mode
    except OSError as error:
        if error.errno == errno.ENOENT:
            return "a symbolic link to nothing"
        return f"cannot be looked at: {error.strerror or error}"
    return None if stat.S_ISREG(mode) else "no regular file"


def _is_local(file: UPath) -> bool:
    return file.protocol in {"", "file", "local"}
