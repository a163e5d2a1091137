"""The environment of this project's local Airflow, one for the demo, `make up` and the tests.

    environment = {**os.environ, **airflow_environment(project)}

The first call creates `.rerankops/airflow` (the AIRFLOW_HOME) with its secrets and the admin password, each random and
readable by its owner alone; later calls read them. Airflow itself is never imported here.

DAGs are not paused when they are created: Airflow leaves a manual run of a paused DAG queued for ever, and a person who
triggers a DAG wants it to run. What `make up` then starts by itself depends on the DAG: catchup=False spares the old
runs but not the latest, so a cron DAG with a start_date in the past runs once as soon as it is first seen; one without
a start_date waits for its next due time, unless the last was moments ago (both seen on 3.3.2).
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

STATE_FOLDER = ".rerankops"
ADMIN = "admin"
DEFAULT_AIRFLOW_PORT = 8080
_LOCAL_HOSTS = "127.0.0.1,localhost"


class EnvironmentFileError(Exception):
    """A KEY=VALUE file has a line that is neither a comment nor an assignment."""


def airflow_home(root: Path) -> Path:
    return root.resolve() / STATE_FOLDER / "airflow"


def passwords_file(root: Path) -> Path:
    """JSON, user name to password; what SimpleAuthManager reads."""
    return airflow_home(root) / "passwords.json"


def admin_password(root: Path) -> str:
    return str(read_or_create(passwords_file(root), _new_passwords)[ADMIN])


def airflow_environment(
    root: Path,
    *,
    dags: Path | None = None,
    plugins: Path | None = None,
    port: int = DEFAULT_AIRFLOW_PORT,
    logging_level: str = "INFO",
) -> dict[str, str]:
    """What Airflow's processes need beside the caller's own environment.

    root: the project folder. dags, plugins: None means the project's own. port: where the API server listens on
    127.0.0.1. logging_level: of Airflow's processes and of tasks; a quiet `dag.test()` wants ERROR.
    """
    root = root.resolve()
    home = airflow_home(root)
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)  # databases, logs with queries of users
    own = read_or_create(home / "secrets.json", _new_secrets)
    admin_password(root)
    url = f"http://127.0.0.1:{port}"
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONFIG": str(home / "airflow.cfg"),
        "AIRFLOW__CORE__DAGS_FOLDER": str((dags or root / "dags").resolve()),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str((plugins or root / "plugins").resolve()),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "8",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__FERNET_KEY": own["fernet_key"],
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN}:ADMIN",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords_file(root)),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
        "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": own["api_secret_key"],
        "AIRFLOW__API_AUTH__JWT_SECRET": own["jwt_secret"],
        # Its default is 5 s; on a busy two-core machine the first call alone was seen to take 5.2 s.
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": logging_level,
        "RERANKOPS_CONFIG": "demo",
        **_quiet(),
        # Tasks call the API server on this machine; a proxy must not be asked for it.
        "NO_PROXY": ",".join(filter(None, [_LOCAL_HOSTS, os.environ.get("NO_PROXY", "")])),
        "no_proxy": ",".join(filter(None, [_LOCAL_HOSTS, os.environ.get("no_proxy", "")])),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
    }


def make_database(
    root: Path, environment: Mapping[str, str], *, output: IO[bytes] | int = subprocess.DEVNULL, timeout: float = 600
) -> bool:
    """Airflow's SQLite database, made elsewhere and moved: of an `airflow db migrate` that is killed half a schema
    would stay. One that is there is left alone, unless it has no version and so was never finished.

    environment: of airflow_environment. output: for what Airflow prints. Returns whether it was made now. Raises
    CalledProcessError when Airflow cannot make it, TimeoutExpired when it takes longer than `timeout` seconds.
    """
    home = airflow_home(root)
    database = home / "airflow.db"
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".making.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _has_version(database):
            return False
        for left in home.glob(".making-*"):  # whoever made these was killed: the lock is ours
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=home, prefix=".making-") as folder:
            made = Path(folder, database.name)
            own = {**environment, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{made}"}
            command = [sys.executable, "-m", "airflow", "db", "migrate"]
            errors = None if output == subprocess.DEVNULL else subprocess.STDOUT
            subprocess.run(
                command,
                env=own,
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                timeout=timeout,
            )
            made.chmod(0o600)
            for beside in home.glob("airflow.db-*"):  # a journal of what had this name before
                beside.unlink()
            made.replace(database)
    return True


def _has_version(database: Path) -> bool:
    """Whether a database was made to its end: Airflow writes its version last."""
    if not database.exists():
        return False
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as opened:
        try:
            return opened.execute("SELECT 1 FROM alembic_version").fetchone() is not None
        except sqlite3.OperationalError:
            return False


def read_environment_file(path: Path) -> dict[str, str]:
    """KEY=VALUE lines; blank lines and # comments are skipped, values are literal. A missing file is empty.

    Raises EnvironmentFileError naming the file and the line.
    """
    if not path.exists():
        return {}
    values = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier():
            raise EnvironmentFileError(f"{path}, line {number}: expected KEY=VALUE, found {text!r}")
        values[key] = value
    return values


def demo_environment(root: Path) -> dict[str, str]:
    """What the demo left for those that run beside it: its workspace and its sources, in `.rerankops/demo.env`."""
    return read_environment_file(root.resolve() / STATE_FOLDER / "demo.env")


def _quiet() -> dict[str, str]:
    """No usage data leaves the machine."""
    return {
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "SCARF_ANALYTICS": "false",
        "SCARF_NO_ANALYTICS": "true",
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GX_ANALYTICS_ENABLED": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


def _new_secrets() -> dict[str, str]:
    return {
        "fernet_key": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "jwt_secret": secrets.token_urlsafe(48),
        "api_secret_key": secrets.token_urlsafe(48),
    }


def _new_passwords() -> dict[str, str]:
    return {ADMIN: secrets.token_urlsafe(18)}


def read_or_create(path: Path, create: Callable[[], Mapping[str, str]]) -> dict[str, str]:
    """The JSON object in `path`; when there is none, `create()` is written there, 0600. Of two that create at once,
    both read what the first wrote."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(json.dumps(create()) + "\n")
        try:
            os.link(staged, path)
        except FileExistsError:
            pass
        finally:
            staged.unlink()
    return dict(json.loads(path.read_text(encoding="utf-8")))
