"""Reading settings: base.yaml, then one overlay, then RERANKOPS__SECTION__KEY, deepest last. No side effects."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from rerankops.config.settings import Settings
from rerankops.errors import SettingsError

PREFIX = "RERANKOPS__"
OVERLAY = "RERANKOPS_CONFIG"
"""Environment variable that names the overlay: a path, or the name of a file in configs/ (`demo`)."""


def config_folder() -> Path:
    """configs/ of the checkout; in an installed wheel, its copy inside the package."""
    package = Path(__file__).resolve().parents[1]
    packaged = package / "configs"
    return packaged if packaged.is_dir() else package.parents[1] / "configs"


def load(
    overlay: str | Path | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """The settings tree.

    overlay: a YAML file or the name of one in configs/; None means what RERANKOPS_CONFIG names, if anything.
    overrides: nested dictionary applied last, for a form's or a command's own parameters.
    Raises SettingsError naming the key, its value and where it came from.
    """
    environ = os.environ if environ is None else environ
    tree = _read(config_folder() / "base.yaml")
    named = overlay or environ.get(OVERLAY)
    if named:
        tree = _merge(tree, _read(_overlay_path(named)))
    tree = _merge(tree, _from_environment(environ))
    tree = _merge(tree, dict(overrides or {}))
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise SettingsError(_explain(error)) from error


def _overlay_path(named: str | Path) -> Path:
    path = Path(named)
    in_folder = config_folder() / f"{named}.yaml"
    if path.suffix not in {".yaml", ".yml"} and in_folder.is_file():
        return in_folder
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"settings file {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise SettingsError(f"settings file {path} must hold sections, found {type(tree).__name__}")
    return tree


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name in sorted(environ):
        if not name.startswith(PREFIX):
            continue
        keys = name[len(PREFIX) :].lower().split("__")
        branch = tree
        for key in keys[:-1]:
            branch = branch.setdefault(key, {})
        try:
            branch[keys[-1]] = yaml.safe_load(environ[name])
        except yaml.YAMLError as error:
            raise SettingsError(f"environment variable {name} is not a YAML value: {environ[name]!r}") from error
    return tree


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return merged


def _explain(error: ValidationError) -> str:
    def one(problem: Mapping[str, Any]) -> str:
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            return f"unknown setting {key!r}; see configs/base.yaml for every setting there is"
        if problem["type"] == "missing":
            return f"setting {key!r} is missing"
        return f"setting {key!r} is {problem['input']!r}: {problem['msg']}"

    return "; ".join(one(problem) for problem in error.errors())
