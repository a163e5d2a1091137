"""Two processes that run each DAG's steps at the same moment on one workspace, and what must hold afterwards.

The sample in tests/integration/workspace and the campaign in tests/campaigns are the same code with other numbers.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from promotion_world import FIRST, World, settings, write_lines

from rerankops.errors import RerankopsError
from rerankops.workspace import Workspace

PROGRAM = Path(__file__).with_name("two_at_once_jobs.py")
SINCE, UNTIL = datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC)
MEASURED = {"rankings", "evaluations", "decisions", "reports", "cross_encoders"}
"""Kinds with times in them that it took to rank: one run's are not another's."""


@dataclass(frozen=True)
class Told:
    """One round. differ: (job, answer of the one, answer of the other) where they are not equal."""

    workspace: Workspace
    differ: list[tuple[str, Any, Any]]

    def contents(self) -> dict[str, dict[str, str]]:
        """SHA-256 of every file of every artefact that is the same in every round."""
        return {
            address: self.workspace.manifest(address).files
            for address in addresses(self.workspace)
            if address.split("/")[0] not in MEASURED
        }


class Two(AbstractContextManager["Two"]):
    """Two processes and the small world that they share. folder: everything that is not in the workspace."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder, self.environment = folder, environment
        self.world, self._rounds = World(), 0
        self.world.letters(folder / "encoder")
        self.world.words(folder / "words", seed=2, knowing=False)
        self.world.words(folder / f"words-{FIRST}", seed=3, knowing=False)
        self.processes = [self._process(number) for number in range(2)]

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            assert process.stdin
            process.stdin.close()
            process.wait(60)

    def round(self, root: str) -> Told:
        """Every job by both processes at the same moment, on a workspace that is empty before."""
        self._rounds += 1
        place = self.folder / f"round-{self._rounds}"
        place.mkdir()
        self.world.write(self.folder)
        self._write_log(place)
        tree = settings(self.folder)
        tree["workspace"] = {"root": root}
        tree["query_log"] = {"source": "files", "location": str(place / "log")}
        tree["annotation"] = {
            "inbox": str(place / "inbox"),
            "outbox": str(place / "outbox"),
            "selection": {"budget_tasks": 240, "pool_queries": 60},
        }
        (place / "inbox").mkdir()
        window = {"since": SINCE.isoformat(), "until": UNTIL.isoformat()}
        differ = self._both("refresh", place, tree)
        differ += self._both("collect", place, tree, **window)
        self._annotate(place)
        differ += self._both("ingest", place, tree)
        differ += self._both("retrain", place, tree, folder=str(self.folder), again=FIRST)
        return Told(Workspace(root), differ)

    # -- private ----------------------------------------------------------------------------------------------------

    def _process(self, number: int) -> subprocess.Popen[str]:
        with (self.folder / f"process-{number}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, str(PROGRAM)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**self.environment, "PYTHONPATH": ":".join(filter(None, sys.path))},
                text=True,
            )

    def _both(self, job: str, place: Path, tree: Mapping[str, Any], **arguments: Any) -> list[tuple[str, Any, Any]]:
        asked = json.dumps({"job": job, "folder": str(place), "settings": tree, "arguments": arguments})
        for process in self.processes:
            assert process.stdin
            process.stdin.write(f"{asked}\n")
            process.stdin.flush()
        answers = [self._answer(process) for process in self.processes]
        return [] if answers[0] == answers[1] else [(job, *answers)]

    def _answer(self, process: subprocess.Popen[str]) -> Any:
        assert process.stdout
        line = process.stdout.readline()
        assert line, f"a process ended; its log is in {self.folder}"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def _write_log(self, place: Path) -> None:
        """Users ask what people judged in other tests of this world."""
        (place / "log").mkdir()
        draw = random.Random(1)
        rows = [
            {
                "event_id": f"e{number}",
                "text": self.world.question(*pair),
                "issued_at": (SINCE + timedelta(minutes=draw.randrange(40_000))).isoformat(),
                "source": "web",
            }
            for number, pair in enumerate(self.world.judged)
        ]
        write_lines(place / "log" / "april.jsonl", rows)

    def _annotate(self, place: Path) -> None:
        """Three people label every task of the batch that is in the outbox."""
        right = {self.world.question(*pair): f"p{pair[0]}-{pair[1]}" for pair in self.world.judged}
        for sent in (place / "outbox").rglob("*.jsonl"):
            tasks = [json.loads(line) for line in sent.read_text(encoding="utf-8").splitlines()]
            clock, rows = datetime.now(UTC), []
            for task in tasks:
                good = right.get(task["query_text"]) == task.get("passage_id") or self._states(task)
                for number in range(3):
                    clock += timedelta(milliseconds=100)
                    rows.append(
                        {
                            "batch_id": task["batch_id"],
                            "task_id": task["task_id"],
                            "annotator_id": f"ann-{number}",
                            "grade": 3 if good else 0,
                            "annotated_at": clock.isoformat(),
                            "lead_seconds": 5.0 + number,
                        }
                    )
            write_lines(place / "inbox" / sent.name, rows)

    def _states(self, task: Mapping[str, Any]) -> bool:
        """Whether the passage says what the question asks."""
        for pair in (*self.world.judged, *self.world.asked):
            if self.world.question(*pair) == task["query_text"]:
                return self.world.amount(*pair) in task["passage_text"]
        return False


def addresses(workspace: Workspace) -> list[str]:
    """Of every artefact."""
    found = [path.parent for path in (workspace.root / "objects").glob("*/*/manifest.json")]
    return sorted(f"{folder.parent.name}/{folder.name}" for folder in found)


def damaged(workspace: Workspace) -> list[str]:
    """What is wrong with any artefact or reference, in words."""
    found = []
    for address in addresses(workspace):
        try:
            with workspace.local_folder(address):
                pass
        except RerankopsError as error:
            found.append(str(error))
    for path in (workspace.root / "refs").rglob("*.json"):
        name = str(path).rpartition("/refs/")[2].removesuffix(".json")
        try:
            workspace.manifest(workspace.require(name, ""))
        except RerankopsError as error:
            found.append(str(error))
    return found
