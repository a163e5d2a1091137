"""Runs DAGs of this project to their end in this process, without a scheduler: what `airflow dags test` does.

    python scripts/run_dag.py collect_annotation_batch --conf '{"until": "2026-09-15T00:00:00Z"}'
    python scripts/run_dag.py --serve

A run is a real one: its tasks are the DAG's own, it stands in Airflow's database and shows in the UI of `make up`.
Exit status 0 when the run succeeded, 1 when a task failed or when the run would wait for a person.

With --serve it runs what its standard input asks for, a JSON object a line: dag_id, conf, returned (as --returned) and
log, the file that the run writes to. It answers with a line each, the exit status of that run. Airflow, torch and
MLflow are imported once, which is most of the time of a run that finds everything done. When whoever asks is gone in
the middle of a run, the run ends, with everything that it started.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_env import airflow_environment, demo_environment, make_database

from rerankops import lifeline

PROJECT = Path(__file__).resolve().parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("dag_id", nargs="?")
    what.add_argument("--serve", action="store_true", help="run what standard input asks for")
    parser.add_argument("--conf", type=json.loads, default={}, help="the run's parameters, as JSON")
    parser.add_argument("--root", type=Path, default=PROJECT, help="where .rerankops is")
    parser.add_argument("--returned", type=Path, help="write what each task returned here, as JSON by task id")
    asked = parser.parse_args()
    chosen = {key: value for key, value in os.environ.items() if key.startswith("RERANKOPS")}
    environment = airflow_environment(
        asked.root, dags=PROJECT / "dags", plugins=PROJECT / "plugins", logging_level="WARNING"
    )
    os.environ.update(environment | demo_environment(asked.root) | chosen)
    sys.path.insert(0, str(PROJECT / "dags"))  # as the bundle of a scheduler has it
    if asked.serve:
        serve(asked.root)
        return 0
    return run(asked.dag_id, asked.conf, asked.root, asked.returned)


def run(dag_id: str, conf: Mapping[str, Any], root: Path, returned: Path | None) -> int:
    """The exit status. root: where .rerankops is. returned: where to write what each task returned."""
    make_database(root, os.environ)
    dag = find(dag_id)
    refuse_to_wait(dag)
    finished = dag.test(run_conf=conf)
    if returned is not None:
        values = {task.task_id: task.xcom_pull(task.task_id) for task in finished.get_task_instances()}
        returned.write_text(json.dumps(values, default=str))
    return 0 if finished.state == "success" else 1


def serve(root: Path) -> None:
    """Until standard input ends. What a run starts or prints has nothing to do with the requests and the answers."""
    busy, asking = threading.Event(), os.dup(0)
    lifeline.end_group_with_stdin(busy.is_set, asking)
    with os.fdopen(asking) as requests, os.fdopen(os.dup(1), "w", buffering=1) as answers:
        redirect(Path(os.devnull), os.O_RDONLY, 0)
        for line in requests:
            asked = json.loads(line)
            busy.set()
            redirect(Path(asked["log"]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 1, 2)
            try:
                status = run(asked["dag_id"], asked["conf"], root, Path(asked["returned"]))
            except SystemExit as refused:
                print(refused, file=sys.stderr)
                status = 1
            except Exception:  # noqa: BLE001 - it belongs to this run, as an exit of its process would
                traceback.print_exc()
                status = 1
            sys.stdout.flush()
            sys.stderr.flush()
            busy.clear()
            print(status, file=answers)


def redirect(path: Path, flags: int, *descriptors: int) -> None:
    """Makes the process's descriptors read from a file or write to it."""
    opened = os.open(path, flags, 0o644)
    for descriptor in descriptors:
        os.dup2(opened, descriptor)
    os.close(opened)


def find(dag_id: str) -> Any:
    """The DAG of the project's file of that name."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(PROJECT / "dags" / f"{dag_id}.py"))
    if bag.import_errors:
        raise SystemExit("\n".join(f"{file}: {error}" for file, error in bag.import_errors.items()))
    if dag_id not in bag.dags:
        raise SystemExit(f"no DAG {dag_id!r} in {PROJECT / 'dags'}")
    return bag.dags[dag_id]


def refuse_to_wait(dag: Any) -> None:
    """Without a scheduler nothing goes on with a person's answer, and `dag.test()` would wait for ever."""
    from airflow.providers.standard.operators.hitl import HITLOperator

    from rerankops import config

    asking = [task.task_id for task in dag.tasks if isinstance(task, HITLOperator)]
    if asking and config.load().promotion.approval == "human":
        raise SystemExit(
            f"{dag.dag_id} was not run: promotion.approval is human, so its task {asking[0]!r} waits for somebody "
            f"to answer in Airflow's UI, which nobody can here. Start the stack (make up) and trigger {dag.dag_id} "
            "there, or set RERANKOPS__PROMOTION__APPROVAL=none"
        )


if __name__ == "__main__":
    sys.exit(main())
