"""What is started ends with its starter, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rerankops import lifeline

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
CHILD = f"{DEAF}print('up', flush=True); time.sleep(600)"
WATCHING = f"""
import subprocess, sys, time
from rerankops import lifeline
lifeline.GRACE = 0.5
lifeline.end_group_with_stdin()
{DEAF}
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""
STARTER = f"""
import subprocess, sys, time
watching = subprocess.Popen([sys.executable, "-c", {WATCHING!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            text=True, start_new_session=True)
print(watching.pid, watching.stdout.readline(), flush=True)
time.sleep(600)
"""


@pytest.fixture
def starter() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet has."""
    try:
        return ") Z" in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True


def until_gone(pids: list[int], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not all(map(gone, pids)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_group_that_is_deaf_to_signals_ends_when_its_starter_is_gone(
    starter: subprocess.Popen[str], number: signal.Signals
) -> None:
    assert starter.stdout is not None
    pids = [int(word) for word in starter.stdout.readline().split()]
    assert len(pids) == 2
    starter.send_signal(number)
    assert until_gone(pids)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
def test_a_group_is_ended_with_what_is_deaf_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifeline, "GRACE", 0.5)
    code = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {CHILD!r}]).pid, flush=True); "
    with subprocess.Popen(
        [sys.executable, "-c", code + CHILD], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as leader:
        assert leader.stdout is not None
        child = int(leader.stdout.readline())
        lifeline.end_group(leader)
        assert until_gone([leader.pid, child])


def test_a_wait_that_is_interrupted_ends_what_was_waited_for(tmp_path: Path) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 2)
    kept = tmp_path / "pid"
    try:
        with pytest.raises(Interrupted):
            lifeline.run(["sh", "-c", f"echo $$ > {kept}; exec sleep 600"])
    finally:
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(ProcessLookupError):
        os.kill(int(kept.read_text()), 0)


def test_a_command_that_ends_gives_its_status_and_what_it_said() -> None:
    done = lifeline.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
