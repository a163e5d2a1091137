"""What an artefact is, its inputs, and the hash of each of its files: `manifest.json`.

| format | since | how it is read                                                                                   |
|--------|-------|--------------------------------------------------------------------------------------------------|
| 1      | 0.1   | it has no key `format`; its files are checked, the manifest itself is not                        |
| 2      | 0.2   | sealed: a changed byte of the manifest is noticed too; `place` says where its files are          |

A manifest of a newer format is refused: this version does not know the meaning of its keys.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from rerankops.errors import ArtefactDamaged, FormatTooNew
from rerankops.workspace.sealed import seal, unseal

Address = str
"""`KIND/DIGEST`, for example `judgments/5b1f0c…`; small enough for an XCom or an asset event."""

FORMAT = 2
AGAIN = "delete its folder and run its step again"
"""What to do about a damaged artefact: its inputs still exist."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Manifest:
    """files: name to SHA-256. settings: as JSON, mostly an object. place: the folder of the files, relative to the
    artefact's; "" on a local folder."""

    address: Address
    kind: str
    step: str
    version: int
    rows: int
    files: dict[str, str]
    inputs: tuple[Address, ...]
    settings: Any
    counts: dict[str, float] = field(default_factory=dict)
    created_at: str = ""
    seconds: float = 0.0
    place: str = ""

    def to_json(self) -> bytes:
        return seal({"format": FORMAT, **asdict(self)})

    @classmethod
    def from_json(cls, data: bytes, address: Address, path: object) -> Manifest:
        """Reads a manifest. address: where it was found; path: its file, for messages. Raises ArtefactDamaged,
        FormatTooNew."""
        try:
            tree, sealed = unseal(data)
        except ValueError as error:
            _refuse_newer(data, path)
            raise ArtefactDamaged(f"{path} is no manifest: {error}; {AGAIN}") from error
        version = tree.pop("format", 1)
        if version != (FORMAT if sealed else 1):
            _refuse_newer(data, path)
            raise ArtefactDamaged(f"{path} is no manifest: its format is {version!r}; {AGAIN}")
        names = {one.name for one in fields(cls)} - ({"place"} if not sealed else set())
        if unknown := sorted(set(tree) - names):
            raise ArtefactDamaged(f"{path} is no manifest: it has a key {unknown[0]!r}; {AGAIN}")
        try:
            found = cls(**{**tree, "inputs": tuple(tree["inputs"])})
        except (TypeError, KeyError) as error:
            raise ArtefactDamaged(f"{path} is no manifest: {error}; {AGAIN}") from error
        if not _has_hashes(found.files):
            raise ArtefactDamaged(f"{path} has no SHA-256 of every file, so they cannot be checked; {AGAIN}")
        if found.address != address:
            raise ArtefactDamaged(f"{path} is the manifest of {found.address}; {AGAIN}")
        return found


def _has_hashes(files: object) -> bool:
    return isinstance(files, dict) and all(
        isinstance(value, str) and _SHA256.fullmatch(value) for value in files.values()
    )


def _refuse_newer(data: bytes, path: object) -> None:
    """Raises FormatTooNew when the file states a format that is newer than this one."""
    try:
        version = json.loads(data)["format"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return
    if isinstance(version, int) and version > FORMAT:
        raise FormatTooNew(
            f"{path} has format {version}, this version of rerankops reads up to {FORMAT}: update rerankops (where no "
            f"newer one ever wrote to this workspace, the file is damaged: {AGAIN})"
        )


def digest(value: Any) -> str:
    """Hexadecimal SHA-256 (first 32 characters) of a JSON-able value, independent of key order."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, default=_plain)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def plain(settings: Any) -> Any:
    """Settings as JSON holds them; an empty object for none."""
    return json.loads(json.dumps({"value": settings}, default=_plain))["value"] or {}


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    raise TypeError(f"{type(value).__name__} has no place in an address")
