"""An Airflow connection as the one to Label Studio, and that the DAGs' context has it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

from rerankops.annotation.label_studio import Connection
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
        text = stored if isinstance(stored, str) else json.dumps({"conn_type": "label_studio", **stored})
        monkeypatch.setenv("AIRFLOW_CONN_LABELS", text)
        return import_module("rerankops_label_studio").LabelStudioHook("labels").get_conn()

    return connection


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ("label-studio://:tok%2Fen@labels:8443/https", Connection("https://labels:8443", "tok/en")),
        ({"host": "labels", "password": "token"}, Connection("http://labels", "token")),
        (
            {"host": "labels", "schema": "https", "extra": {"token": "t", "path": "/ls/", "ca_certs": "/ca.pem"}},
            Connection("https://labels/ls", "t", "/ca.pem"),
        ),
    ],
    ids=["URI", "JSON", "extra"],
)
def test_a_connection_is_ours(
    connection: Callable[..., Connection], stored: str | dict[str, object], expected: Connection
) -> None:
    assert connection(stored) == expected


@pytest.mark.parametrize(("stored", "lacks"), [({"password": "t"}, "host"), ({"host": "labels"}, "token")])
def test_a_connection_that_lacks_something_is_named(
    connection: Callable[..., Connection], stored: dict[str, object], lacks: str
) -> None:
    with pytest.raises(SettingsError, match=f"^Airflow connection 'labels' has no {lacks}$"):
        connection(stored)


def test_the_context_of_the_dags_has_the_connection_that_the_setting_names(
    plugins: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RERANKOPS__WORKSPACE__ROOT", str(tmp_path))
    monkeypatch.setenv("AIRFLOW_CONN_LABELS", json.dumps({"conn_type": "x", "host": "labels", "password": "token"}))
    context = import_module("dag_defaults").context
    assert context().label_studio is None
    monkeypatch.setenv("RERANKOPS__LABEL_STUDIO__AIRFLOW_CONNECTION", "labels")
    assert context().label_studio == Connection("http://labels", "token")
