"""MLflow's SQLite database is there whole or not at all, whatever interrupted its making."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rerankops.promotion import local_store


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    path = tmp_path_factory.mktemp("whole") / "mlflow.db"
    local_store.prepare(path)
    return path


def experiments(path: Path) -> list[str]:
    with sqlite3.connect(path) as database:
        return [name for (name,) in database.execute("SELECT name FROM experiments")]


def test_only_its_owner_reads_it_and_nothing_stays_beside_it(whole: Path) -> None:
    assert whole.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in whole.parent.iterdir()} == {"mlflow.db", ".mlflow.db.lock"}
    assert experiments(whole) == ["Default"]


def empty(path: Path) -> None:
    path.touch()


def half_a_schema(path: Path) -> None:
    """What MLflow leaves when it is killed between two migrations, and what SQLite was about to roll back."""
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE experiments (experiment_id INTEGER, name TEXT)")
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
    path.with_name(f"{path.name}-wal").write_bytes(b"of the database that was there before")


@pytest.mark.parametrize("leave", [empty, half_a_schema])
def test_half_a_database_with_nothing_in_it_is_made_anew(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, leave: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(local_store, "_make", lambda path, artifacts: shutil.copyfile(whole, path))
    path = tmp_path / "mlflow.db"
    leave(path)
    local_store.prepare(path)
    assert experiments(path) == ["Default"]
    assert not path.with_name("mlflow.db-wal").exists()


def test_what_holds_anything_or_is_no_database_is_left_alone(tmp_path: Path) -> None:
    old, strange = tmp_path / "old.db", tmp_path / "strange.db"
    with sqlite3.connect(old) as database:
        database.execute("CREATE TABLE experiments (name TEXT)")
        database.execute("INSERT INTO experiments VALUES ('of an earlier MLflow')")
    strange.write_text("this is no database " * 100)
    before = old.read_bytes(), strange.read_bytes()
    local_store.prepare(old)
    local_store.prepare(strange)
    assert (old.read_bytes(), strange.read_bytes()) == before
    assert old.stat().st_mode & 0o077 == 0


def test_two_at_once_make_it_once(tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def make(path: Path, artifacts: Path) -> None:
        made.append(path)
        shutil.copyfile(whole, path)

    monkeypatch.setattr(local_store, "_make", make)
    threads = [threading.Thread(target=local_store.prepare, args=[tmp_path / "mlflow.db"]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


SLOWLY = """
import sqlite3, sys, time
from pathlib import Path
from rerankops.promotion import local_store

def make(path, artifacts):
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE experiments (name TEXT)")
    print("half", flush=True)
    time.sleep(600)

local_store._make = make
local_store.prepare(Path(sys.argv[1]))
"""


def test_a_kill_while_it_is_made_leaves_none_and_the_next_start_makes_it(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mlflow.db"
    with subprocess.Popen([sys.executable, "-c", SLOWLY, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        process.kill()
    assert not path.exists()
    monkeypatch.setattr(local_store, "_make", lambda path, artifacts: shutil.copyfile(whole, path))
    local_store.prepare(path)
    assert experiments(path) == ["Default"]
    assert not list(tmp_path.glob(".making-*"))
