"""What promotion_harness.Nursery forks: jobs of a retraining, told about as they go.

As a program it imports everything and then takes jobs, a line of JSON each, from its standard input; it answers with
the process id of the fork that does it.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PHASES = ("rank", "read", "decide", "report", "record", "register", "move")
"""What a retraining is at: every system ranks the gold candidates; the reader reads; the gate; the page; the run in
MLflow; the model version; the aliases with their audit trail."""
TOLD = {
    "freeze gold candidates": "rank",
    "rank them with every system": "rank",
    "evaluate on gold": "read",
    "decide": "decide",
    "record and promote": "report",
}
"""By what flows.retrain tells."""


IMPORTED = """
    torch transformers sentence_transformers sentence_transformers.cross_encoder polars pyarrow.parquet bm25s
    usearch.index great_expectations jinja2 matplotlib.backends.backend_svg ir_measures scipy.stats scipy.optimize
    sklearn.metrics httpx crowdkit.aggregation
    mlflow mlflow.artifacts mlflow.pyfunc mlflow.store.tracking.sqlalchemy_store
    mlflow.store.model_registry.sqlalchemy_store
    rerankops.pipeline.flows rerankops.evaluation.end_to_end rerankops.evaluation.ladder rerankops.promotion.registry
    rerankops.promotion.gate rerankops.scoring.maxsim rerankops.training.process rerankops.llm promotion_world
"""
"""What the jobs import on their way."""

JOBS: dict[str, Callable[..., Any]] = {}
_announce: Callable[[str], None] = lambda name: None  # noqa: E731 - replaced in every fork


def job(function: Callable[..., Any]) -> Callable[..., Any]:
    JOBS[function.__name__] = function
    return function


def opened(state: str, llm: str | None, registry: Mapping[str, str] | None = None) -> Any:
    from promotion_world import settings

    from rerankops import config
    from rerankops.pipeline.context import Context
    from rerankops.workspace import Workspace

    tree = settings(Path(state), llm, registry)
    return Context(config.load(environ={}, overrides=tree), Workspace(Path(state, "workspace")))


@job
def make(state: str, llm: str | None = None) -> str:
    """The world, a champion by a retraining of its own, and the contenders of two more. Returns the first decision."""
    from promotion_world import FIRST, NEXT, OTHER, World, contenders, prepare

    from rerankops.pipeline import flows

    here, world = opened(state, llm), World()
    prepare(here, Path(state), world)
    contenders(here, Path(state), world, FIRST)
    first = flows.retrain(here, _tell, again=FIRST)
    assert first.promotion["promoted"], here.workspace.read_document(first.decision)["reasons"]
    for again in (NEXT, OTHER):
        contenders(here, Path(state), world, again)
    return first.decision


@job
def retrain(
    state: str,
    again: str,
    llm: str | None = None,
    die: tuple[int, str] | None = None,
    pause: tuple[str, str] | None = None,
    limit: tuple[str, int] | None = None,
) -> dict[str, Any]:
    """flows.retrain, from whatever is there.

    die: the number of a call that writes to MLflow, and `before` or `after`: the process kills itself then. pause: a
    phase and the file that is waited for when it begins. limit: a phase and the bytes that a file may have from then
    on, as if the disk were full.
    """
    from rerankops.pipeline import flows, promotion

    _on_phase(pause, limit)
    calls = watch(die)
    rendering = promotion.render_report

    def render_report(*arguments: Any, **named: Any) -> Any:
        address = rendering(*arguments, **named)
        _announce("record")
        return address

    promotion.render_report = render_report
    here = opened(state, llm)
    done = flows.retrain(here, _tell, again=again)
    return {"plan": done.plan, "decision": done.decision, "promotion": done.promotion, "writes": calls}


@job
def decided(state: str, again: str, llm: str | None = None) -> str:
    """A retraining up to its decision, which is not carried out."""
    from rerankops.pipeline import flows, promotion

    here, made = opened(state, llm), []
    promotion.promote = lambda decision, *, context: made.append(decision) or {}
    flows.retrain(here, _tell, again=again)
    promotion.render_report(made[0], context=here)
    return made[0]


@job
def promote(
    state: str,
    decision: str,
    gate: str | None = None,
    llm: str | None = None,
    registry: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Carries a decision out. gate: the file that is waited for once everything is ready."""
    from rerankops.pipeline import promotion
    from rerankops.pipeline.incumbent import champion

    tell_of("log_param")
    here = opened(state, llm, registry)
    champion(here)  # what takes a second the first time is not what is raced
    _wait_for(gate)
    return promotion.promote(decision, context=here)


@job
def roll_back(
    state: str,
    gate: str | None = None,
    llm: str | None = None,
    registry: Mapping[str, str] | None = None,
    key: str = "",
    die: tuple[int, str] | None = None,
) -> list[str]:
    """Rolls back. gate: as for `promote`, die: as for `retrain`. Returns the calls that wrote to MLflow."""
    from rerankops.pipeline import models
    from rerankops.pipeline.incumbent import champion

    calls = watch(die)
    here = opened(state, llm, registry)
    champion(here)
    _wait_for(gate)
    models.roll_back("users complain", actor="an operator", key=key, context=here)
    return calls


