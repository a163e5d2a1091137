"""The demo: the whole loop over the fictional world, through the project's own Airflow DAGs.

The DAGs run to their ends one after another in a process beside this one (demo.dags, Airflow without a scheduler);
between collecting a batch and ingesting it the simulated people do their work. Everything lands under `.rerankops/` of
the checkout, where `make up` shows it. Run again it finds every artefact there and changes nothing.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from rerankops import config, lifeline
from rerankops.config.loading import config_folder
from rerankops.config.settings import Backend
from rerankops.demo import people
from rerankops.demo.dags import Dags
from rerankops.demo.world import World, build
from rerankops.errors import SettingsError
from rerankops.files import as_json_lines, write_whole
from rerankops.pipeline import reporting
from rerankops.pipeline.context import Context
from rerankops.pipeline.flows import Tell
from rerankops.pipeline.incumbent import registry
from rerankops.pipeline.judgments import JUDGMENTS
from rerankops.records import TIMESTAMP, AnnotationTask, QueryEvent
from rerankops.workspace import Address, Workspace

SEED = 20260901
FIRST_DAY = datetime(2026, 9, 1, tzinfo=UTC)
ROUND = timedelta(days=14)
"""The log covers four weeks: a round each for two rounds."""
ROUNDS = 2
_PORT = 9200
"""Where the demo's Elasticsearch listens, unless something else does."""
_PATIENCE = 9.0
"""Seconds for a node to end when its starter is being stopped; it halts itself after eight."""


@dataclass(frozen=True)
class Round:
    """What one round came to. verdicts: outcome and folder of each delivery. promotion: see promotion.promote."""

    batch: Address
    verdicts: list[dict[str, Any]]
    decision: Address
    ladder: dict[str, Any]
    promotion: dict[str, Any]


@dataclass(frozen=True)
class Demo:
    """Where a demo lives. root: the folder that holds (or will hold) `.rerankops`. retrieval: elasticsearch is a real
    node on this machine, started for the demo and stopped after it."""

    root: Path
    size: Literal["full", "small"] = "full"
    retrieval: Backend = "embedded"

    @property
    def state(self) -> Path:
        return self.root / ".rerankops"

    def environment(self) -> dict[str, str]:
        """The settings that tell the DAGs' tasks where the demo's world is; also written to `.rerankops/demo.env`."""
        world = self.state / "demo"
        return (
            self._retrieval()
            | {
                "RERANKOPS_CONFIG": "demo",
                "RERANKOPS__WORKSPACE__ROOT": str(self.state / "workspace"),
                "RERANKOPS__SOURCES__CORPUS": str(world / "corpus.jsonl"),
                "RERANKOPS__SOURCES__GOLD": str(world / "gold.jsonl"),
                "RERANKOPS__QUERY_LOG__LOCATION": str(world / "query-log"),
                "RERANKOPS__ANNOTATION__OUTBOX": str(self.state / "annotation" / "outbox"),
                "RERANKOPS__ANNOTATION__INBOX": str(self.state / "annotation" / "inbox"),
            }
            | {key: value for key, value in os.environ.items() if key.startswith(config.loading.PREFIX)}
        )

    def _retrieval(self) -> dict[str, str]:
        if self.retrieval == "embedded":
            return {}
        return {
            "RERANKOPS__RETRIEVAL__BACKEND": "elasticsearch",
            "RERANKOPS__ELASTICSEARCH__HOSTS": json.dumps([node_url(self)]),
            "RERANKOPS__ELASTICSEARCH__REPLICAS": "0",
        }

    def dags(self) -> Dags:
        """To run the DAGs on it."""
        return Dags(self.root, self.state / "demo" / "logs", self.environment())

    def context(self) -> Context:
        settings = config.load("demo", environ=self.environment())
        return Context(settings, Workspace(settings.workspace.root))


def run(demo: Demo, *, rounds: int, tell: Tell, dags: Dags | None = None) -> list[Round]:
    """Runs the loop `rounds` times, a batch each. dags: a process that is there already.

    Raises DagFailed, naming the log, when a DAG run fails.
    """
    if not 1 <= rounds <= ROUNDS:
        raise SettingsError(f"--rounds is {rounds}; the demo's log is good for 1 to {ROUNDS}")
    with node(demo, tell) if demo.retrieval == "elasticsearch" else nullcontext():
        tell("write the fictional world: manual, gold questions, query log")
        world = build(SEED, demo.size)
        _write(demo, world)
        with nullcontext(dags) if dags else demo.dags() as running:
            tell("refresh_corpus_index")
            running.run("refresh_corpus_index")
            return [_round(demo, world, number, tell, running) for number in range(rounds)]


@contextmanager
def node(demo: Demo, tell: Tell) -> Iterator[None]:
    """An Elasticsearch node of this demo's own, which ends with this process however that ends; one that runs already
    is used and left running."""
    if _elasticsearch(demo, "status", check=False):
        yield
        return
    tell("start an Elasticsearch node (the first time it is built)")
    watched, held = os.pipe()
    try:
        try:
            _elasticsearch(demo, "start", "--port", str(_port()), "--end-with-stdin", stdin=watched)
        finally:
            os.close(watched)
        yield
    except BaseException:
        os.close(held)
        _await_the_end(demo)  # by itself: a script that stops it would take longer than whoever stops us has patience
        raise
    os.close(held)
    _elasticsearch(demo, "stop")


def _await_the_end(demo: Demo) -> None:
    """Until the node that ends with this process has ended; one that does not is killed."""
    state = _node_state(demo)
    node = state["nodes"][0]["process"] if state else None
    deadline = time.monotonic() + _PATIENCE
    with suppress(ProcessLookupError):
        while node and time.monotonic() < deadline:
            os.kill(node["pid"], 0)
            time.sleep(0.1)
        if node:
            os.kill(node["pid"], signal.SIGKILL)


