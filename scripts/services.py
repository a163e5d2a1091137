"""What the scripts that start servers share: ports, taking turns, the end of a log."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import itertools
import random
import socket
from collections.abc import Iterator
from pathlib import Path

LOG_TAIL = 25
_LOWEST, _HIGHEST = 10_000, 65_000
_GIVEN_OUT = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(count: int) -> list[int]:
    """Distinct ports of 127.0.0.1 that nobody listens on now, and that the system gives to nobody who asks for any: a
    server may take seconds, or a restart, to come to its own."""
    given_out = range(32_768, 65_536)
    if _GIVEN_OUT.exists():
        low, high = map(int, _GIVEN_OUT.read_text(encoding="utf-8").split())
        given_out = range(low, high + 1)
    every = [port for port in range(_LOWEST, _HIGHEST) if port not in given_out] or [*range(_LOWEST, _HIGHEST)]
    random.SystemRandom().shuffle(every)  # not by a seed that another process has as well
    free = (port for port in every if not is_busy(port))
    return list(itertools.islice(free, count))


def is_busy(port: int) -> bool:
    """Whether somebody listens on a port of 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Waits for its turn: whoever comes second finds the work done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def tail(log: Path) -> str:
    """The last lines of a log, to be shown in an error."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL:]
    return "\n".join([f"the last lines of {log}:", *(f"  {line}" for line in lines)])


def port_number(text: str, highest: int = 65535) -> int:
    """An argument that is a port."""
    if not text.isdecimal() or not 1 <= int(text) <= highest:
        raise argparse.ArgumentTypeError(f"must be a port from 1 to {highest}, not {text!r}")
    return int(text)
