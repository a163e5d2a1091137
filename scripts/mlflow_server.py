"""MLflow as `make up` serves it: on this machine alone, behind its own login, and under no other host's name.

The store is the one that the pipeline's tasks write to directly: SQLite beside the workspace. Login, users and their
database are in `auth/` beside it, readable by their owner alone; the administrator's password is made at random.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from airflow_env import ADMIN, STATE_FOLDER, read_or_create

_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def store(root: Path, environment: Mapping[str, str]) -> Path:
    """The folder of the database and of the artefacts."""
    workspace = environment.get("RERANKOPS__WORKSPACE__ROOT", "")
    beside = root / STATE_FOLDER if not workspace or "://" in workspace else (root / workspace).resolve().parent
    return beside / "mlflow"


def login_file(folder: Path) -> Path:
    """JSON with the administrator's user, password and the server's secret key. folder: of `store`."""
    return folder / "auth" / "login.json"


def login(folder: Path) -> tuple[str, str]:
    """The administrator's name and password."""
    kept = read_or_create(login_file(folder), _new_login)
    return kept["user"], kept["password"]


def prepare(folder: Path, environment: Mapping[str, str], log: Path) -> None:
    """Makes what the server needs and is not there, each whole or not at all. Raises CalledProcessError; `log` says
    why."""
    users = folder / "auth" / "users.db"
    (folder / "artifacts").mkdir(parents=True, exist_ok=True)
    users.parent.mkdir(mode=0o700, exist_ok=True)
    users.parent.chmod(0o700)
    login(folder)
    settings = {
        "default_permission": "NO_PERMISSIONS",
        "database_uri": f"sqlite:///{users}".replace("%", "%%"),  # configparser's own sign
        "admin_username": ADMIN,
    }
    lines = ["[mlflow]", *(f"{name} = {value}" for name, value in settings.items())]
    (users.parent / "auth.ini").write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "rerankops.promotion.local_store",
        str(folder / "mlflow.db"),
        "--users",
        str(users),
    ]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        own = {**environment, **_QUIET}
        subprocess.run(command, env=own, check=True, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)


def command(folder: Path, port: int) -> list[str]:
    return [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1", "--app-name", "basic-auth", "--allowed-hosts", f"127.0.0.1:{port},localhost:{port}"),
        *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"),
        *("--no-serve-artifacts", "--default-artifact-root", (folder / "artifacts").as_uri()),
    ]


def environment(folder: Path) -> dict[str, str]:
    """What the server's process alone is told. No password is among its arguments, which every user may list."""
    kept = read_or_create(login_file(folder), _new_login)
    return {
        **_QUIET,
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth" / "auth.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": kept["password"],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": kept["secret_key"],
    }


def _new_login() -> dict[str, str]:
    return {"user": ADMIN, "password": secrets.token_urlsafe(18), "secret_key": secrets.token_urlsafe(48)}
