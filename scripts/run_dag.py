"""Runs one DAG of this project to its end in this process, without a scheduler: what `airflow dags test` does, once.

    python scripts/run_dag.py collect_annotation_batch --conf '{"until": "2026-09-15T00:00:00Z"}'

The run is a real one: its tasks are the DAG's own, it stands in Airflow's database and shows in the UI of `make up`.
Exit status 0 when the run succeeded, 1 when a task failed or when the run would wait for a person.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from airflow_env import airflow_environment, airflow_home, demo_environment

PROJECT = Path(__file__).resolve().parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dag_id")
    parser.add_argument("--conf", type=json.loads, default={}, help="the run's parameters, as JSON")
    parser.add_argument("--root", type=Path, default=PROJECT, help="where .rerankops is")
    parser.add_argument("--returned", type=Path, help="write what each task returned here, as JSON by task id")
    asked = parser.parse_args()
    chosen = {key: value for key, value in os.environ.items() if key.startswith("RERANKOPS")}
    environment = airflow_environment(
        asked.root, dags=PROJECT / "dags", plugins=PROJECT / "plugins", logging_level="WARNING"
    )
    os.environ.update(environment | demo_environment(asked.root) | chosen)
    fresh = not (airflow_home(asked.root) / "airflow.db").exists()
    dag = find(asked.dag_id)
    refuse_to_wait(dag)
    if fresh:
        subprocess.run(["airflow", "db", "migrate"], check=True, stdout=subprocess.DEVNULL)
    finished = dag.test(run_conf=asked.conf)
    if asked.returned is not None:
        values = {task.task_id: task.xcom_pull(task.task_id) for task in finished.get_task_instances()}
        asked.returned.write_text(json.dumps(values, default=str))
    return 0 if finished.state == "success" else 1


def find(dag_id: str) -> Any:
    """The DAG of the project's file of that name."""
    from airflow.dag_processing.dagbag import DagBag

    sys.path.insert(0, str(PROJECT / "dags"))  # as the bundle of a scheduler has it
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
