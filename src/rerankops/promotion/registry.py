"""The registry: every decision is a run in MLflow, every winner a model version, and aliases say which one serves.

| alias        | points at                                         |
|--------------|---------------------------------------------------|
| `champion`   | what production serves                            |
| `previous`   | what it served before; `rollback` swaps the two   |
| `challenger` | the last winner that is not champion yet          |

Promotion is compare-and-set under a file lock: it moves the alias only if the champion still is the one that the
decision was made against. A version holds a ranker's folder (safetensors and JSON, no pickle) as artefacts; serving
fetches the folder and needs MLflow for nothing else. MLflow takes seconds to import, so it is imported on first use.
"""

from __future__ import annotations

import json
import logging
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from filelock import FileLock

from rerankops.errors import ArtefactMissing, PromotionRefused
from rerankops.records import PromotionDecision

CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous", "challenger"

_KEY = "rerankops.key"
_RANKER = "rerankops.ranker"
_AUDIT = "rerankops.audit"
_ARTEFACT = "ranker"
_PARAMS_A_BATCH = 100  # MLflow takes no more at once
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}


@dataclass(frozen=True)
class Version:
    """One registered ranker. ranker_address: its artefact in the workspace; run_id: the run of its decision."""

    version: str
    ranker_address: str
    run_id: str
    tags: dict[str, str]


@dataclass(frozen=True)
class Recorded:
    """Where a decision stands in MLflow. version: None when nobody was promoted."""

    run_id: str
    version: str | None


