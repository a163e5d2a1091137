"""A real Label Studio on 127.0.0.1 for development and tests, in the background, without containers.

    python scripts/local_label_studio.py start   start it, wait until it answers and print its URL
    python scripts/local_label_studio.py status  whether it runs and answers
    python scripts/local_label_studio.py stop    stop exactly what `start` started; its data stay

It lives in a virtual environment of its own, because its requirements do not go with ours: installed once, from
requirements-label-studio.lock, into ~/.cache/rerankops/label-studio, beside an empty database with the tables made,
which new servers copy (making them takes most of a minute). All state is in ROOT/label-studio: state.json, server.log,
data/ and credentials.json, readable by its owner alone, with the administrator's password and personal access token.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx
import processes
from airflow_env import STATE_FOLDER
from processes import Process
from services import LOG_TAIL, is_busy, only_one, port_number, tail

from rerankops.files import private_folder

PROJECT = Path(__file__).resolve().parents[1]
LOCK = PROJECT / "requirements-label-studio.lock"
CACHE = Path.home() / ".cache" / "rerankops" / "label-studio"
PORT = 8090
ADMIN = "admin@localhost.localdomain"
DATABASE = "label_studio.sqlite3"
STOP_GRACE = 10.0
QUIET = {
    "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
    "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
    "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
    "LABEL_STUDIO_SENTRY_DSN": "",
    "LABEL_STUDIO_FRONTEND_SENTRY_DSN": "",
}
"""Nobody signs up, nothing is sent anywhere. Legacy tokens are on: by them accounts are set up without a browser."""
HOSTS = "127.0.0.1,localhost"
"""Under no other host's name a server answers, lest a page whose name was made to point here gets what is asked."""
_MAKE_TABLES = "from django.core.management import call_command; call_command('migrate', verbosity=0)"
_ADD_USERS = """
import json, sys
from organizations.models import Organization
from rest_framework.authtoken.models import Token
from users.models import User
organization, tokens = Organization.objects.order_by("id").first(), {}
for email, password in json.load(sys.stdin).items():
    user = User.objects.filter(email=email).first()
    if user is None:
        user = User.objects.create_user(email=email, username=email.split("@")[0], password=password)
    organization.add_user(user)
    user.active_organization = organization
    user.save(update_fields=["active_organization"])
    tokens[email] = Token.objects.get_or_create(user=user)[0].key
print("TOKENS " + json.dumps(tokens))
"""


class LabelStudioError(Exception):
    """What a person has to know, in words; the command ends with status 1."""


# -- the program: a virtual environment and an empty database ---------------------------------------------------------


