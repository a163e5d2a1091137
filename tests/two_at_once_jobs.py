"""What two_at_once.Two starts twice: takes jobs, a line of JSON each, from its standard input, and answers each.

A job is a flow of the command line, which runs the steps of a DAG. It answers with the addresses that it came to.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

JOBS: dict[str, Callable[..., Any]] = {}


def job(function: Callable[..., Any]) -> Callable[..., Any]:
    JOBS[function.__name__] = function
    return function


def opened(tree: Mapping[str, Any]) -> Any:
    from rerankops import config
    from rerankops.pipeline.context import Context
    from rerankops.workspace import Workspace

    settings = config.load(environ={}, overrides=tree)
    return Context(settings, Workspace(settings.workspace.root))


def tell(_: str) -> None:
    pass


@job
def refresh(here: Any) -> list[str]:
    """refresh_corpus_index."""
    from rerankops.pipeline import flows

    built = flows.refresh(here, tell)
    return [built, *(here.workspace.require(name, "") for name in ("corpus", "gold", "index"))]


@job
def collect(here: Any, since: str, until: str) -> list[str | None]:
    """collect_annotation_batch."""
    from rerankops.pipeline import flows

    return [flows.collect(here, tell, since=since, until=until)]


@job
def ingest(here: Any) -> list[str | None]:
    """ingest_annotations."""
    from rerankops.pipeline import flows

    flows.ingest(here, tell)
    workspace = here.workspace
    return [workspace.require(name, "") for name in ("judgments", *workspace.refs("verdicts"))]


@job
def retrain(here: Any, folder: str, again: str) -> list[str | None]:
    """retrain_reranker. The cross-encoder is given, not trained; see promotion_world.contenders."""
    from promotion_world import World, contenders

    from rerankops.pipeline import flows

    contenders(here, Path(folder), World(), again)
    done = flows.retrain(here, tell, again=again)
    return [done.plan, done.evaluation, done.decision, done.promotion["version"], str(done.promotion["promoted"])]


@job
def rollback(here: Any, key: str) -> list[str]:
    """rollback_reranker."""
    from rerankops.pipeline import models

    done = models.roll_back("two people at once", key=key, actor="test", context=here)
    return [done["version"]]


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints is no answer
    logging.basicConfig(level=logging.WARNING)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            os.chdir(asked["folder"])
            answer = {"result": JOBS[asked["job"]](opened(asked["settings"]), **asked["arguments"])}
        except Exception:  # noqa: BLE001 - it is told to who asked
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
