"""Answers of language models, kept beside the artefacts by the content of their question: nothing is paid for twice,
whichever step asks and however often it is killed."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rerankops.pipeline.context import log
from rerankops.workspace import Workspace, seal, unseal

FOLDER = "answers"
_KEYS = {"model", "text", "finish_reason", "tokens", "cached", "seconds", "answered_at"}
"""Of an entry of an earlier version, which has no check: another key there is damage."""


class StoredAnswers:
    """The cache of an llm.Client: ROOT/answers/KE/KEY.json. An entry is there whole or not at all; one that is not what
    was written is asked for again, and the log names it. Entries are facts, not artefacts: deleting them costs money
    and changes nothing else."""

    def __init__(self, workspace: Workspace) -> None:
        self._root = workspace.root / FOLDER
        self._is_local = workspace.is_local

    def get(self, key: str) -> Mapping[str, Any] | None:
        path = self._root / key[:2] / f"{key}.json"
        try:
            entry, sealed = unseal(path.read_bytes())
            if not sealed and (unknown := set(entry) - _KEYS):
                raise ValueError(f"it has a key {min(unknown)!r}")
            kept = {"text": str(entry["text"]), "finish_reason": str(entry["finish_reason"]), "tokens": entry["tokens"]}
            seconds = entry.get("seconds")  # entries of earlier versions have none
            kept["reasoning"] = str(entry.get("reasoning") or "")
            return {**kept, "seconds": None if seconds is None else float(seconds)}
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            log.warning("answers: %s cannot be read and is asked for again: %s", path, error)
            return None

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        path = self._root / key[:2] / f"{key}.json"
        entry = {**value, "answered_at": datetime.now(UTC).isoformat()}
        data = seal(entry)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not self._is_local:
            path.write_bytes(data)
            return
        temporary = Path(path.path).with_name(f".{key}.{uuid.uuid4().hex}")
        temporary.write_bytes(data)  # not flushed to the disk: an entry that a power cut spoils is asked for again
        temporary.replace(path.path)
