"""An Airflow connection as the one to Elasticsearch, and that the DAGs' context uses it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

from rerankops.elastic import Connection
from rerankops.errors import SettingsError


@pytest.fixture
def plugins(airflow: None, project: Path) -> Iterator[None]:
    """plugins/ on the path, as Airflow has it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(project / "plugins"))
        yield


@pytest.fixture
def connection(plugins: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[str | dict[str, object]], Connection]:
    """What the hook makes of a connection that is stored as a URI or as JSON."""

    def connection(stored: str | dict[str, object]) -> Connection:
        text = stored if isinstance(stored, str) else json.dumps({"conn_type": "elasticsearch", **stored})
        monkeypatch.setenv("AIRFLOW_CONN_SEARCH", text)
        return import_module("rerankops_elasticsearch").ElasticsearchHook("search").get_conn()

    return connection


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ("elasticsearch://es1", Connection(("http://es1:9200",))),
        (
            "elasticsearch://reader:p%40ss%2Fword@es1:9243/https?ca_certs=%2Fcerts%2Fca.pem",
            Connection(("https://es1:9243",), "/certs/ca.pem", None, "reader", "p@ss/word"),
        ),
        (
            "elasticsearch://es1:9243/https?api_key=a2V5OnNlY3JldA%3D%3D",
            Connection(("https://es1:9243",), None, "a2V5OnNlY3JldA=="),
        ),
        (
            "elasticsearch://es1/https?hosts=https%3A%2F%2Fes2%3A9200%2C+https%3A%2F%2Fes3%3A9200",
            Connection(("https://es1:9200", "https://es2:9200", "https://es3:9200")),
        ),
        (
            {"host": "es1", "schema": "https", "port": 9243, "login": "reader", "password": "secret"},
            Connection(("https://es1:9243",), None, None, "reader", "secret"),
        ),
        (
            {"extra": {"hosts": ["https://es2:9200", "https://es3:9200"], "api_key": "key", "ca_certs": "/ca.pem"}},
            Connection(("https://es2:9200", "https://es3:9200"), "/ca.pem", "key"),
        ),
        (
            {"host": "es2", "schema": "https", "extra": json.dumps({"hosts": ["https://es2:9200", "https://es3:1"]})},
            Connection(("https://es2:9200", "https://es3:1")),
        ),
    ],
    ids=["host", "login", "api key", "hosts in a URI", "JSON", "hosts alone", "a host twice"],
)
def test_a_connection_is_ours(
    connection: Callable[..., Connection], stored: str | dict[str, object], expected: Connection
) -> None:
    assert connection(stored) == expected


def test_secrets_are_not_shown(connection: Callable[..., Connection]) -> None:
    shown = repr(connection({"host": "es1", "login": "reader", "password": "secret", "extra": {"api_key": "key==="}}))
    assert "reader" in shown
    assert "secret" not in shown
    assert "key===" not in shown


@pytest.mark.parametrize("stored", [{"login": "reader"}, {"schema": "https", "port": 9243}, {"extra": {"hosts": []}}])
def test_a_connection_without_a_host_is_named(connection: Callable[..., Connection], stored: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=r"^Airflow connection 'search' names no host$"):
        connection(stored)


def test_the_context_of_the_dags_has_the_connection_that_the_setting_names(
    plugins: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RERANKOPS__WORKSPACE__ROOT", str(tmp_path))
    monkeypatch.setenv("RERANKOPS__ELASTICSEARCH__HOSTS", "[http://configured:9200]")
    monkeypatch.setenv("AIRFLOW_CONN_SEARCH", "elasticsearch://reader:secret@es1:9243/http")
    context = import_module("dag_defaults").context
    with context().elasticsearch() as cluster:
        assert cluster.connection.hosts == ("http://configured:9200",)
    monkeypatch.setenv("RERANKOPS__ELASTICSEARCH__AIRFLOW_CONNECTION", "search")
    with context().elasticsearch() as cluster:
        assert cluster.connection == Connection(("http://es1:9243",), None, None, "reader", "secret")
        [node] = cluster.client.transport.node_pool.all()
        assert (node.scheme, node.host, node.port) == ("http", "es1", 9243)


def test_a_connection_that_is_not_stored_is_airflows_error(plugins: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk.exceptions import AirflowNotFoundException

    hook = import_module("rerankops_elasticsearch").ElasticsearchHook("nowhere")
    with pytest.raises(AirflowNotFoundException, match="nowhere"):
        hook.get_conn()
