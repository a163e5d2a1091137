"""scripts/run_dag.py, which runs a DAG without a scheduler, does not wait for a person who cannot answer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run(project: Path, root: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "RERANKOPS"))}
    return subprocess.run(
        [sys.executable, str(project / "scripts" / "run_dag.py"), *arguments, "--root", str(root)],
        env=own | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_run_that_would_wait_for_a_person_is_refused_at_once(project: Path, tmp_path: Path) -> None:
    refused = run(project, tmp_path, "retrain_reranker", RERANKOPS__PROMOTION__APPROVAL="human")
    assert refused.returncode == 1
    last = refused.stderr.strip().splitlines()[-1]
    assert last.startswith("retrain_reranker was not run: promotion.approval is human, so its task 'approve' waits")
    assert "make up" in last
    assert "RERANKOPS__PROMOTION__APPROVAL=none" in last


def test_a_run_that_asks_nobody_is_not(project: Path, tmp_path: Path) -> None:
    """It gets as far as its own first task, which says what is missing in an empty workspace."""
    ran = run(
        project,
        tmp_path,
        "rollback_reranker",
        "--conf",
        '{"reason": "nothing is there"}',
        RERANKOPS__PROMOTION__APPROVAL="human",
        RERANKOPS__WORKSPACE__ROOT=str(tmp_path / "workspace"),
    )
    assert ran.returncode == 1
    assert "has no champion, so there is nothing to roll back" in ran.stdout + ran.stderr
