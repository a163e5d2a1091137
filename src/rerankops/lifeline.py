"""What is started ends with its starter, however that ends.

A starter holds the writing end of a pipe that is the standard input of what it started. The system closes that end when
the starter is gone, by SIGKILL too; whoever watches the other end then ends itself and its process group.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

GRACE = 5.0
"""Seconds that what is asked to end may take before it is killed."""


def watch(end: Callable[[], None], descriptor: int = 0) -> None:
    """Calls `end`, in a thread, once nobody holds the writing end of the pipe `descriptor` any more. Reads nothing."""

    def wait() -> None:
        poll = select.poll()
        poll.register(descriptor, 0)  # a hang-up is told without being asked for
        poll.poll()
        end()

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


def end_group_with_stdin(busy: Callable[[], bool] = lambda: True, descriptor: int = 0) -> None:
    """Makes this process the leader of a process group, and ends the group once nobody holds the other end of standard
    input (or of a duplicate, `descriptor`) any more.

    What is deaf to SIGTERM, this process included, is killed after GRACE. Where `busy` says no at that moment the
    process is taken to end by itself, and only killed when it does not.
    """
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)

    def end() -> None:
        if busy():
            os.killpg(0, signal.SIGTERM)
        time.sleep(GRACE)
        os.killpg(0, signal.SIGKILL)

    watch(end, descriptor)


def end_self() -> None:
    """Ends this process; after GRACE by SIGKILL, when a library made it deaf to SIGTERM."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os.kill(os.getpid(), signal.SIGKILL)


def end_group(leader: subprocess.Popen[Any]) -> None:
    """Ends a process that was started with start_new_session and all of its process group, and waits for it."""
    _signal(leader.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        leader.wait(GRACE)
    _signal(leader.pid, signal.SIGKILL)  # also what outlived its leader
    leader.wait()


def run(command: Sequence[str], *, stdin: int = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
    """subprocess.run with captured text, but whatever stops the wait, also a signal, ends the whole process group."""
    with subprocess.Popen(
        command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            out, err = process.communicate()
        except BaseException:
            end_group(process)
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS says so of a group of zombies
        os.killpg(group, number)
