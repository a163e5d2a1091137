"""MLflow's own SQLite database on this machine: there whole or not at all, and for its owner's eyes alone.

MLflow makes the tables one by one in the file itself; of a process that is killed meanwhile, half a schema stays that
MLflow does not repair. So the database is made under another name and moved. Half a schema with nothing in it, as an
interrupted start of an earlier version left it, is replaced; a database that holds anything is never touched.

    python -m rerankops.promotion.local_store FILE [--users FILE]

makes what is not there: the store, and the users of a server that asks for a login.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

from filelock import FileLock

_BESIDE = ("-journal", "-wal", "-shm")
"""What SQLite keeps beside a database; it would be applied to whatever has the database's name."""


def prepare(path: Path) -> None:
    """Makes the database when there is none, or half of one. Two at once make it once. Raises OSError, and what MLflow
    raises."""
    _prepare(path, _make, ("experiments", "runs", "registered_models", "model_versions"))


def prepare_users(path: Path) -> None:
    """The same for the users and permissions of MLflow's own login."""
    _prepare(path, _make_users, ("alembic_version_auth", "users"))


def _prepare(path: Path, make: Callable[[Path, Path], None], anything: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not _is_missing(path, anything):
        _for_its_owner(path)
        return
    with FileLock(path.with_name(f".{path.name}.lock")):
        making = f".making-{path.name}-"
        for left in path.parent.glob(f"{making}*"):  # whoever made these was killed: the lock is ours
            shutil.rmtree(left, ignore_errors=True)
        if not _is_missing(path, anything):  # another process made it while we waited
            return
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=making) as folder:
            made = Path(folder, path.name)
            make(made, path.parent / "artifacts")
            _for_its_owner(made)
            _sync(made)
            for suffix in _BESIDE:
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            made.replace(path)
        _sync(path.parent)


def _make(path: Path, artifacts: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(f"sqlite:///{path}", str(artifacts)).engine.dispose()


def _make_users(path: Path, _: Path) -> None:
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore()
    store.init_db(f"sqlite:///{path}")
    store.engine.dispose()


def _is_missing(path: Path, anything: Sequence[str]) -> bool:
    """No database, or one in which nothing ever was. anything: tables of which at least one has a row as soon as a
    whole database has been opened."""
    if not path.exists():
        return True
    if not path.is_file():
        return False
    with closing(sqlite3.connect(path, timeout=30)) as database:
        try:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            kept = [name for name in anything if name in tables]
            return not any(database.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone() for name in kept)  # noqa: S608
        except sqlite3.DatabaseError:  # not a database, or damaged: MLflow says so, and nothing is replaced
            return False


def _for_its_owner(path: Path) -> None:
    if path.stat().st_mode & 0o077:
        with suppress(PermissionError):  # another user's, who decided who reads it
            path.chmod(0o600)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m rerankops.promotion.local_store", description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--users", type=Path)
    given = parser.parse_args()
    prepare(given.store)
    if given.users:
        prepare_users(given.users)


if __name__ == "__main__":
    _main()
