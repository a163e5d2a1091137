"""What every step works with: the settings and the workspace they name."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import pyarrow as pa

from rerankops import config
from rerankops.config import Settings
from rerankops.errors import SettingsError
from rerankops.privacy.messages import RedactingFilter, clean_error, region_of_messages
from rerankops.records import Record
from rerankops.workspace import Address, Workspace

if TYPE_CHECKING:
    from rerankops.annotation.label_studio import Connection as LabelStudioConnection
    from rerankops.elastic import Cluster, Connection

log = logging.getLogger("rerankops")
log.addFilter(RedactingFilter())
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Context:
    """Settings and workspace of one run."""

    settings: Settings
    workspace: Workspace
    connection: Connection | None = None
    """To Elasticsearch, when it does not come from the settings and the environment but from Airflow."""
    label_studio: LabelStudioConnection | None = None
    """To Label Studio, the same."""

    def elasticsearch(self) -> Cluster:
        """The cluster that the settings name, a context manager. Raises SettingsError when they name none."""
        from rerankops.elastic import Cluster, Connection

        settings = self.settings.elasticsearch
        return Cluster(self.connection or Connection.configured(settings), settings)

    def table(
        self,
        record: Record,
        make: Callable[[], tuple[pa.Table, Mapping[str, float]]],
        *,
        step: str,
        inputs: Sequence[Address],
        settings: Any = None,
    ) -> Address:
        """The address of a derived table; `make` (table, counts) runs only when nothing is stored there yet."""
        workspace = self.workspace
        settings = settings if settings is not None else {}
        address = workspace.address(record.name, step=step, inputs=inputs, settings=settings, version=record.version)
        if workspace.exists(address):
            log.info("%s: unchanged, %s", step, address)
            return address
        started = time.monotonic()
        table, counts = make()
        seconds = time.monotonic() - started
        log.info("%s: %d rows in %.1f s, %s", step, table.num_rows, seconds, dict(counts))
        return workspace.publish(
            record, table, step=step, inputs=inputs, settings=settings, counts=counts, seconds=seconds
        )

    def document(
        self,
        kind: str,
        make: Callable[[], tuple[Mapping[str, Any], Mapping[str, float]]],
        *,
        step: str,
        inputs: Sequence[Address],
        settings: Any = None,
    ) -> Address:
        """Like `table`, for a JSON document."""
        workspace = self.workspace
        settings = settings if settings is not None else {}
        address = workspace.address(kind, step=step, inputs=inputs, settings=settings)
        if workspace.exists(address):
            log.info("%s: unchanged, %s", step, address)
            return address
        started = time.monotonic()
        document, counts = make()
        return workspace.publish_document(
            kind,
            document,
            step=step,
            inputs=inputs,
            settings=settings,
            counts=counts,
            seconds=time.monotonic() - started,
        )

    def with_settings(self, tree: Mapping[str, Any]) -> Context:
        """The same workspace under another, complete settings tree (the one that a plan froze).

        Raises SettingsError naming the settings that are out of range.
        """
        return replace(self, settings=config.validate(tree))

    def local(self, *parts: str) -> Path:
        """A local path beside the artefacts, for what is no artefact: the MLflow store, locks, scratch."""
        if not self.workspace.is_local:
            return Path(".rerankops", *parts).absolute()
        return Path(self.workspace.root.path).parent.joinpath(*parts)


def load(
    overlay: str | Path | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    connection: Connection | None = None,
) -> Context:
    """The context that the environment, an overlay and overrides describe. Raises SettingsError."""
    settings = config.load(overlay, overrides=overrides)
    root = settings.workspace.root
    try:
        return Context(settings, Workspace(root), connection)
    except (ValueError, ImportError) as error:  # fsspec knows no such protocol, or its package is not installed
        raise SettingsError(f"setting workspace.root is {root!r}: {error}") from error


def step(function: Callable[Concatenate[Context, P], R]) -> Callable[..., R]:
    """Marks a step: called with `context=` it uses that one, without it the one that the environment describes.

    What it raises and logs holds no personal data: Airflow and terminals show it, and logs are kept.
    """

    @functools.wraps(function)
    def run(*args: P.args, context: Context | None = None, **kwargs: P.kwargs) -> R:  # type: ignore[valid-type]
        here = context or load()
        with region_of_messages(here.settings.queries.phone_region):
            try:
                return function(here, *args, **kwargs)
            except Exception as error:
                cleaned = clean_error(error)
                if cleaned is error:
                    raise
                raise cleaned from None

    return run