def _port() -> int:
    """_PORT, or any other when somebody listens there."""
    for wanted in (_PORT, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that a node has just left is free
            probe.bind(("127.0.0.1", wanted))
            return int(probe.getsockname()[1])
    raise SettingsError("no port of 127.0.0.1 is free for Elasticsearch")


def _elasticsearch(demo: Demo, *arguments: str, check: bool = True, stdin: int = subprocess.DEVNULL) -> bool:
    """Whether scripts/local_elasticsearch.py succeeded; with `check`, raises SettingsError when not."""
    script = config_folder().parent / "scripts" / "local_elasticsearch.py"
    command = [sys.executable, str(script), *arguments, "--root", str(demo.state)]
    done = lifeline.run(command, stdin=stdin)
    if done.returncode and check:
        raise SettingsError((done.stderr or done.stdout).strip().splitlines()[-1])
    return done.returncode == 0


def node_url(demo: Demo) -> str:
    """Where the demo's Elasticsearch answers; while it does not run, where it will when it is started again."""
    state = _node_state(demo)
    return str(state["nodes"][0]["url"]) if state else f"http://127.0.0.1:{_PORT}"


def _node_state(demo: Demo) -> dict[str, Any] | None:
    """What scripts/local_elasticsearch.py keeps of the node that it started; None when there is none."""
    try:
        kept: dict[str, Any] = json.loads((demo.state / "elasticsearch" / "state.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return kept


def _round(demo: Demo, world: World, number: int, tell: Tell, dags: Dags) -> Round:
    here, prefix = demo.context(), f"round {number + 1}: " if number else ""
    since, until = FIRST_DAY + number * ROUND, FIRST_DAY + (number + 1) * ROUND
    tell(f"{prefix}collect_annotation_batch")
    sent = dags.run("collect_annotation_batch", {"since": since.isoformat(), "until": until.isoformat()})
    batch = sent["make_annotation_batch"]
    tell(f"{prefix}five simulated annotators label the batch")
    _label(demo, world, here, batch, interrupted=number == 0)
    tell(f"{prefix}ingest_annotations")
    dags.run("ingest_annotations")
    tell(f"{prefix}retrain_reranker")
    retrained = dags.run("retrain_reranker")
    decision = retrained["decide"]
    _, _, evaluation = here.workspace.manifest(decision).inputs
    verdicts = _verdicts(here, batch)
    ladder = reporting.full_ladder(here, evaluation, decision)
    for stage in ladder["stages"]:
        if stage["name"] == "validate_delivery":  # what was refused is in no lineage of a decision
            stage["counts"]["quarantined"] = sum(verdict["outcome"] == "quarantined" for verdict in verdicts)
    return Round(
        batch=batch,
        verdicts=verdicts,
        decision=decision,
        ladder=ladder,
        promotion=retrained["promote"] or retrained["register"],
    )


def champion_version(demo: Demo) -> str | None:
    """The registry's champion after the demo."""
    current = registry(demo.context()).champion()
    return current.version if current else None


def _write(demo: Demo, world: World) -> None:
    folder = demo.state / "demo"
    (folder / "query-log").mkdir(parents=True, exist_ok=True)
    passages = [row | {"metadata": dict(row["metadata"])} for row in world.passages.to_pylist()]
    write_whole(folder / "corpus.jsonl", as_json_lines(passages))
    write_whole(folder / "gold.jsonl", as_json_lines(world.gold.to_pylist()))
    days: dict[str, list[dict[str, Any]]] = {}
    for event in world.events:
        days.setdefault(str(event["issued_at"])[:10], []).append(event)
    for day, events in days.items():
        write_whole(folder / "query-log" / f"{day}.jsonl", as_json_lines(events))
    lines = [f"{key}={value}" for key, value in demo.environment().items()]
    write_whole(demo.state / "demo.env", "\n".join(lines) + "\n")


def _label(demo: Demo, world: World, here: Context, batch: Address, *, interrupted: bool) -> None:
    workspace, judged = here.workspace, here.workspace.ref(JUDGMENTS)
    # Control tasks may ask what was judged in an earlier round: what its users meant must be known too. Of a later one
    # nothing may be known, so that labelling this batch again gives the same annotations.
    own = workspace.lineage(batch)
    behind = own | (workspace.lineage(judged) if judged else {})
    logs = {address: workspace.read(address, QueryEvent) for address, m in behind.items() if m.kind == QueryEvent.name}
    latest = max(pc.max(events["issued_at"]).as_py() for address, events in logs.items() if address in own)
    events = [log.filter(pc.less_equal(log["issued_at"], pa.scalar(latest, TIMESTAMP))) for log in logs.values()]
    annotations = people.label(
        world,
        workspace.read(batch, AnnotationTask),
        pa.concat_tables(events),
        annotators_per_task=here.settings.annotation.annotators_per_task,
        seed=SEED,
    )
    people.deliver(annotations, Path(here.settings.annotation.inbox), interrupted=interrupted)


def _verdicts(here: Context, batch: Address) -> list[dict[str, Any]]:
    found = []
    for name in here.workspace.refs("verdicts"):
        address = here.workspace.require(name, "")
        manifest = here.workspace.manifest(address)
        if batch in manifest.inputs:
            outcome = "accepted" if manifest.counts["accepted"] else "quarantined"
            found.append({"outcome": outcome, "folder": here.workspace.place(address)})
    return sorted(found, key=lambda verdict: verdict["outcome"])
