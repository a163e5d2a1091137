"""Which encoder made some vectors: the settings that change them, and a digest of the model's files, which shows when a
name has come to stand for other weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from rerankops.config import EncoderSettings
from rerankops.retrieval import models

WEIGHTS = "weights"
"""The digest's key in a record."""
_READ = (".safetensors", ".json", ".txt", ".model")
"""Weights, configuration, vocabulary: what is read of a model's folder."""
_EXPORTED = frozenset(("onnx", "openvino"))
"""Folders of the same weights in other forms, which a cache may hold or lack."""


def record(settings: EncoderSettings) -> dict[str, object]:
    """What to remember of an encoder: settings.identity() and `weights`, see fingerprint.

    Raises SettingsError or ModelUnavailable, naming `encoder.model`.
    """
    return {**settings.identity(), WEIGHTS: fingerprint(models.resolve(settings.model, setting="encoder.model"))}


def same(said: Mapping[str, Any], settings: EncoderSettings) -> bool:
    """Whether a record says the encoder of the settings. The files decide where both are known, whatever the names are;
    the name where they are not, as in records from before there were digests."""
    now = record(settings)
    if any(said.get(name) != now[name] for name in now if name not in {"model", WEIGHTS}):
        return False
    if said.get(WEIGHTS) and now[WEIGHTS]:
        return bool(said[WEIGHTS] == now[WEIGHTS])
    return bool(said.get("model") == now["model"])


def fingerprint(path: str) -> str | None:
    """SHA-256 (first 32 hexadecimal characters) of the files of a model: a folder, or a hub name whose files are on
    this machine; None when they are not. Read once a process, unless a file changes."""
    folder = Path(path)
    if not folder.is_dir():
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(path, "config.json")
        if not isinstance(found, str):
            return None
        folder = Path(found).parent
    files = sorted(
        file
        for file in folder.rglob("*")
        if file.suffix in _READ and not _EXPORTED & set(file.relative_to(folder).parts) and file.is_file()
    )
    if not any(file.suffix == _READ[0] for file in files):  # a download that has only begun
        return None
    states = [(file, file.stat()) for file in files]
    return _digest(folder, tuple((file, state.st_size, state.st_mtime_ns) for file, state in states))


@cache
def _digest(folder: Path, files: tuple[tuple[Path, int, int], ...]) -> str:
    whole = hashlib.sha256()
    for path, _, _ in files:
        with path.open("rb") as file:
            name = path.relative_to(folder).as_posix()
            whole.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()[:32]
