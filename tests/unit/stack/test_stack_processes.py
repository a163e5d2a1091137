"""scripts/processes.py and the refusals of scripts/stack.py, with small real processes and sockets."""

import dataclasses
import json
import socket
import subprocess
import sys
import time

import pytest

SLEEPER = "import time; time.sleep(60)"
PARENT = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {SLEEPER!r}]).pid, flush=True); "
DETACHED = PARENT.replace("]).pid", "], start_new_session=True).pid")


@pytest.fixture
def start():
    started = []

    def one(code):
        child = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(child)
        return child

    yield one
    for child in started:
        child.kill()
        child.wait()


@pytest.mark.parametrize("table", ["_from_proc", "_from_ps"])
def test_a_process_is_found_with_its_start(script, start, table):
    processes = script("processes")
    child = start(SLEEPER)
    time.sleep(0.2)
    first, second = (getattr(processes, table)()[child.pid] for _ in range(2))
    assert first == second
    assert first.session == child.pid


@pytest.mark.parametrize("code", [PARENT, DETACHED])
def test_stopping_a_leader_stops_its_children_also_those_in_a_session_of_their_own(script, start, code):
    processes = script("processes")
    leader = start(code + SLEEPER)
    child = processes.identify(int(leader.stdout.readline()))
    pressed, left = processes.stop([processes.identify(leader.pid)], grace=0.5)
    assert left == set()
    assert child in pressed
    assert not processes.alive(child, processes.process_table())


def test_orphans_of_a_leader_that_died_are_still_its_family(script, start):
    processes = script("processes")
    leader = start(PARENT + SLEEPER)
    child = processes.identify(int(leader.stdout.readline()))
    identity = processes.identify(leader.pid)
    leader.kill()
    leader.wait()
    assert processes.family([identity], processes.process_table()) == {child}
    assert processes.stop([identity], grace=0.3)[1] == set()


def test_a_process_that_ignores_requests_is_killed(script, start):
    processes = script("processes")
    leader = start("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); " + SLEEPER)
    leader.stdout.readline()
    assert processes.stop([processes.identify(leader.pid)], grace=0.3, patience=0.5)[1] == set()
    assert leader.wait() == -9


def test_a_pid_that_another_process_has_now_is_left_alone(script, start):
    processes = script("processes")
    stranger = start(SLEEPER)
    old = dataclasses.replace(processes.identify(stranger.pid), started="another boot/1")
    assert processes.stop([old], grace=0.2) == (set(), set())
    assert stranger.poll() is None


# -- stack.py: what it refuses, before anything starts ----------------------------------------------------------------


@pytest.fixture
def stack(script, monkeypatch):
    for variable in ("RERANKOPS_AIRFLOW_PORT", "RERANKOPS_MLFLOW_PORT"):
        monkeypatch.delenv(variable, raising=False)
    return script("stack")


@pytest.mark.parametrize("port", ["0", "65536", "eighty", "-1"])
def test_a_port_that_is_none_is_refused_by_the_name_of_its_variable(stack, tmp_path, monkeypatch, capsys, port):
    monkeypatch.setenv("RERANKOPS_MLFLOW_PORT", port)
    monkeypatch.setenv("RERANKOPS_AIRFLOW_PORT", "1025")
    monkeypatch.setattr(stack, "is_busy", lambda _port: False)
    assert stack.main(["up", "--root", str(tmp_path)]) == 1
    assert f"RERANKOPS_MLFLOW_PORT must be a port from 1 to 65535; it is {port!r}" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104
def test_a_busy_port_is_refused_by_the_name_of_its_variable_and_nothing_starts(
    stack, tmp_path, monkeypatch, capsys, host
):
    with socket.create_server((host, 0)) as listener:
        port = listener.getsockname()[1]
        monkeypatch.setenv("RERANKOPS_AIRFLOW_PORT", str(port))
        assert stack.main(["up", "--root", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert f"port {port} on 127.0.0.1 is in use" in error
    assert "set RERANKOPS_AIRFLOW_PORT" in error
    assert {path.name for path in (tmp_path / ".rerankops").iterdir()} == {"stack.lock"}


def test_one_port_for_both_is_refused(stack, tmp_path, monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    monkeypatch.setenv("RERANKOPS_AIRFLOW_PORT", port)
    monkeypatch.setenv("RERANKOPS_MLFLOW_PORT", port)
    assert stack.main(["up", "--root", str(tmp_path)]) == 1
    assert "are both" in capsys.readouterr().err


def test_down_and_status_of_nothing_are_harmless(stack, tmp_path, capsys):
    assert stack.main(["down", "--root", str(tmp_path)]) == 0
    assert stack.main(["down", "--root", str(tmp_path)]) == 0
    assert stack.main(["status", "--root", str(tmp_path)]) == 1
    assert capsys.readouterr().out.count("The stack is not running.") == 3


def test_a_state_file_of_something_else_is_an_error_in_words(stack, tmp_path, capsys):
    (tmp_path / ".rerankops").mkdir()
    (tmp_path / ".rerankops" / "stack.json").write_text('{"a": 1}')
    assert stack.main(["down", "--root", str(tmp_path)]) == 1
    assert "is not a state file of this program" in capsys.readouterr().err


def test_after_a_reboot_the_old_state_is_forgotten_and_no_stranger_is_stopped(stack, tmp_path, start, script):
    stranger = start(SLEEPER)
    process = {"pid": stranger.pid, "parent": 1, "session": stranger.pid, "started": "another boot/1"}
    state = tmp_path / ".rerankops" / "stack.json"
    state.parent.mkdir()
    fields = {"airflow_url": "", "mlflow_url": "", "started_at": "2026-01-01T00:00:00+00:00"}
    state.write_text(json.dumps({**fields, "parts": {"mlflow": process}}))
    assert stack.main(["down", "--root", str(tmp_path)]) == 0
    assert not state.exists()
    assert stranger.poll() is None
