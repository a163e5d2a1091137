"""Processes by identity, not by name: a pid counts only together with the moment its process started."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_PROC = Path("/proc")
_DEATH = 20.0
"""Seconds that what was killed may take to be gone: on a busy machine it has to be given its turn to die."""


@dataclass(frozen=True)
class Process:
    """Equal when pid and start are. started: boot and moment of its start. parent and session may change: an orphan
    gets a new parent. session is that of the leader which started it (without /proc, the process group)."""

    pid: int
    parent: int = field(compare=False)
    session: int = field(compare=False)
    started: str

    @property
    def boot(self) -> str:
        return self.started.partition("/")[0]


def process_table() -> dict[int, Process]:
    """Every live process; zombies are dead."""
    return _from_proc() if (_PROC / "self" / "stat").exists() else _from_ps()


def alive(leader: Process, table: dict[int, Process]) -> bool:
    found = table.get(leader.pid)
    return found is not None and found.started == leader.started


def family(leaders: Iterable[Process], table: dict[int, Process]) -> set[Process]:
    """The leaders, what lives in their sessions (children of a dead leader too), and all descendants of those."""
    sessions = set()
    for leader in leaders:
        found = table.get(leader.pid)
        if found is None or found.started == leader.started:  # else the pid is someone else's now
            sessions.add((leader.pid, leader.boot))
    members = {process for process in table.values() if (process.session, process.boot) in sessions}
    while True:
        pids = {process.pid for process in members}
        more = {process for process in table.values() if process.parent in pids} - members
        if not more:
            return members
        members |= more


def stop(leaders: Iterable[Process], *, grace: float, patience: float = 5.0) -> tuple[set[Process], set[Process]]:
    """Asks the leaders to end (SIGTERM), after `grace` seconds everything of theirs that is left, and kills after
    `patience` more. Returns those that did not end when first asked, and those that are still there at the end."""
    leaders = list(leaders)
    known: set[Process] = set()
    pressed: set[Process] = set()

    def left() -> set[Process]:
        nonlocal known
        table = process_table()
        # A grandchild in a session of its own is no descendant any more once its parent is gone: remember it.
        known = {process for process in known if alive(process, table)} | family(leaders, table)
        return known

    def wait(seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while left():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return True

    _send(left().intersection(leaders), signal.SIGTERM)
    if not wait(grace):
        pressed = set(known)
        _send(known, signal.SIGTERM)
        if not wait(patience):
            _send(known, signal.SIGKILL)
            wait(max(patience, _DEATH))
    return pressed, left()


def identify(pid: int) -> Process:
    """The process that has this pid now. Raises ProcessLookupError."""
    try:
        return process_table()[pid]
    except KeyError:
        raise ProcessLookupError(f"no process has pid {pid}") from None


def _send(processes: Iterable[Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            continue


def _from_proc() -> dict[int, Process]:
    boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    table = {}
    for folder in _PROC.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            text = (folder / "stat").read_text(errors="replace")
        except OSError:  # it ended while we looked
            continue
        state, parent, _group, session, *rest = text[text.rindex(")") + 1 :].split()
        if state not in {"Z", "X"}:
            pid = int(folder.name)
            table[pid] = Process(pid, int(parent), int(session), f"{boot}/{rest[15]}")
    return table


def _from_ps() -> dict[int, Process]:
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,pgid=,stat=,lstart="],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    table = {}
    for line in listing.stdout.splitlines():
        pid, parent, group, state, *started = line.split()
        if not state.startswith("Z"):
            table[int(pid)] = Process(int(pid), int(parent), int(group), f"ps/{' '.join(started)}")
    return table
