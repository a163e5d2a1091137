"""MLflow's own SQLite database on this machine: complete or absent, and readable by its owner only.

MLflow creates the tables one by one in the file itself. If the process is killed meanwhile, half a schema remains,
which MLflow does not repair. So the database is made under another name and moved. An empty half schema, as an
interrupted start of an earlier version left it, is replaced; a database with any content is never touched.

    python -m rerankops.promotion.local_store FILE [--users FILE]

makes what does not exist: the store, and the users of a server that asks for a login.
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
"""Files that SQLite keeps beside a database; it would apply them to any database of that name."""


def prepare(path: Path) -> None:
    """Makes the database when there is none, or only half of one. Two processes at once make it once. Raises OSError,
    and what MLflow raises."""
    _prepare(path, _make, ("experiments", "runs", "registered_models", "model_versions"))


def prepare_users(path: Path) -> None:
    """Like `prepare`, for the users and permissions of MLflow's own login."""
    _prepare(path, _make_users, ("alembic_version_auth", "users"))


def _prepare(path: Path, make: Callable[[Path, Path], None], anything: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not _is_missing(path, anything):
        _for_its_owner(path)
        return
    with FileLock(path.with_name(f".{path.name}.lock")):
        making = f".making-{path.name}-"
        for left in path.parent.glob(f"{making}*"):  # whoever made these was killed: we hold the lock
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
    """Whether there is no database, or one that never had content. anything: tables of which at least one has a row
    once a complete database has been opened."""
    if not path.exists():
        return True
    if not path.is_file():
        return False
    with closing(sqlite3.connect(path, timeout=30)) as database:
        try:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            kept = [name for name in anything if name in tables]
            return not any(database.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone() for name in kept)  # noqa: S608
        except sqlite3.DatabaseError:  # not a database, or damaged: MLflow reports it, and nothing is replaced
            return False


def _for_its_owner(path: Path) -> None:
    if path.stat().st_mode & 0o077:
        with suppress(PermissionError):  # it belongs to another user, who decides who reads it
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
