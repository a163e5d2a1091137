"""scripts/local_label_studio.py without a server: what it refuses, and what it says."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from label_studio_server import script


def test_a_busy_port_is_refused_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    local = script()
    monkeypatch.setattr(local, "install", lambda: local.Home(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert local.main(["start", "--root", str(tmp_path), "--port", str(port)]) == 1
    assert f"port {port} on 127.0.0.1 is in use: choose another --port" in capsys.readouterr().err
    assert not (tmp_path / "label-studio" / "state.json").exists()


def test_a_state_file_of_somebody_else_is_named_and_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "label-studio" / "state.json"
    state.parent.mkdir()
    state.write_text("[]")
    assert script().main(["stop", "--root", str(tmp_path)]) == 1
    assert f"{state} is not a state file of this program" in capsys.readouterr().err
    assert state.read_text() == "[]"


def test_nothing_to_stop_and_nothing_to_see(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert script().main(["stop", "--root", str(tmp_path)]) == 0
    assert script().main(["status", "--root", str(tmp_path)]) == 1
    assert capsys.readouterr().out == "Label Studio is not running.\n" * 2


def test_credentials_are_made_once_and_are_their_owners_alone(tmp_path: Path) -> None:
    server = script().Server(tmp_path, 8090)
    known = server.credentials
    assert server.credentials == known
    assert len(known["legacy_token"]) == 40
    assert (tmp_path / "credentials.json").stat().st_mode & 0o777 == 0o600


def test_the_lock_file_names_the_version(tmp_path: Path) -> None:
    local = script()
    assert local._version(local.LOCK).count(".") == 2
    (tmp_path / "lock").write_text("label-studio-sdk==1.0\n")
    with pytest.raises(local.LabelStudioError, match="names no label-studio"):
        local._version(tmp_path / "lock")
