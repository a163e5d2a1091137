"""Reading settings: base.yaml, then one overlay, then RERANKOPS__SECTION__KEY, deepest last. No side effects."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from rerankops.config.settings import RENAMED, Settings
from rerankops.errors import SettingsError

PREFIX = "RERANKOPS__"
OVERLAY = "RERANKOPS_CONFIG"
"""Environment variable that names the overlay: a path, or the name of a file in configs/ (`demo`)."""
Layer = tuple[str, Mapping[str, Any]]
"""Where settings came from, in words, and the part of the tree that they set."""


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
    named = overlay or environ.get(OVERLAY)
    paths = [config_folder() / "base.yaml", *([_overlay_path(named)] if named else [])]
    layers: list[Layer] = [(str(path), _read(path)) for path in paths]
    layers += _from_environment(environ)
    layers.append(("parameters", dict(overrides or {})))
    tree: dict[str, Any] = {}
    for origin, layer in layers:
        tree = _merge(tree, layer, origin)
    return validate(tree, layers)


def validate(tree: Mapping[str, Any], layers: Sequence[Layer] = ()) -> Settings:
    """A complete tree as settings. layers: where its parts came from, for the message of SettingsError."""
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise SettingsError(_explain(error, layers or [("parameters", tree)])) from error


def _overlay_path(named: str | Path) -> Path:
    path = Path(named)
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        return path
    in_folder = config_folder() / f"{named}.yaml"
    if not in_folder.is_file():
        names = sorted(file.stem for file in config_folder().glob("*.yaml") if file.stem != "base")
        raise SettingsError(f"there is no settings overlay {str(named)!r}; give a YAML file or one of {names}")
    return in_folder


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


def _from_environment(environ: Mapping[str, str]) -> list[Layer]:
    """One layer a variable, so that an error can name it."""
    layers: list[Layer] = []
    for name in sorted(environ):
        if not name.startswith(PREFIX):
            continue
        try:
            value = yaml.safe_load(environ[name])
        except yaml.YAMLError as error:
            raise SettingsError(f"environment variable {name} is not a YAML value: {environ[name]!r}") from error
        for key in reversed(name[len(PREFIX) :].lower().split("__")):
            value = {key: value}
        layers.append((f"environment variable {name}", value))
    return layers


def _merge(base: dict[str, Any], over: Mapping[str, Any], origin: str, above: str = "") -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, dict):
            if not isinstance(value, Mapping):
                raise SettingsError(f"{above}{key} is a section with settings under it, found {value!r} ({origin})")
            value = _merge(below, value, origin, f"{above}{key}.")
        merged[key] = value
    return merged


def _explain(error: ValidationError, layers: Sequence[Layer]) -> str:
    def one(problem: Mapping[str, Any]) -> str:
        key = ".".join(str(part) for part in problem["loc"])
        origin = _origin(problem["loc"], layers)
        if problem["type"] == "value_error":  # a rule over several settings; its message names them
            return str(problem["ctx"]["error"])
        if problem["type"] == "extra_forbidden":
            instead = RENAMED.get(key, "see configs/base.yaml for every setting there is")
            return f"unknown setting {key!r} ({origin}); {instead}"
        if problem["type"] == "missing":
            return f"setting {key!r} is missing"
        return f"setting {key!r} is {problem['input']!r} ({origin}): {problem['msg']}"

    return "; ".join(one(problem) for problem in error.errors())


def _origin(place: Sequence[str | int], layers: Sequence[Layer]) -> str:
    """The last layer that sets what stands at `place`."""

    def sets(branch: Any) -> bool:
        for part in place:
            if not isinstance(branch, Mapping):
                return True
            if part not in branch:
                return False
            branch = branch[part]
        return True

    return next((origin for origin, tree in reversed(layers) if sets(tree)), layers[0][0])
