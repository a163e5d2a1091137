"""Answers of language models, kept beside the artefacts by the content of their question: nothing is paid for twice,
whichever step asks and however often it is killed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rerankops.pipeline.context import log
from rerankops.workspace import Workspace

FOLDER = "answers"


class StoredAnswers:
    """The cache of an llm.Client: ROOT/answers/KE/KEY.json. An entry is there whole or not at all; one that cannot be
    read is asked for again. Entries are facts, not artefacts: deleting them costs money and changes nothing else."""

    def __init__(self, workspace: Workspace) -> None:
        self._root = workspace.root / FOLDER
        self._is_local = workspace.is_local

    def get(self, key: str) -> Mapping[str, Any] | None:
        path = self._root / key[:2] / f"{key}.json"
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            kept = {"text": str(entry["text"]), "finish_reason": str(entry["finish_reason"]), "tokens": entry["tokens"]}
            seconds = entry.get("seconds")  # entries of earlier versions have none
            kept["reasoning"] = str(entry.get("reasoning") or "")
            return {**kept, "seconds": None if seconds is None else float(seconds)}
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):
            log.warning("answers: %s cannot be read and is asked for again", path)
            return None

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        path = self._root / key[:2] / f"{key}.json"
        entry = {**value, "answered_at": datetime.now(UTC).isoformat()}
        data = json.dumps(entry, ensure_ascii=True).encode()
        path.parent.mkdir(parents=True, exist_ok=True)
        if not self._is_local:
            path.write_bytes(data)
            return
        temporary = Path(path.path).with_name(f".{key}.{uuid.uuid4().hex}")
        temporary.write_bytes(data)  # not flushed to the disk: an entry that a power cut spoils is asked for again
        temporary.replace(path.path)
