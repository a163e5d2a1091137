"""The files of a version, and how a reader verifies that they are the registered ones, byte for byte.

`files.json` in the version's folder holds the SHA-256 of every other file, including `served.py` and `MLmodel`; the
version's tag `rerankops.files` holds the SHA-256 of `files.json`. A file that is missing, changed or added is an error.
MLflow leaves two things in a folder that do not belong to a version: the name under which it was loaded
(`registered_model_meta`) and compiled Python (`__pycache__`).

The stored files of a ranker are the same on every machine and at any time: two machines that register the same decision
overwrite each other's files with equal ones. MLflow would write the time, a random id and paths of the machine into
`MLmodel`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import yaml

from rerankops.errors import ArtefactDamaged
from rerankops.workspace import seal, unseal
from rerankops.workspace.hashing import sha256

LIST = "files.json"
MODEL = "MLmodel"
_OF_MLFLOW = ("registered_model_meta", "__pycache__")
_FORMAT = "rerankops.files"
"""In the metadata of `MLmodel`: the folder must have a list."""
_ADVICE = "register its ranker again, or serve another version"


def finish(folder: Path) -> None:
    """Makes MLflow's output in `folder` identical for the same ranker, and adds the list."""
    about = yaml.safe_load((folder / MODEL).read_text(encoding="utf-8"))
    about.pop("utc_time_created", None)
    function = about["flavors"]["python_function"]
    for artifact in function["artifacts"].values():
        artifact["uri"] = artifact["path"]
    function["model_code_path"] = Path(function["model_code_path"]).name
    about["metadata"] = {**(about.get("metadata") or {}), _FORMAT: LIST}
    about["model_uuid"] = hashlib.sha256(str(sorted(_hashes(folder, without=(MODEL,)).items())).encode()).hexdigest()[
        :32
    ]
    (folder / MODEL).write_text(yaml.safe_dump(about, allow_unicode=True), encoding="utf-8")
    (folder / LIST).write_bytes(seal({"files": _hashes(folder)}))


def digest(folder: Path) -> str:
    """SHA-256 of the list, for the version's tag."""
    return sha256(folder / LIST)


def check(folder: Path, which: str, promised: str) -> None:
    """Raises ArtefactDamaged, naming the first file that is not as registered. which: the version, in words; promised:
    its tag."""
    if not (folder / LIST).is_file() or sha256(folder / LIST) != promised:
        raise ArtefactDamaged(f"{which}: {folder / LIST} is not the list that was registered; {_ADVICE}")
    check_list(folder, which)


def check_list(folder: Path, which: str, *, alone: bool = True) -> None:
    """Like `check`, when only the list itself is available. alone: nothing else may be in the folder; if False, files
    outside the version's own folders are ignored."""
    try:
        files = unseal((folder / LIST).read_bytes())[0]["files"]
        promised = {str(name): str(value) for name, value in files.items()}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ArtefactDamaged(f"{which}: {folder / LIST} is not the list that was registered; {_ADVICE}") from error
    found = _hashes(folder)
    if not alone:
        ours = {name.partition("/")[0] for name in promised}
        found = {name: value for name, value in found.items() if name.partition("/")[0] in ours}
    for name in sorted(promised.keys() | found.keys()):
        if promised.get(name) != found.get(name):
            how = "is gone" if name not in found else "was not registered" if name not in promised else "was changed"
            raise ArtefactDamaged(
                f"{which}: {folder / name} {how}; the files are not those that were registered; {_ADVICE}"
            )


def check_loaded(folder: Path) -> None:
    """Checks a version that MLflow loads by itself against its list, if `MLmodel` says that there is one. Versions from
    before lists have none. The caller chooses the folder (`dst_path`), so it may hold more. Raises ArtefactDamaged."""
    if (folder / LIST).is_file() or _FORMAT.encode() in (folder / MODEL).read_bytes():
        check_list(folder, "this version", alone=False)


def _hashes(folder: Path, *, without: tuple[str, ...] = ()) -> dict[str, str]:
    names = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name.as_posix(): sha256(path)
        for name, path in names.items()
        if name.as_posix() not in (LIST, *without) and not set(_OF_MLFLOW) & set(name.parts)
    }