@job
def inspect(state: str, llm: str | None = None, registry: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What the registry holds, by its own interface: every version is fetched, compared with the artefact that it was
    made from, loaded, and asked for a score."""
    from rerankops.pipeline import incumbent
    from rerankops.scoring.cross_encoder import CrossEncoderScorer
    from rerankops.scoring.ranker import Ranker

    here = opened(state, llm, registry)
    book = incumbent.registry(here)
    champion, previous = book.champion(), book.previous()
    versions = {}
    for version in book.versions():
        folder = book.fetch(version.version, Path(state, "fetched", version.version) if registry else None)
        kept = here.workspace.manifest(version.ranker_address).files
        same = all(_same(folder / name, here, version.ranker_address, name) for name in kept)
        loaded = Ranker.load(folder)
        if loaded.cross_encoder is not None:
            CrossEncoderScorer(loaded.cross_encoder, max_length=64, batch_size=2, device="cpu").logits([("a", "b")])
        versions[version.version] = {"ranker": version.ranker_address, "decision": version.decision, "same": same}
    return {
        "champion": champion.version if champion else None,
        "previous": previous.version if previous else None,
        "versions": versions,
        "audit": book.audit(),
        "problems": book.problems(),
    }


@job
def flip(state: str, count: int, seed: int, decision: str = "", llm: str | None = None) -> dict[str, Any]:
    """Flips of single bits, told of as flipped_bytes.Found."""
    import flipped_bytes

    return flipped_bytes.flips(opened(state, llm), count, seed, decision)


@job
def load_gold(state: str, llm: str | None = None) -> str:
    from rerankops.pipeline import corpus

    return corpus.load_gold(context=opened(state, llm))


def _same(path: Path, here: Any, address: str, name: str) -> bool:
    return path.read_bytes() == Path(here.workspace.root.path, "objects", address, name).read_bytes()


@job
def contend(state: str, again: str, llm: str | None = None) -> None:
    """The first half of a retraining, on the gold questions in force."""
    from promotion_world import World, contenders

    contenders(opened(state, llm), Path(state), World(), again)


def _tell(name: str) -> None:
    _announce(TOLD.get(name, name))


def _wait_for(gate: str | None) -> None:
    _announce("ready")
    while gate and not Path(gate).exists():
        pass  # a sleep would wake the two racers milliseconds apart


def _on_phase(pause: tuple[str, str] | None, limit: tuple[str, int] | None) -> None:
    """Waits, or takes room away, when a phase begins. Python ignores SIGXFSZ, so that a write past the limit fails with
    EFBIG, in the middle of a file as on a full disk."""
    global _announce
    announce = _announce

    def heard(name: str) -> None:
        announce(name)
        while pause and name == pause[0] and not Path(pause[1]).exists():
            time.sleep(0.01)
        if limit and name == limit[0]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit[1], resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    _announce = heard


def watch(die: tuple[int, str] | None) -> list[str]:
    """Tells the phase at every call that writes to MLflow, and lists the calls."""
    from mlflow import MlflowClient

    calls: list[str] = []

    def watched(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            calls.append(name)
            number = len(calls) - 1
            _announce(_phase_of(name))
            if die == [number, "before"]:
                os.kill(os.getpid(), signal.SIGKILL)
            result = method(*arguments, **named)
            if die == [number, "after"]:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for name in dir(MlflowClient):
        if name.startswith(("create_", "log_", "set_", "delete_", "update_", "copy_", "link_", "finalize_")):
            setattr(MlflowClient, name, watched(name, getattr(MlflowClient, name)))
    return calls


def tell_of(name: str) -> None:
    """Tells of every call of a method of MLflow's client, by its name. `log_param` writes a move to the ledger."""
    from mlflow import MlflowClient

    method = getattr(MlflowClient, name)

    def call(*arguments: Any, **named: Any) -> Any:
        _announce(name)
        return method(*arguments, **named)

    setattr(MlflowClient, name, call)


def _phase_of(method: str) -> str:
    if "alias" in method or method in {"set_registered_model_tag", "log_param"}:
        return "move"  # registry.succession writes its ledger with log_param
    return "register" if method.endswith(("registered_model", "model_version", "model_version_tag")) else "record"


def _load_everything() -> None:
    """Nothing may start a thread here: threads do not survive a fork."""
    import importlib

    for name in IMPORTED.split():
        importlib.import_module(name)


def _live(told: Mapping[str, Any]) -> None:
    """The life of a fork."""
    global _announce
    os.setsid()
    log = os.open(told["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    pipe = os.open(told["pipe"], os.O_WRONLY)
    _announce = lambda name: os.write(pipe, f"{name} {time.monotonic()}\n".encode()) and None  # noqa: E731
    try:
        text = json.dumps({"value": JOBS[told["job"]](**told["arguments"])})
    except Exception as error:  # noqa: BLE001 - the test is told whatever it is
        traceback.print_exc()
        text = json.dumps({"error": type(error).__name__, "words": str(error)})
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    temporary = Path(told["result"]).with_suffix(".part")
    temporary.write_text(text)
    temporary.replace(told["result"])


def main() -> None:
    _load_everything()
    for line in sys.stdin.buffer:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                _live(json.loads(line))
                status = 0
            finally:
                os._exit(status)
        sys.stdout.buffer.write(f"{pid}\n".encode())
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