@dataclass(frozen=True)
class Home:
    """Where one version is installed."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "venv" / "bin" / "python"

    @property
    def program(self) -> Path:
        return self.folder / "venv" / "bin" / "label-studio"

    @property
    def empty_database(self) -> Path:
        return self.folder / "empty" / DATABASE

    def run(self, code: str, data: Path, given: str = "") -> str:
        """The output of a piece of Python that runs inside Label Studio, on the data of a server. given: its standard
        input, for what no list of processes may show."""
        setup = (
            "import os, sys; from label_studio.server import LS_PATH; sys.path.insert(0, LS_PATH); "
            "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'label_studio.core.settings.label_studio'); "
            "import django; django.setup()\n"
        )
        done = subprocess.run(
            [self.python, "-c", setup + code],
            env=_environment(data),
            cwd=data,
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            last = "\n".join((done.stdout + done.stderr).splitlines()[-LOG_TAIL:])
            raise LabelStudioError(f"Label Studio's own Python ended with code {done.returncode}:\n{last}")
        return done.stdout


def install(*, lock: Path = LOCK, cache: Path = CACHE) -> Home:
    """The version that the lock file names, from the cache or installed now. Raises LabelStudioError."""
    home = Home(cache / f"{_version(lock)}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}")
    ready = home.folder / "ready"
    if ready.is_file():
        return home
    with only_one(cache / "install.lock"):
        if ready.is_file():  # another process installed it while we waited
            return home
        print(f"Installing Label Studio, once, in {home.folder}", flush=True)
        shutil.rmtree(home.folder, ignore_errors=True)
        (home.folder / "empty").mkdir(parents=True)
        uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
        if uv:
            _run([uv, "venv", "--quiet", "--python", sys.executable, home.folder / "venv"])
            _run(
                [
                    uv,
                    "pip",
                    "install",
                    "--quiet",
                    "--compile-bytecode",
                    "--python",
                    home.python,
                    "--require-hashes",
                    "-r",
                    lock,
                ]
            )
        else:
            _run([sys.executable, "-m", "venv", home.folder / "venv"])
            _run([home.python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", lock])
        home.run(
            "from django.core.management import call_command; call_command('migrate', verbosity=0)",
            home.folder / "empty",
        )
        (home.folder / "empty" / ".env").unlink(missing_ok=True)  # a secret key: each server has its own
        ready.touch()
    return home


def _version(lock: Path) -> str:
    found = re.search(r"^label-studio==(\S+)", lock.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise LabelStudioError(f"{lock} names no label-studio")
    return found[1]


def _run(command: Sequence[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-LOG_TAIL:])
        raise LabelStudioError(f"`{' '.join(map(str, command))}` ended with code {done.returncode}:\n{last}")


def _environment(data: Path) -> dict[str, str]:
    """Ours without what would change Label Studio or its Python."""
    ours = ("LABEL_STUDIO_", "DJANGO_", "PYTHON", "POSTGRE_", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, **QUIET, "LABEL_STUDIO_BASE_DATA_DIR": str(data)}


# -- a server ---------------------------------------------------------------------------------------------------------


@dataclass
class Server:
    """One server process with its data. folder: data/, credentials.json and server.log; what is in it outlives stop()
    and kill(): start() finds it again."""

    folder: Path
    port: int
    process: Process | None = None
    _child: subprocess.Popen[bytes] | None = field(default=None, repr=False, compare=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def state(self) -> Path:
        return self.folder / "state.json"

    @property
    def running(self) -> bool:
        if self._child is not None:
            return self._child.poll() is None
        return self.process is not None and processes.alive(self.process, processes.process_table())

    @property
    def credentials(self) -> dict[str, str]:
        """The administrator's: email, password, legacy_token and, once it has been started, token."""
        path = self.folder / "credentials.json"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            made = {"email": ADMIN, "password": secrets.token_urlsafe(16), "legacy_token": secrets.token_hex(20)}
            self._keep(made)
        return dict(json.loads(path.read_text(encoding="utf-8")))

    def _keep(self, credentials: dict[str, str]) -> None:
        staged = self.folder / "credentials.tmp"
        staged.unlink(missing_ok=True)
        staged.touch(mode=0o600)
        staged.write_text(json.dumps(credentials, indent=2) + "\n", encoding="utf-8")
        staged.replace(self.folder / "credentials.json")

    def start(self, *, timeout: float = 300.0) -> None:
        """Starts it and waits until it is ready; does nothing when it runs. Raises LabelStudioError."""
        if self.running:
            return
        home = install()
        if is_busy(self.port):  # Label Studio would take another one without a word
            raise LabelStudioError(
                f"port {self.port} on 127.0.0.1 is in use: choose another --port, or stop what listens there"
            )
        private_folder(self.data)  # a database with tokens, a secret key, what people answered
        if not (self.data / DATABASE).exists():
            shutil.copyfile(home.empty_database, self.data / f".{DATABASE}")
            (self.data / f".{DATABASE}").rename(self.data / DATABASE)
        known = self.credentials
        first_user = {
            "LABEL_STUDIO_USERNAME": known["email"],
            "LABEL_STUDIO_PASSWORD": known["password"],
            "LABEL_STUDIO_USER_TOKEN": known["legacy_token"],
        }
        with self.log.open("wb") as output:
            self._child = subprocess.Popen(
                [home.program, "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(self.port)],
                cwd=self.folder,
                env={**_environment(self.data), **first_user, "LABEL_STUDIO_ALLOWED_HOSTS": HOSTS},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        with contextlib.suppress(ProcessLookupError):  # it died at once; _wait_ready says so
            self.process = processes.identify(self._child.pid)
        self.save()
        try:
            self._wait_ready(timeout)
            if "token" not in known:
                self._keep({**known, "token": self._personal_token(known["legacy_token"])})
        except BaseException:
            self.stop()
            raise

    def _wait_ready(self, timeout: float) -> None:
        """Until our own server answers: one that knows the account that only ours has."""
        deadline = time.monotonic() + timeout
        while not self.answers():
            if not self.running:
                raise LabelStudioError(f"Label Studio ended; {tail(self.log)}")
            if time.monotonic() > deadline:
                raise LabelStudioError(f"Label Studio is not ready after {timeout:.0f} s; {tail(self.log)}")
            time.sleep(0.2)

    def answers(self) -> bool:
        """Whether it is this server that answers at its port."""
        known = self.credentials
        headers = {"authorization": f"Token {known['legacy_token']}"}
        try:
            found = httpx.get(f"{self.url}/api/current-user/whoami", headers=headers, timeout=10, trust_env=False)
            return found.is_success and found.json().get("email") == known["email"]
        except (httpx.HTTPError, ValueError):
            return False

    def _personal_token(self, legacy: str) -> str:
        headers = {"authorization": f"Token {legacy}"}
        made = httpx.post(f"{self.url}/api/token/", headers=headers, timeout=30, trust_env=False)
        if not made.is_success:
            raise LabelStudioError(f"no personal access token could be made: {made.status_code} {made.text[:200]}")
        return str(made.json()["token"])

    def add_users(self, users: dict[str, str]) -> dict[str, str]:
        """Accounts (e-mail: password) that may label; those that are there stay. Returns their legacy tokens."""
        said = install().run(_ADD_USERS, self.data, given=json.dumps(users))
        return dict(json.loads(said.rpartition("TOKENS ")[2]))

    def stop(self) -> None:
        """Asks it to end (SIGTERM) and kills it when it does not; does nothing when it does not run."""
        if self.process is not None:
            _, left = processes.stop([self.process], grace=STOP_GRACE)
            if left:
                pids = ", ".join(str(process.pid) for process in left)
                raise LabelStudioError(f"still running after SIGKILL: {pids}")
        if self._child is not None:
            self._child.wait()
        self.state.unlink(missing_ok=True)

    def kill(self) -> None:
        """SIGKILL: what a crash leaves."""
        if self.process is not None and self.running:
            os.kill(self.process.pid, signal.SIGKILL)
            while self.running:
                time.sleep(0.05)

    def save(self) -> None:
        kept = {"port": self.port, "process": asdict(self.process) if self.process else None}
        staged = self.state.with_suffix(".tmp")
        staged.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
        staged.replace(self.state)

    @classmethod
    def load(cls, folder: Path) -> Server | None:
        """What `start` started in this folder, to look at and to stop; None when nothing."""
        path = folder / "state.json"
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            return cls(folder, int(kept["port"]), Process(**kept["process"]) if kept["process"] else None)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise LabelStudioError(
                f"{path} is not a state file of this program ({error}); remove it by hand"
            ) from error


# -- commands ---------------------------------------------------------------------------------------------------------


def up(folder: Path, *, port: int) -> None:
    running = Server.load(folder)
    if running is not None and running.running:
        print(f"Label Studio is running already: {running.url}")
        return
    folder.mkdir(parents=True, exist_ok=True)
    server = Server(folder, port)
    server.start()
    print(f"Label Studio is ready: {server.url}, user {ADMIN}")
    print(f"Password and token are in {folder / 'credentials.json'}. To send batches there:")
    print(f"  export RERANKOPS__ANNOTATION__CHANNEL=label_studio RERANKOPS__LABEL_STUDIO__URL={server.url}")
    code = "import json, sys; print(json.load(open(sys.argv[1]))['token'])"
    print(f'  export RERANKOPS_LABEL_STUDIO_TOKEN=$(python3 -c "{code}" {folder / "credentials.json"})')


def down(folder: Path) -> None:
    server = Server.load(folder)
    if server is None:
        print("Label Studio is not running.")
        return
    server.stop()
    print("Label Studio is stopped.")


def status(folder: Path) -> bool:
    """Prints what runs; True when it answers."""
    server = Server.load(folder)
    if server is None:
        print("Label Studio is not running.")
        return False
    answers = server.running and server.answers()
    state = "answers" if answers else "does not answer" if server.running else "dead"
    print(f"  pid {server.process.pid if server.process else '-':<8} {server.url:<24} {state}")
    return answers


# -- command line -----------------------------------------------------------------------------------------------------


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["start", "stop", "status"])
    parser.add_argument(
        "--root", type=Path, default=PROJECT / STATE_FOLDER, help="where label-studio/ with all state is"
    )
    parser.add_argument("--port", type=port_number, default=PORT, help=f"default {PORT}")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    given = _arguments(arguments)
    folder: Path = given.root.resolve() / "label-studio"
    try:
        if given.command == "status":
            return 0 if status(folder) else 1
        with only_one(folder / "lock"):
            if given.command == "start":
                up(folder, port=given.port)
            else:
                down(folder)
    except LabelStudioError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
