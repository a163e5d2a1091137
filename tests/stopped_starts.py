"""Commands that are stopped at some moment by a signal: what is left of them, and whether the next start works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SETTLE = 15.0
"""Seconds after which nothing may be left of what a signal stopped."""
FIRST_USE = """
import sys
from pathlib import Path
from rerankops.promotion.tracking import Lock, Tracking

store = Path(sys.argv[1])
client = Tracking(f"sqlite:///{store / 'mlflow.db'}", Lock(store / "registry.lock"))
print(len(client.search_experiments()), flush=True)
"""
"""The first use of MLflow's local store, as the registry makes it."""


@dataclass
class Command:
    """What is started again and again in a folder of its own. `mark`: a text, such as the folder, that only this
    command's processes have among their arguments or in their environment."""

    arguments: Sequence[str]
    mark: str
    environment: Mapping[str, str] = field(default_factory=dict)
    log: Path = Path(os.devnull)

    def start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            return subprocess.Popen(
                self.arguments,
                env={**os.environ, **self.environment, "RERANKOPS_TEST_MARK": self.mark},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, seconds: float) -> int:
        """To its end; its exit status. Raises TimeoutExpired."""
        process = self.start()
        try:
            return process.wait(seconds)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()

    def stopped(self, after: float, number: signal.Signals) -> float | None:
        """Starts it, sends it a signal after so many seconds, and waits until nothing of it is left: how long that
        took, None when it had ended by itself before. Raises AssertionError naming what is left after SETTLE."""
        process = self.start()
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        else:
            return None
        asked = time.monotonic()
        while (left := self.left()) and time.monotonic() - asked < SETTLE:
            process.poll()
            time.sleep(0.1)
        took = time.monotonic() - asked
        assert not left, f"{number.name} after {after:.1f} s left {left}"
        process.wait()
        return took

    def left(self) -> list[str]:
        """The commands of its processes that are there still, from /proc."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                told = (folder / "cmdline").read_bytes()
                given = told + (folder / "environ").read_bytes()
                ended = ") Z " in (folder / "stat").read_text()
            except OSError:  # it ended while we looked
                continue
            if self.mark.encode() in given and not ended and folder.name != str(os.getpid()):
                found.append(f"{folder.name}: {told.replace(bytes(1), b' ').decode(errors='replace')[:200]}")
        return found


def demo(root: Path, log: Path, **settings: str) -> Command:
    """`rerankops demo` on a real Elasticsearch node."""
    arguments = [sys.executable, "-m", "rerankops.cli", "demo", "--small", "--retrieval", "elasticsearch"]
    environment = {f"RERANKOPS__{name}": value for name, value in settings.items()}
    return Command([*arguments, "--root", str(root)], str(root), environment, log)


def first_use_of_mlflow(store: Path) -> Command:
    return Command([sys.executable, "-c", FIRST_USE, str(store)], str(store))
