"""scripts/run_dag.py, which runs DAGs without a scheduler: it waits for nobody, and it serves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rerankops.demo.dags import DagFailed, Dags

NO_CHAMPION = "has no champion, so there is nothing to roll back"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a database that Airflow has to make only once."""
    return tmp_path_factory.mktemp("root")


def run(project: Path, root: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "RERANKOPS"))}
    return subprocess.run(
        [sys.executable, str(project / "scripts" / "run_dag.py"), *arguments, "--root", str(root)],
        env=own | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )


def test_a_run_that_would_wait_for_a_person_is_refused_at_once(project: Path, tmp_path: Path) -> None:
    refused = run(project, tmp_path, "retrain_reranker", RERANKOPS__PROMOTION__APPROVAL="human")
    assert refused.returncode == 1
    last = refused.stderr.strip().splitlines()[-1]
    assert last.startswith("retrain_reranker was not run: promotion.approval is human, so its task 'approve' waits")
    assert "make up" in last
    assert "RERANKOPS__PROMOTION__APPROVAL=none" in last


def test_a_run_that_asks_nobody_is_not(project: Path, root: Path) -> None:
    """It gets as far as its own first task, which says what is missing in an empty workspace."""
    ran = run(
        project,
        root,
        "rollback_reranker",
        "--conf",
        '{"reason": "nothing is there"}',
        RERANKOPS__PROMOTION__APPROVAL="human",
        RERANKOPS__WORKSPACE__ROOT=str(root / "workspace"),
    )
    assert ran.returncode == 1
    assert NO_CHAMPION in ran.stdout + ran.stderr


def test_one_process_runs_one_dag_after_another_and_a_new_one_is_started_when_it_dies(root: Path) -> None:
    settings = {"RERANKOPS__WORKSPACE__ROOT": str(root / "workspace")}
    asked = ("rollback_reranker", {"reason": "nothing is there"})
    with Dags(root, root / "logs", settings) as dags:
        with pytest.raises(DagFailed, match=r"^no_such_dag failed: .*no_such_dag"):
            dags.run("no_such_dag")
        with pytest.raises(DagFailed, match=NO_CHAMPION):
            dags.run(*asked)
        served = dags._process
        assert served is not None
        served.kill()
        with pytest.raises(DagFailed, match=r"^rollback_reranker failed: .*; its log is .*rollback_reranker\.log$"):
            dags.run(*asked)
        with pytest.raises(DagFailed, match=NO_CHAMPION):
            dags.run(*asked)
        second = dags._process
        assert second is not None
    assert [served.poll(), second.poll()] == [-9, 0]
