"""A decision as a run in MLflow, and its ranker as a model version. Begun again, it goes on where it stopped.

The version is made last, in one request with all its tags, when everything that it stands for is in the store: a
version that exists is whole, and its decision can be read from its tags.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rerankops.promotion.tracking import Absent, Taken, Tracking
from rerankops.records import PromotionDecision

KEY = "rerankops.key"
RANKER = "rerankops.ranker"
DECISION = "rerankops.decision"
DIGEST = "rerankops.digest"
"""Tag of a version: of its ranker's files alone, see promotion.flavour.digest."""
FILES = "rerankops.files"
"""Tag of a run and of its version: of every file of the version, see promotion.version_files."""
DOCUMENTS = "rerankops.documents"
"""Tag of a version: SHA-256 of what was logged with its decision, by name, as JSON."""
SYSTEM = "rerankops.system"
MEASURED = "rerankops.measured"
LINEAGE = {"judgment": "judgments", "gold": "gold_questions", "index": "indexes", "settings": "plans"}
"""Tags `rerankops.NAME` of a version and the kind of artefact each names: what a ranker came from, in four addresses.
Every artefact behind it has a tag `lineage.KIND`. A plan holds all settings of its retraining."""
MODEL = "model"
"""Where in a run's artefacts the version lies."""
_PARAMS_A_BATCH = 100  # MLflow takes no more at once
_LONGEST_NAME = 240  # of a metric or parameter; MLflow takes 250
_SMALL = 1 << 20
"""Bytes; files below it are stored again, larger ones of the same size are taken as they are."""


@dataclass(frozen=True)
class Record:
    """What `Registry.record` was given, in one piece."""

    decision: PromotionDecision
    ladder: Mapping[str, Any]
    params: Mapping[str, Any]
    report_html: str
    ranker_dir: Path | None
    ranker_address: str | None
    lineage: Mapping[str, str]
    key: str

    def tags(self) -> dict[str, str]:
        """Of the run and of the version."""
        four = {f"rerankops.{name}": self.lineage[kind] for name, kind in LINEAGE.items() if kind in self.lineage}
        return (
            {f"lineage.{kind}": address for kind, address in self.lineage.items()}
            | four
            | {
                KEY: self.key,
                DECISION: "passed" if self.decision.promote else "refused",
                SYSTEM: self.decision.system or "",
            }
        )

    def documents(self) -> dict[str, bytes]:
        """What is logged with the decision, by name."""
        texts = {
            "report.html": self.report_html,
            "decision.json": json.dumps(asdict(self.decision), ensure_ascii=False, indent=2),
            "ladder.json": json.dumps(self.ladder, ensure_ascii=False, indent=2),
        }
        return {name: text.encode() for name, text in texts.items()}


def measured(record: Record) -> dict[str, float]:
    """The first figures of the promoted system's row, for lists; empty when nobody is promoted."""
    names = ("n", "accuracy", "hit@1", "mrr@10", "ndcg@10", "milliseconds_per_query")
    rows = {row["name"]: row for row in record.ladder.get("systems", ())}
    row = rows.get(record.decision.system or "", {})
    return {name: round(float(row[name]), 6) for name in names if row.get(name) is not None}


def find_run(tracking: Tracking, experiment_id: str, key: str) -> Any:
    """The run of a decision, None before it was begun. Of several, which a request that was answered too late and sent
    again leaves behind, it is always the same one."""
    found = tracking.search_runs([experiment_id], f"tags.`{KEY}` = '{key}'", max_results=100)
    return min(
        found, key=lambda run: (run.info.status != "FINISHED", run.info.start_time, run.info.run_id), default=None
    )


def start(tracking: Tracking, experiment_id: str, record: Record) -> Any:
    """A new run for a decision."""
    name = f"promote {record.decision.system}" if record.decision.promote else "not promoted"
    tracking.create_run(experiment_id, tags=record.tags(), run_name=name)
    run = find_run(tracking, experiment_id, record.key)
    if run is None:
        raise tracking.garbled(f"the run of {record.key}")
    return run


