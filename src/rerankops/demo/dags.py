"""The checkout's DAGs, run by Airflow without a scheduler, one after another in a process that stays.

The process ends with this one: it watches the pipe that its requests come by."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

from rerankops import lifeline
from rerankops.config.loading import config_folder
from rerankops.errors import RerankopsError, SettingsError

_PROCESS_LOG = "process.log"
"""What the process printed outside of a run."""


class DagFailed(RerankopsError):
    """A DAG run did not succeed."""


class Dags:
    """Use it as a context manager. The process (scripts/run_dag.py --serve) is started by the first run, and by the
    first one after `close`.

    root: the folder that holds (or will hold) `.rerankops`. logs: folder for what each DAG's last run printed.
    environment: settings of the tasks, beside this process's own environment.
    """

    def __init__(self, root: Path, logs: Path, environment: Mapping[str, str]) -> None:
        self._root, self._logs, self._environment = root, logs, dict(environment)
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Dags:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self._process is not None:
            lifeline.end_group(self._process)  # it may be in the middle of a run that nobody waits for
        self.close()

    def run(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Runs a DAG to its end and returns what its tasks returned, by task id. Raises DagFailed, naming the log."""
        self._logs.mkdir(parents=True, exist_ok=True)
        log, returned = self._logs / f"{dag_id}.log", self._logs / f"{dag_id}.json"
        asked = {"dag_id": dag_id, "conf": dict(conf or {}), "returned": str(returned), "log": str(log)}
        log.unlink(missing_ok=True)  # what another run printed is not why this one fails
        status = self._answer(json.dumps(asked))
        if status != "0":
            raise DagFailed(f"{dag_id} failed: {_cause(log)}; its log is {log}")
        values: dict[str, Any] = json.loads(returned.read_text(encoding="utf-8"))
        return values

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            with suppress(BrokenPipeError):
                self._process.communicate()
            self._process = None

    def _answer(self, request: str) -> str:
        """The run's exit status; "" when the process ended instead."""
        if self._process is None:
            self._process = self._start()
        requests, answers = cast(IO[str], self._process.stdin), cast(IO[str], self._process.stdout)
        with suppress(BrokenPipeError):
            requests.write(f"{request}\n")
            requests.flush()
        status = answers.readline().strip()
        if not status:
            with suppress(BrokenPipeError):
                self._process.communicate()
            self._process = None
        return status

    def _start(self) -> subprocess.Popen[str]:
        script = config_folder().parent / "scripts" / "run_dag.py"
        if not script.is_file():
            raise SettingsError(f"the demo runs the DAGs of a checkout and {script} is not there; clone the repository")
        with (self._logs / _PROCESS_LOG).open("wb") as errors:
            return subprocess.Popen(
                [sys.executable, str(script), "--serve", "--root", str(self._root)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **self._environment},
                start_new_session=True,  # a Ctrl-C is for the demo, which ends this one in order
            )


def _cause(log: Path) -> str:
    """The last line that names an error, else the last line."""
    printed = log if log.exists() else log.with_name(_PROCESS_LOG)
    text = printed.read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [line for line in lines if "Error" in line.split(":")[0] or line.startswith("rerankops.")]
    return (named or lines or ["no output"])[-1][:400]
