"""The DAGs as Airflow parses them, in an Airflow home that the test run makes and throws away.

Airflow reads its home from the environment once, when it is first imported: nothing under tests/dags may import it
before `dag_bag` has been asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
POOLS = {"default_pool", "gpu", "registry"}


@pytest.fixture(scope="session")
def project() -> Path:
    return PROJECT


@pytest.fixture(scope="session")
def dag_folder() -> Path:
    return PROJECT / "dags"


@pytest.fixture(scope="session")
def airflow_variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What makes an Airflow of this test run's own; nothing of the caller's Airflow is left beside it."""
    home = tmp_path_factory.mktemp("airflow")
    (home / "plugins").mkdir()
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONFIG": str(home / "airflow.cfg"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(home / "plugins"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


@pytest.fixture(scope="module")
def airflow(airflow_variables: dict[str, str], dag_folder: Path) -> Iterator[None]:
    """The environment of the parsing process: the test run's Airflow, and dags/ on the path as a bundle has it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("AIRFLOW", "RERANKOPS"))]:
            patch.delenv(name)
        for name, value in airflow_variables.items():
            patch.setenv(name, value)
        patch.syspath_prepend(str(dag_folder))
        yield


@pytest.fixture(scope="module")
def dag_bag(airflow: None, dag_folder: Path) -> Any:
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=str(dag_folder), known_pools=POOLS)


@pytest.fixture
def find_dag(dag_bag: Any) -> Callable[[str], Any]:
    """A DAG by its id; a broken file is reported as what broke it, not as a missing DAG."""

    def find(dag_id: str) -> Any:
        assert not dag_bag.import_errors, "\n".join(dag_bag.import_errors.values())
        return dag_bag.dags[dag_id]

    return find