def fill(tracking: Tracking, run_id: str, record: Record) -> None:
    """Parameters, metrics, data sets, files, and the model when there is a ranker; then the run is finished."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

    now = int(datetime.now(UTC).timestamp() * 1000)
    tracking.log_batch(run_id, metrics=[Metric(name, value, now, 0) for name, value in metrics(record.ladder)])
    parameters = [Param(name, value) for name, value in params(record.params)]
    for first in range(0, len(parameters), _PARAMS_A_BATCH):
        tracking.log_batch(run_id, params=parameters[first : first + _PARAMS_A_BATCH])
    datasets = [
        DatasetInput(
            Dataset(name=name, digest=address.rpartition("/")[2][:36], source_type="rerankops", source=address),
            [InputTag("mlflow.data.context", name)],
        )
        for name, address in record.lineage.items()
        if address
    ]
    if datasets:
        tracking.log_inputs(run_id, datasets)
    with tempfile.TemporaryDirectory() as scratch, tracking.transfer():
        for name, content in record.documents().items():
            Path(scratch, name).write_bytes(content)
        tracking.log_artifacts(run_id, scratch)
        if record.ranker_dir is not None:
            from rerankops.promotion import flavour, version_files

            model = Path(scratch, MODEL)
            flavour.save(model, record.ranker_dir, metadata=record.tags())
            upload(tracking, run_id, model)
            tracking.set_tag(run_id, FILES, version_files.digest(model))
    tracking.set_terminated(run_id, "FINISHED")


def upload(tracking: Tracking, run_id: str, folder: Path) -> None:
    """Stores a folder under MODEL, less the large files that an earlier attempt stored whole, and looks whether it
    is all there. Raises ServerUnavailable when it is not."""
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    there = stored(tracking, run_id, MODEL)
    for name, size in sizes.items():
        if size < _SMALL or there.get(name) != size:
            place = f"{MODEL}/{name}".rpartition("/")[0]
            tracking.log_artifact(run_id, str(folder / name), place)
    there = stored(tracking, run_id, MODEL)
    lost = sorted(name for name, size in sizes.items() if there.get(name) != size)
    if lost:
        raise tracking.garbled(f"the artefacts of run {run_id}: {lost[0]} is not there whole")


def stored(tracking: Tracking, run_id: str, path: str) -> dict[str, int]:
    """Size in bytes of every file below a path of a run's artefacts, by its name relative to the path."""
    found: dict[str, int] = {}
    waiting = [path]
    while waiting:
        for entry in tracking.list_artifacts(run_id, waiting.pop()):
            if entry.is_dir:
                waiting.append(entry.path)
            else:
                found[entry.path.removeprefix(f"{path}/")] = entry.file_size
    return found


def register(tracking: Tracking, model_name: str, run: Any, tags: Mapping[str, str]) -> str:
    """The version of a finished run, made when there is none. Of several, which a request that was answered too late
    and sent again leaves behind, it is always the first."""
    mine = f"name = '{model_name}' and run_id = '{run.info.run_id}'"
    if not tracking.search_model_versions(mine):
        source = f"{run.info.artifact_uri}/{MODEL}"
        tracking.create_model_version(model_name, source=source, run_id=run.info.run_id, tags=dict(tags))
    found = tracking.search_model_versions(mine)
    if not found:
        raise tracking.garbled(f"the versions of {model_name}")
    return str(min(int(version.version) for version in found))


def experiment_id(tracking: Tracking, name: str, artifact_root: str | Path | None) -> str:
    """Of the experiment, made when there is none."""
    found = tracking.get_experiment_by_name(name)
    if found is None:
        root = artifact_root
        if root is not None and "://" not in str(root):
            root = Path(root).absolute().as_uri()
        try:
            return str(tracking.create_experiment(name, artifact_location=str(root) if root else None))
        except Taken:
            found = tracking.get_experiment_by_name(name)
    if found is None or found.name != name:
        raise tracking.garbled(f"the experiment {name}")
    return str(found.experiment_id)


def model_or_none(tracking: Tracking, name: str) -> Any:
    """The registered model with its tags and aliases, None when there is none."""
    try:
        found = tracking.get_registered_model(name)
    except Absent:
        return None
    if found.name != name:
        raise tracking.garbled(f"the registered model {name}")
    return found


def metrics(ladder: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Every number of a ladder, by a name that MLflow takes."""
    for system in ladder.get("systems", ()):
        for name, value in _numbers(system):
            yield plain(f"{name}.{system['name']}"), value
        for stratum, row in system.get("strata", {}).items():
            for name, value in _numbers(row):
                if name != "n":
                    yield plain(f"{name}.{system['name']}.{stratum}"), value
    for row in ladder.get("comparisons", ()):
        yield plain(f"difference.{row['metric']}.{row['of']}.{row['against']}"), float(row["difference"])
        yield plain(f"p_value.{row['metric']}.{row['of']}.{row['against']}"), float(row["p_value"])
    for stage in ladder.get("stages", ()):
        yield plain(f"seconds.{stage['name']}"), float(stage["seconds"])


def _numbers(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in row.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield name, float(value)


def params(tree: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings, flattened with dots."""
    for name, value in tree.items():
        path = f"{before}.{name}" if before else str(name)
        if isinstance(value, Mapping):
            yield from params(value, path)
        else:
            yield plain(path), str(value)[:6000]


def plain(name: str) -> str:
    """A name that MLflow takes: recall@1 becomes recall_at_1. A slash would be taken for a folder; a name that loses
    more than @ gets a digest, so that two names stay two."""
    wanted = name.replace("@", "_at_")
    taken = re.sub(r"[^\w.\- ]", "_", wanted)[:_LONGEST_NAME]
    return taken if taken == wanted else f"{taken}.{hashlib.sha256(name.encode()).hexdigest()[:8]}"
