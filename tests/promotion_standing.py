"""What lies in a registry's database, read past all of our code, and what an audit trail and a decision come to."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Standing:
    """What lies in the registry's database and the workspace, read past all of our code. champion: where the alias
    points; last: the champion of the ledger's last move; versions: version to the decision that it was registered
    for; runs: decision to its finished runs."""

    champion: str
    last: str
    versions: dict[str, str]
    runs: Counter[str]


def standing(folder: Path, copy: Path) -> Standing:
    """Of a copy of the database: whoever was killed may have left a journal, which opening it rolls back."""
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for path in folder.glob("mlflow.db*"):
        shutil.copy2(path, copy)
    with sqlite3.connect(copy / "mlflow.db") as database:
        aliases = database.execute("select alias, version from registered_model_aliases").fetchall()
        tagged = "select version, value from model_version_tags where key = 'rerankops.key'"
        versions = {str(version): decision for version, decision in database.execute(tagged)}
        rows = {str(version) for (version,) in database.execute("select version from model_versions")}
        runs = "select value from tags join runs using (run_uuid) where key = 'rerankops.key' and status = 'FINISHED'"
        finished = Counter(decision for (decision,) in database.execute(runs))
        moves = "select params.value from params where params.key like 'move.%' order by params.key desc limit 1"
        last = [json.loads(value)["champion"] for (value,) in database.execute(moves)]
    database.close()
    champions = [str(version) for alias, version in aliases if alias == "champion"]
    assert len(champions) == 1, f"{len(champions)} champions"
    assert rows == versions.keys(), "a version without a decision"
    return Standing(champions[0], last[0], versions, finished)


def follows(audit: list[dict[str, Any]]) -> str:
    """The champion after all moves, each of which began where the one before it ended."""
    champion = ""
    for move in audit:
        assert move["before"] == champion, audit
        champion = move["champion"]
    return champion


def comparable(decision: dict[str, Any]) -> str:
    """A decision without the times and the memory that its words tell: they are measured anew."""
    return re.sub(r"[\d.]+ (ms a query|MB)( against [\d.]+)?", "", json.dumps(decision, sort_keys=True))
