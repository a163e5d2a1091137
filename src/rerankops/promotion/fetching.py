"""Reading back what was registered, from wherever MLflow keeps it, and comparing it with the version's tags."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rerankops.errors import ArtefactDamaged, ArtefactMissing, ServerUnavailable
from rerankops.promotion import recording, version_files
from rerankops.promotion.tracking import Absent, Tracking
from rerankops.workspace.hashing import sha256

log = logging.getLogger("rerankops")


def ranker(tracking: Tracking, version: Any, which: str, folder: Path | None) -> Path:
    """The folder of a version's ranker, all files of the version compared. version: MLflow's; which: it is, in words;
    folder: to download into, where the store is no local one.

    Versions of before there was a digest of all files are read by that of their ranker's, and the log says so.
    Raises ArtefactMissing, ArtefactDamaged, ServerUnavailable, ServerRefused.
    """
    from rerankops.promotion import flavour
    from rerankops.scoring.ranker import FILE

    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    try:
        path = tracking.download(version.source, folder)
    except (Absent, ServerUnavailable) as error:
        if _is_gone(error):
            raise ArtefactMissing(f"{which}: {version.source} is gone; register its ranker again") from error
        raise
    found: Path = path / flavour.RANKER
    if not (found / FILE).is_file():
        raise ArtefactMissing(f"{which}: {found} is gone; register its ranker again")
    if promised := version.tags.get(recording.FILES):
        version_files.check(path, which, promised)
    else:
        log.warning("%s was registered by an earlier version: of its files only the ranker's are checked", which)
        if flavour.digest(found) != version.tags.get(recording.DIGEST):
            raise ArtefactDamaged(
                f"{which}: the files at {found} are not those that were registered; serve another version"
            )
    return found


def document(tracking: Tracking, run_id: str, name: str, which: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """What was logged with the decision of a version. which: the version, in words; tags: its own.

    Raises ArtefactMissing, ArtefactDamaged, ServerUnavailable, ServerRefused.
    """
    try:
        source = f"{tracking.get_run(run_id).info.artifact_uri}/{name}"
        with tempfile.TemporaryDirectory() as folder:
            data = tracking.download(source, Path(folder)).read_bytes()
    except (Absent, ServerUnavailable) as error:
        if _is_gone(error):
            raise ArtefactMissing(f"{which}: {name} of run {run_id} is gone") from error
        raise
    promised = json.loads(tags.get(recording.DOCUMENTS, "{}")).get(name)
    try:
        if promised not in {None, sha256(data)}:  # None: registered by an earlier version
            raise ValueError("it is not what was logged")
        found: dict[str, Any] = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ArtefactDamaged(
            f"{which}: {source} is damaged ({error}); the workspace has the decision itself: {tags.get(recording.KEY)}"
        ) from error
    return found


def _is_gone(error: Absent | ServerUnavailable) -> bool:
    return isinstance(error, Absent) or type(error.__cause__) in {OSError, FileNotFoundError}
