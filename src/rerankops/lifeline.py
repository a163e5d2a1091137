"""Ends child processes when their starter ends, however it ends.

A starter holds the writing end of a pipe that is the child's standard input. The system closes that end when the
starter is gone, also after SIGKILL. Whoever watches the other end then ends itself and its process group.
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
"""Seconds that a process may take to end before it is killed."""


def watch(end: Callable[[], None], descriptor: int = 0) -> None:
    """Calls `end` in a thread once no process holds the writing end of the pipe `descriptor`. Reads nothing."""

    def wait() -> None:
        poll = select.poll()
        poll.register(descriptor, 0)  # poll reports a hang-up without a request for it
        poll.poll()
        end()

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


def end_group_with_stdin(busy: Callable[[], bool] = lambda: True, descriptor: int = 0) -> None:
    """Makes this process the leader of a process group, and ends the group once no process holds the other end of
    standard input (or of a duplicate, `descriptor`).

    Processes that ignore SIGTERM, this one included, are killed after GRACE. If `busy` returns False at that moment,
    the process should end by itself, and is killed only when it does not.
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
    """Ends this process. If a library made it ignore SIGTERM, SIGKILL ends it after GRACE."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os.kill(os.getpid(), signal.SIGKILL)


def end_group(leader: subprocess.Popen[Any]) -> None:
    """Ends a process started with start_new_session and its whole process group, and waits for it."""
    _signal(leader.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        leader.wait(GRACE)
    _signal(leader.pid, signal.SIGKILL)  # also processes that outlived their leader
    leader.wait()


def run(command: Sequence[str], *, stdin: int = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
    """subprocess.run with captured text, but any interruption of the wait, including a signal, ends the whole process
    group."""
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
    with suppress(ProcessLookupError, PermissionError):  # macOS raises it for a group of zombies
        os.killpg(group, number)
