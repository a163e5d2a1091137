"""Processes that evaluate and promote, to be killed.

Importing torch, MLflow and the rest takes ten seconds, far longer than a retraining of the small world of
promotion_world.py. So one process imports everything and does nothing (`Nursery`; its program is promotion_jobs.py);
every job is a fork of it, which tells through a pipe what it is at, and which a test kills with SIGKILL at whatever
moment it likes.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promotion_jobs import PHASES

PATIENCE = 400.0
"""Seconds that a job may take, or a phase of it to begin, on a machine that is busy."""
PROGRAM = Path(__file__).with_name("promotion_jobs.py")


class Died(Exception):
    """A job ended without a result, and nobody had killed it."""


@dataclass
class Child:
    """A job that runs. events: (phase, when, seconds of the machine's monotonic clock)."""

    pid: int
    handle: int
    pipe: int
    result: Path
    log: Path
    events: list[tuple[str, float]] = field(default_factory=list)
    _rest: bytes = b""

    def listen(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Takes in events for so long. True as soon as `until` holds, False when the time or the process is over."""
        end = time.monotonic() + seconds
        while not until():
            left = end - time.monotonic()
            if left <= 0:
                return False
            ready, _, _ = select.select([self.pipe, self.handle], [], [], left)
            self._read()
            if self.handle in ready:
                return until()
        return True

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.pipe, 65536):
                self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        self.events += [(name.decode(), float(when)) for name, when in (line.rsplit(b" ", 1) for line in lines)]

    def kill(self) -> bool:
        """SIGKILL. False when the job was over before it came."""
        over = self.over
        signal.pidfd_send_signal(self.handle, signal.SIGKILL) if not over else None
        select.select([self.handle], [], [])
        self._read()
        return not over and not self.result.exists()

    @property
    def over(self) -> bool:
        return bool(select.select([self.handle], [], [], 0)[0])

    def told(self, name: str) -> bool:
        """Whether it told of this."""
        return any(event == name for event, _ in self.events)

    @property
    def phase(self) -> str | None:
        """The last of PHASES that it told."""
        return next((name for name, _ in reversed(self.events) if name in PHASES), None)

    def answer(self, seconds: float = PATIENCE) -> Any:
        """What the job returned. Raises what it raised (as the class of that name in rerankops.errors, else as
        RuntimeError), Died, or TimeoutError."""
        self.listen(seconds, until=lambda: self.over)
        if not self.over:
            raise TimeoutError(f"a job runs for more than {seconds} s; {self.log.read_text()[-3000:]}")
        if not self.result.exists():
            raise Died(self.log.read_text()[-3000:])
        told = json.loads(self.result.read_text())
        if "error" in told:
            from rerankops import errors

            raise getattr(errors, told["error"], RuntimeError)(told["words"])
        return told["value"]

    def close(self) -> None:
        if not self.over:
            self.kill()
        os.close(self.handle)
        os.close(self.pipe)


class Nursery:
    """The process that has imported everything. folder: for logs, pipes and results."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "nursery.log"
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RERANKOPS", "MLFLOW"))},
            "OMP_NUM_THREADS": "1",
            "POLARS_MAX_THREADS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            "TMPDIR": str(folder / "tmp"),
        }
        (folder / "tmp").mkdir()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environ
            )
        self._count = 0
        self._children: list[Child] = []

    def start(self, job: str, **arguments: Any) -> Child:
        """Forks a job (a function of promotion_jobs.py)."""
        assert self._process.stdin
        assert self._process.stdout
        self._count += 1
        place = self.folder / f"{self._count:04d}-{job}"
        pipe, result, log = (place.with_suffix(ending) for ending in (".pipe", ".json", ".log"))
        os.mkfifo(pipe)
        reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        told = {"job": job, "arguments": arguments, "pipe": str(pipe), "result": str(result), "log": str(log)}
        self._process.stdin.write(json.dumps(told).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise Died(self.log.read_text()[-3000:])
        child = Child(int(line), os.pidfd_open(int(line)), reading, result, log)
        self._children.append(child)
        return child

    def run(self, job: str, **arguments: Any) -> Any:
        """Forks a job and waits for what it returns."""
        with self.child(job, **arguments) as child:
            return child.answer()

    @contextlib.contextmanager
    def child(self, job: str, **arguments: Any) -> Iterator[Child]:
        child = self.start(job, **arguments)
        try:
            yield child
        finally:
            child.close()
            self._children.remove(child)

    def close(self) -> None:
        for child in self._children:
            child.close()
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(PATIENCE)