class Registry:
    """MLflow's tracking and model registry, as far as promotion needs them.

    tracking_uri: `sqlite:////folder/mlflow.db`, or a server's `http://…`. artifact_root: folder or URI for a new
    experiment's artefacts; None leaves it to the server. lock_path: file that serialises writers on one machine; over
    several machines, Airflow's `max_active_runs=1` does.
    """

    def __init__(
        self,
        tracking_uri: str,
        model_name: str,
        experiment: str,
        lock_path: str | Path,
        *,
        artifact_root: str | Path | None = None,
    ) -> None:
        self.tracking_uri = tracking_uri
        self.model_name = model_name
        self.experiment = experiment
        self.lock_path = Path(lock_path)
        self.artifact_root = artifact_root
        self._configure()

    # -- reading ----------------------------------------------------------------------------------------------------

    def champion(self) -> Version | None:
        """What production serves, None before the first promotion."""
        return self._aliased(CHAMPION)

    def previous(self) -> Version | None:
        """What `rollback` would bring back."""
        return self._aliased(PREVIOUS)

    def version(self, number: str) -> Version:
        """Raises ArtefactMissing when it is not registered."""
        return self._version(self._found(number))

    def fetch(self, number: str, folder: Path | None = None) -> Path:
        """The local folder of a version's ranker; downloaded into `folder` when the artefacts are not local."""
        from mlflow.artifacts import download_artifacts

        source = self._found(number).source
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        destination = str(folder) if folder else None
        try:
            path = Path(download_artifacts(artifact_uri=source, dst_path=destination, tracking_uri=self.tracking_uri))
        except Exception as error:
            raise ArtefactMissing(f"version {number} of {self.model_name}: cannot fetch {source} ({error})") from error
        if not path.is_dir():
            raise ArtefactMissing(f"version {number} of {self.model_name}: {source} is gone; register its ranker again")
        return path

    def audit(self) -> list[dict[str, str]]:
        """Who moved an alias, when and why, oldest first."""
        from mlflow.exceptions import MlflowException

        try:
            tags = self._client.get_registered_model(self.model_name).tags
        except MlflowException:
            return []
        return [json.loads(tags[name]) for name in sorted(tags) if name.startswith(f"{_AUDIT}.")]

    # -- writing ----------------------------------------------------------------------------------------------------

    def record(
        self,
        decision: PromotionDecision,
        ladder: Mapping[str, Any],
        *,
        params: Mapping[str, Any],
        report_html: str,
        ranker_dir: Path | None,
        ranker_address: str | None,
        lineage: Mapping[str, str],
        key: str,
    ) -> Recorded:
        """Logs a decision and, when it promotes, registers its ranker as a version. Moves no serving alias.

        key: the decision's address; recording the same key again finds the run and version of the first time.
        params: nested settings, flattened with dots. lineage: names and addresses, for tags and as MLflow datasets.
        ranker_dir: folder of the promoted ranker, required when `decision.promote`.
        Raises ArtefactMissing when it is required and is no folder.
        """
        if decision.promote and (ranker_dir is None or not ranker_dir.is_dir()):
            raise ArtefactMissing(
                f"decision {key} promotes {decision.system}, but its ranker {ranker_dir} is no folder"
            )
        with self._lock():
            run = self._run(key) or self._start(decision, lineage, key)
            if run.info.status != "FINISHED":
                self._log(run.info.run_id, decision, ladder, params, report_html, lineage)
                if decision.promote:
                    self._client.log_artifacts(run.info.run_id, str(ranker_dir), _ARTEFACT)
                self._client.set_terminated(run.info.run_id, "FINISHED")
            version = self._register(run, ranker_address, key) if decision.promote else None
        return Recorded(run.info.run_id, version)

    def promote(self, number: str, expected_champion: str | None, reason: str, *, actor: str) -> Version:
        """Makes a version champion if the champion still is `expected_champion` (None: there is none yet).

        The old champion becomes `previous`. Promoting the champion again does nothing.
        Raises PromotionRefused when the champion is another one by now.
        """
        with self._lock():
            wanted = self.version(number)
            now = self.champion()
            if now is not None and now.version == wanted.version:
                return now
            self._refuse_if_changed(now, expected_champion, f"version {number} was not promoted")
            self._move("promote", wanted.version, now.version if now else None, reason, actor)
            challenger = self._aliased(CHALLENGER)
            if challenger is not None and challenger.version == wanted.version:
                self._client.delete_registered_model_alias(self.model_name, CHALLENGER)
            return self.version(number)

    def rollback(self, reason: str, *, actor: str, expected_champion: str | None = None) -> Version:
        """Brings the previous champion back; the one rolled back becomes `previous`, so a second rollback undoes the
        first. expected_champion: give it when the call may be repeated, and a repetition is refused instead.

        Raises PromotionRefused when there is no previous champion, or the champion is not the expected one.
        """
        with self._lock():
            now, before = self.champion(), self.previous()
            if expected_champion is not None:
                self._refuse_if_changed(now, expected_champion, "nothing was rolled back")
            if now is None:
                raise PromotionRefused(f"model {self.model_name!r} has no champion, so there is nothing to roll back")
            if before is None or before.version == now.version:
                raise PromotionRefused(
                    f"model {self.model_name!r} has no champion before version {now.version}; "
                    "promote another version instead"
                )
            self._move("rollback", before.version, now.version, reason, actor)
            return self.version(before.version)

    # -- aliases ----------------------------------------------------------------------------------------------------

    def _aliased(self, alias: str) -> Version | None:
        from mlflow.exceptions import MlflowException

        try:
            return self._version(self._client.get_model_version_by_alias(self.model_name, alias))
        except MlflowException as error:
            if error.error_code in {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"}:
                return None
            raise

    def _move(self, action: str, champion: str, before: str | None, reason: str, actor: str) -> None:
        """`previous` first: if this process dies between the two, the same call can simply be made again."""
        entry = {
            "action": action,
            "champion": champion,
            "before": before or "",
            "reason": reason[:2000],
            "actor": actor,
            "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        if before is not None:
            self._client.set_registered_model_alias(self.model_name, PREVIOUS, before)
        self._client.set_registered_model_alias(self.model_name, CHAMPION, champion)
        note = json.dumps(entry, ensure_ascii=False)
        self._client.set_registered_model_tag(self.model_name, f"{_AUDIT}.{entry['at']}", note)
        self._client.set_model_version_tag(self.model_name, champion, f"{_AUDIT}.{entry['at']}", note)

    def _refuse_if_changed(self, now: Version | None, expected: str | None, consequence: str) -> None:
        if (now.version if now else None) != (str(expected) if expected is not None else None):
            raise PromotionRefused(
                f"the champion of {self.model_name!r} is {f'version {now.version}' if now else 'none'}, expected was "
                f"{f'version {expected}' if expected is not None else 'none'}; {consequence}, evaluate again"
            )

    # -- runs and versions ------------------------------------------------------------------------------------------

    def _run(self, key: str) -> Any:
        found = self._client.search_runs(
            [self._experiment_id()], filter_string=f"tags.`{_KEY}` = '{key}'", max_results=1
        )
        return found[0] if found else None

    def _start(self, decision: PromotionDecision, lineage: Mapping[str, str], key: str) -> Any:
        tags = {f"lineage.{name}": address for name, address in lineage.items()}
        tags |= {
            _KEY: key,
            "rerankops.promote": str(decision.promote).lower(),
            "rerankops.system": decision.system or "",
        }
        name = f"promote {decision.system}" if decision.promote else "not promoted"
        return self._client.create_run(self._experiment_id(), tags=tags, run_name=name)

    def _log(
        self,
        run_id: str,
        decision: PromotionDecision,
        ladder: Mapping[str, Any],
        params: Mapping[str, Any],
        report_html: str,
        lineage: Mapping[str, str],
    ) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

        now = int(datetime.now(UTC).timestamp() * 1000)
        metrics = [Metric(name, value, now, 0) for name, value in _metrics(ladder)]
        parameters = [Param(name, value) for name, value in _params(params)]
        self._client.log_batch(run_id, metrics=metrics)
        for start in range(0, len(parameters), _PARAMS_A_BATCH):
            self._client.log_batch(run_id, params=parameters[start : start + _PARAMS_A_BATCH])
        datasets = [
            DatasetInput(
                Dataset(name=name, digest=address.rpartition("/")[2][:36], source_type="rerankops", source=address),
                [InputTag("mlflow.data.context", name)],
            )
            for name, address in lineage.items()
            if address
        ]
        if datasets:
            self._client.log_inputs(run_id, datasets)
        with tempfile.TemporaryDirectory() as folder:
            files = {
                "report.html": report_html,
                "decision.json": json.dumps(asdict(decision), ensure_ascii=False, indent=2),
                "ladder.json": json.dumps(ladder, ensure_ascii=False, indent=2),
            }
            for name, content in files.items():
                Path(folder, name).write_text(content, encoding="utf-8")
            self._client.log_artifacts(run_id, folder)

    def _register(self, run: Any, ranker_address: str | None, key: str) -> str:
        from mlflow.exceptions import MlflowException

        try:
            self._client.get_registered_model(self.model_name)
        except MlflowException:
            self._client.create_registered_model(self.model_name, description="Rerankers that passed rerankops' gate.")
        mine = f"name = '{self.model_name}' and run_id = '{run.info.run_id}'"
        found: Sequence[Any] = self._client.search_model_versions(mine)
        if found:
            return str(found[0].version)
        tags = {_KEY: key, _RANKER: ranker_address or ""}
        source = f"{run.info.artifact_uri}/{_ARTEFACT}"
        made = self._client.create_model_version(self.model_name, source=source, run_id=run.info.run_id, tags=tags)
        self._client.set_registered_model_alias(self.model_name, CHALLENGER, str(made.version))
        return str(made.version)

    def _found(self, number: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_model_version(self.model_name, str(number))
        except MlflowException as error:
            raise ArtefactMissing(f"version {number} of model {self.model_name!r} is not registered") from error

    def _version(self, found: Any) -> Version:
        tags = {str(name): str(value) for name, value in found.tags.items()}
        return Version(str(found.version), tags.get(_RANKER, ""), found.run_id or "", tags)

    # -- the connection ---------------------------------------------------------------------------------------------

    @cached_property
    def _client(self) -> Any:
        from mlflow import MlflowClient

        if self.tracking_uri.startswith("sqlite:///"):
            Path(unquote(urlparse(self.tracking_uri).path)[1:]).parent.mkdir(parents=True, exist_ok=True)
        with self._lock():  # two processes must not create the same database at once
            return MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)

    @staticmethod
    def _configure() -> None:
        """No telemetry, progress bars or migration chatter, before MLflow is imported; a user's own setting wins."""
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        for logger in ("mlflow.store.db.utils", "mlflow.tracking", "alembic"):
            logging.getLogger(logger).setLevel(logging.WARNING)

    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self.experiment)
        if found is not None:
            return str(found.experiment_id)
        root = self.artifact_root
        if root is not None and "://" not in str(root):
            root = Path(root).absolute().as_uri()
        return str(self._client.create_experiment(self.experiment, artifact_location=str(root) if root else None))

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self.lock_path.parent.mkdir(parents=True, exist_ok=True)
        with self._file_lock:
            yield

    @cached_property
    def _file_lock(self) -> FileLock:
        return FileLock(self.lock_path)  # one object, so that a holder may take it again


def _metrics(ladder: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for system in ladder.get("systems", ()):
        for name, value in system.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                yield _plain(f"{name}.{system['name']}"), float(value)
        for stratum, row in system.get("strata", {}).items():
            if row.get("accuracy") is not None:
                yield _plain(f"accuracy.{system['name']}.{stratum}"), float(row["accuracy"])
    for row in ladder.get("comparisons", ()):
        yield _plain(f"difference.{row['metric']}.{row['of']}.{row['against']}"), float(row["difference"])
        yield _plain(f"p_value.{row['metric']}.{row['of']}.{row['against']}"), float(row["p_value"])
    for stage in ladder.get("stages", ()):
        yield _plain(f"seconds.{stage['name']}"), float(stage["seconds"])


def _params(tree: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in tree.items():
        path = f"{before}.{name}" if before else str(name)
        if isinstance(value, Mapping):
            yield from _params(value, path)
        else:
            yield _plain(path), str(value)[:6000]


def _plain(name: str) -> str:
    """A name that MLflow takes: recall@1 becomes recall_at_1."""
    return re.sub(r"[^\w.\- /]", "_", name.replace("@", "_at_"))[:250]
