"""Runs one DAG of this project to its end in this process, without a scheduler: what `airflow dags test` does, once.

    python scripts/run_dag.py collect_annotation_batch --conf '{"until": "2026-09-15T00:00:00Z"}'

The run is a real one: its tasks are the DAG's own, it stands in Airflow's database and shows in the UI of `make up`.
Exit status 0 when the run succeeded, 1 when a task failed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

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
    if not (airflow_home(asked.root) / "airflow.db").exists():
        subprocess.run(["airflow", "db", "migrate"], check=True, stdout=subprocess.DEVNULL)
    return run(asked.dag_id, asked.conf, asked.returned)


def run(dag_id: str, conf: dict[str, object], returned: Path | None) -> int:
    from airflow.dag_processing.dagbag import DagBag

    sys.path.insert(0, str(PROJECT / "dags"))  # as the bundle of a scheduler has it
    bag = DagBag(dag_folder=str(PROJECT / "dags" / f"{dag_id}.py"))
    if bag.import_errors:
        raise SystemExit("\n".join(f"{file}: {error}" for file, error in bag.import_errors.items()))
    if dag_id not in bag.dags:
        raise SystemExit(f"no DAG {dag_id!r} in {PROJECT / 'dags'}")
    finished = bag.dags[dag_id].test(run_conf=conf)
    if returned is not None:
        values = {task.task_id: task.xcom_pull(task.task_id) for task in finished.get_task_instances()}
        returned.write_text(json.dumps(values, default=str))
    return 0 if finished.state == "success" else 1


if __name__ == "__main__":
    sys.exit(main())
