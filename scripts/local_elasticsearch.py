"""A real Elasticsearch on 127.0.0.1 for development and tests, in the background, without containers.

    python scripts/local_elasticsearch.py start   start it, wait until it answers and print its URL
    python scripts/local_elasticsearch.py status  what runs and whether it is healthy
    python scripts/local_elasticsearch.py stop    stop exactly what `start` started; its data stay

With --end-with-stdin, `start` and the nodes end as soon as whoever holds their standard input is gone.

It is the server that Elastic publishes as Maven artefacts, put together by tests/elasticsearch: built once, with Maven
and a JDK of 21 or newer, into ~/.cache/rerankops/elasticsearch. All state is in ROOT/elasticsearch: state.json, and a
folder a node with its data and node.log. What Elastic does not publish is missing: `GET /` (405), scripts, reindex,
delete-by-query and update-by-query, security, and analyzers other than standard, simple, whitespace, keyword, stop,
cjk, english and smartcn.

The name must not be elasticsearch.py: scripts/ is on the path of the programs in it, and the client is called that.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import httpx
import processes
from airflow_env import STATE_FOLDER
from processes import Process
from services import LOG_TAIL, free_ports, is_busy, only_one, port_number, tail

from rerankops import lifeline

PROJECT = Path(__file__).resolve().parents[1]
SOURCES = PROJECT / "tests" / "elasticsearch"
CACHE = Path.home() / ".cache" / "rerankops" / "elasticsearch"
OLDEST_JDK = 21
JDK_FOLDERS = (Path("/usr/lib/jvm"), Path("/Library/Java/JavaVirtualMachines"))
PORT = 9200
TRANSPORT = 100
"""A node of `start` talks to the others this far above its own port: 9200 and 9300, as everywhere."""
STOP_GRACE = 20.0


class ElasticsearchError(Exception):
    """What a person has to know, in words; the command ends with `status`."""

    status = 1


class MissingToolError(ElasticsearchError):
    """Something has to be installed first."""

    status = 2


# -- the server: a JDK and the jars -----------------------------------------------------------------------------------


def find_jdk(environment: Mapping[str, str] = os.environ, folders: Iterable[Path] | None = None) -> Path:
    """JAVA_HOME when it is new enough, else the JDK of the default `java`, else the oldest that is new enough of those
    beside it and in `folders` (JDK_FOLDERS). Raises MissingToolError when there is none."""
    preferred = [Path(given)] if (given := environment.get("JAVA_HOME")) else []
    folders = list(JDK_FOLDERS if folders is None else folders)
    if java := shutil.which("java", path=environment.get("PATH")):
        preferred.append(Path(java).resolve().parents[1])
        folders.append(preferred[-1].parent)
    for home in preferred:
        if (_jdk_version(home) or 0) >= OLDEST_JDK:
            return home
    beside = {home.resolve() for folder in folders for home in [*folder.glob("*"), *folder.glob("*/Contents/Home")]}
    usable = [(version, home) for home in beside if (version := _jdk_version(home) or 0) >= OLDEST_JDK]
    if not usable:
        raise MissingToolError(
            f"Elasticsearch needs a JDK {OLDEST_JDK} or newer: install one (Debian: openjdk-21-jdk-headless or "
            "temurin-21-jdk) or set JAVA_HOME"
        )
    return min(usable)[1]


def _jdk_version(home: Path) -> int | None:
    """21 for 21.0.2, 8 for 1.8.0; None for what is no JDK (a runtime without compiler is none)."""
    java, release = home / "bin" / "java", home / "release"
    if not (java.is_file() and (home / "bin" / "javac").is_file()):
        return None
    text = release.read_text(encoding="utf-8", errors="replace") if release.is_file() else ""
    if "JAVA_VERSION=" not in text:
        with contextlib.suppress(OSError):
            text = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'(?:JAVA_VERSION=|version )"(?:1\.)?(\d+)', text)
    return int(found[1]) if found else None


def build(jdk: Path, *, sources: Path = SOURCES, cache: Path = CACHE) -> Path:
    """The folder with lib/, modules/, config/ and plugins/ for these sources, from the cache or built now.

    Raises MissingToolError without Maven, ElasticsearchError when the build fails.
    """
    home = cache / f"{_version(sources)}-{_digest(sources)}"
    if home.is_dir():
        return home
    with only_one(cache / "build.lock"):
        if home.is_dir():  # another process built it while we waited
            return home
        maven = shutil.which("mvn")
        if maven is None:
            raise MissingToolError(
                "Elasticsearch is put together by Maven: install it (Debian: maven) so that `mvn` works"
            )
        print(f"Building the Elasticsearch node, once, in {cache}", flush=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="building-") as staging:
            shutil.copytree(sources, staging, dirs_exist_ok=True, ignore=shutil.ignore_patterns("target"))
            command = [maven, "--batch-mode", "--quiet", "package"]
            own = {**os.environ, "JAVA_HOME": str(jdk)}
            built = subprocess.run(command, cwd=staging, env=own, capture_output=True, text=True, check=False)
            if built.returncode != 0:
                last = "\n".join((built.stdout + built.stderr).splitlines()[-LOG_TAIL:])
                raise ElasticsearchError(f"`mvn package` in {sources} ended with code {built.returncode}:\n{last}")
            made = Path(staging, "target", "home")
            for folder in ("config", "plugins"):
                (made / folder).mkdir()
            made.rename(home)
        _archive_classes(jdk, home)
    return home


def _archive_classes(jdk: Path, home: Path) -> None:
    """Lets the JVM keep the classes of a start-up in a file beside the jars, which halves the time of every later one.
    A JVM that cannot use the file (of another JDK, say) goes without."""
    with tempfile.TemporaryDirectory(dir=home, prefix="archive-") as staging:
        archive = Path(staging, "classes.jsa")
        port, transport_port = free_ports(2)
        options = (f"-XX:ArchiveClassesAtExit={archive}",)
        node = Node(Path(staging, "node-1"), port, transport_port, jvm=options, ends_with="starter")
        try:
            node.spawn(jdk, home)
            node.wait_ready()
        finally:
            node.stop()
        if archive.is_file():
            archive.rename(home / archive.name)


def _version(sources: Path) -> str:
    found = re.search(r"<elasticsearch.version>(.+)</", (sources / "pom.xml").read_text(encoding="utf-8"))
    if found is None:
        raise ElasticsearchError(f"{sources / 'pom.xml'} names no elasticsearch.version")
    return found[1]


def _digest(sources: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted([sources / "pom.xml", *(sources / "src").rglob("*")]):
        if path.is_file():
            content = path.read_bytes()
            digest.update(f"{path.relative_to(sources).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:12]


# -- nodes and clusters -----------------------------------------------------------------------------------------------


@dataclass
class Node:
    """One server process. folder: its data and node.log, named as the node; heap: as Java's -Xmx; settings: more of
    Elasticsearch's; jvm: more options of Java's. The data outlive stop() and kill(): start() finds them again.

    ends_with: `starter`, this process; `stdin`, whoever holds this process's standard input; None: nobody."""

    folder: Path
    port: int
    transport_port: int
    heap: str = "512m"
    settings: dict[str, str] = field(default_factory=lambda: {"discovery.type": "single-node"})
    jvm: tuple[str, ...] = ()
    ends_with: Literal["starter", "stdin"] | None = None
    process: Process | None = None
    _child: subprocess.Popen[bytes] | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "node.log"

    @property
    def running(self) -> bool:
        if self._child is not None:
            return self._child.poll() is None
        return self.process is not None and processes.alive(self.process, processes.process_table())

    def start(self) -> None:
        """Starts it and waits until it is ready; does nothing when it runs."""
        if not self.running:
            jdk = find_jdk()
            self.spawn(jdk, build(jdk))
            self.wait_ready()

    def stop(self) -> None:
        """Asks it to end (SIGTERM) and kills it when it does not; does nothing when it does not run."""
        stop([self])

    def kill(self) -> None:
        """SIGKILL: what a crash leaves."""
        if self.process is not None and self.running:
            os.kill(self.process.pid, signal.SIGKILL)
            while self.running:
                time.sleep(0.05)

    def restart(self) -> None:
        self.stop()
        self.start()

    def spawn(self, jdk: Path, home: Path) -> None:
        """The process alone; wait_ready() is for the caller."""
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "path.home": home,
            "path.data": self.folder / "data",
            "path.logs": self.folder / "logs",
            "cluster.name": "rerankops",
            "node.name": self.name,
            "network.host": "127.0.0.1",
            "http.port": self.port,
            "http.type": "netty4",
            "transport.port": self.transport_port,
            "transport.type": "netty4",
            "cluster.routing.allocation.disk.threshold_enabled": "false",  # a full disk of a laptop is not our subject
            "logger.level": "INFO",
            **self.settings,
        }
        command = [
            *(str(jdk / "bin" / "java"), f"-Xmx{self.heap}", "-XX:+UseSerialGC", "-Xlog:cds=off"),
            *(["-XX:SharedArchiveFile=" + str(home / "classes.jsa")] if (home / "classes.jsa").is_file() else []),
            *(["-Drerankops.end-with-stdin=true"] if self.ends_with else []),
            *("--add-modules", "jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED", *self.jvm),
            *(f"-Des.path.home={home}", "-cp", f"{home}/lib/*", "dev.rerankops.elasticsearch.Launcher"),
            *(f"-E{name}={value}" for name, value in settings.items()),
        ]
        with self.log.open("wb") as output:
            self._child = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin={None: subprocess.DEVNULL, "starter": subprocess.PIPE, "stdin": None}[self.ends_with],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        with contextlib.suppress(ProcessLookupError):  # it died at once; wait_ready says so
            self.process = processes.identify(self._child.pid)

    def wait_ready(self, *, nodes: int | None = None, timeout: float = 300.0) -> None:
        """Until it knows of no primary shard that is missing and, when given, of that many nodes. Raises
        ElasticsearchError with the end of the log when that does not come."""
        deadline = time.monotonic() + timeout
        wanted = {"wait_for_status": "yellow", "timeout": "1s"} | ({"wait_for_nodes": str(nodes)} if nodes else {})
        while self.health(**wanted) is None:
            if not self.running:
                raise ElasticsearchError(f"{self.name} ended; {tail(self.log)}")
            if time.monotonic() > deadline:
                raise ElasticsearchError(f"{self.name} is not ready after {timeout:.0f} s; {tail(self.log)}")
            time.sleep(0.1)

    def health(self, **wanted: str) -> str | None:
        """green, yellow or red; None when it does not answer, or not as `wanted` (parameters of _cluster/health)."""
        try:
            answer = httpx.get(f"{self.url}/_cluster/health", params=wanted, timeout=10, trust_env=False)
        except httpx.HTTPError:
            return None
        return str(answer.json()["status"]) if answer.is_success else None


def stop(nodes: Sequence[Node]) -> None:
    """Stops all of them at once. Raises ElasticsearchError with the pids that even SIGKILL left."""
    _, left = processes.stop([node.process for node in nodes if node.process is not None], grace=STOP_GRACE)
    if left:
        raise ElasticsearchError(f"still running after SIGKILL: {', '.join(str(process.pid) for process in left)}")
    for node in nodes:
        if node._child is not None:
            node._child.wait()


@dataclass
class Cluster:
    """Nodes that belong together, in one folder with their state.json. starter: with whom they end; None: nobody."""

    folder: Path
    nodes: list[Node]
    starter: Process | None = None

    @classmethod
    def of(
        cls,
        folder: Path,
        ports: Sequence[tuple[int, int]],
        *,
        heap: str = "512m",
        jvm: tuple[str, ...] = (),
        ends_with: Literal["starter", "stdin"] | None = None,
    ) -> Cluster:
        """A node for each pair of ports (HTTP, transport): node-1, node-2, …"""
        names = [f"node-{number}" for number, _ in enumerate(ports, 1)]
        together = {
            "discovery.seed_hosts": ",".join(f"127.0.0.1:{transport}" for _, transport in ports),
            "cluster.initial_master_nodes": ",".join(names),
        }
        settings = together if len(ports) > 1 else {"discovery.type": "single-node"}
        pairs = zip(names, ports, strict=True)
        made = [Node(folder / name, *pair, heap, dict(settings), jvm, ends_with) for name, pair in pairs]
        starter = {"starter": os.getpid, "stdin": os.getppid}[ends_with]() if ends_with else None
        return cls(folder, made, processes.identify(starter) if starter else None)

    @property
    def url(self) -> str:
        return self.nodes[0].url

    @property
    def urls(self) -> list[str]:
        return [node.url for node in self.nodes]

    @property
    def state(self) -> Path:
        return self.folder / "state.json"

    @property
    def abandoned(self) -> bool:
        """Its nodes were to end with a process that is gone: they have, or are about to."""
        return self.starter is not None and not processes.alive(self.starter, processes.process_table())

    def start(self) -> None:
        """Starts all nodes and waits until each has found the others; whatever stops this stops them."""
        jdk = find_jdk()
        home = build(jdk)
        try:
            for node in self.nodes:
                node.spawn(jdk, home)
                self.save()
            for node in self.nodes:
                node.wait_ready(nodes=len(self.nodes))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        stop(self.nodes)
        self.state.unlink(missing_ok=True)

    def save(self) -> None:
        kept = [
            {"name": node.name, "url": node.url, "port": node.port, "transport_port": node.transport_port}
            | {"process": asdict(node.process) if node.process else None}
            for node in self.nodes
        ]
        staged = self.state.with_suffix(".tmp")
        whole = {"nodes": kept, "starter": asdict(self.starter) if self.starter else None}
        staged.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
        staged.replace(self.state)

    @classmethod
    def load(cls, folder: Path) -> Cluster | None:
        """What `start` started in this folder, to look at and to stop; None when nothing."""
        cluster = cls(folder, [])
        try:
            whole = json.loads(cluster.state.read_text(encoding="utf-8"))
            cluster.starter = Process(**whole["starter"]) if whole.get("starter") else None
            for kept in whole["nodes"]:
                process = Process(**kept["process"]) if kept["process"] else None
                node = Node(folder / kept["name"], kept["port"], kept["transport_port"], process=process)
                cluster.nodes.append(node)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ElasticsearchError(
                f"{cluster.state} is not a state file of this program ({error}); remove it by hand"
            ) from error
        return cluster


# -- commands ---------------------------------------------------------------------------------------------------------


def up(folder: Path, *, port: int, nodes: int, heap: str, ends_with: Literal["stdin"] | None = None) -> None:
    running = Cluster.load(folder)
    if running is not None and running.abandoned:
        running.stop()  # two nodes at once on the same data would not do
        running = None
    if running is not None and any(node.running for node in running.nodes):
        dead = [node.name for node in running.nodes if not node.running]
        if dead:
            which = ", ".join(dead)
            raise ElasticsearchError(f"{which} died (logs in {folder}); stop the rest: make elasticsearch-stop")
        print(f"Elasticsearch is running already: {' '.join(running.urls)}")
        return
    kept = len(list(folder.glob("node-*")))
    if kept not in {0, nodes}:  # a node knows how many it was born with
        raise ElasticsearchError(
            f"{folder} has the data of {kept} node{'s' * (kept > 1)}: start as many (--nodes {kept}), choose another "
            "--root, or remove the folder to begin anew"
        )
    ports = [(port + number, port + number + TRANSPORT) for number in range(nodes)]
    for busy in filter(is_busy, (one for pair in ports for one in pair)):
        raise ElasticsearchError(
            f"port {busy} on 127.0.0.1 is in use: choose another --port, or stop what listens there"
        )
    cluster = Cluster.of(folder, ports, heap=heap, ends_with=ends_with)
    cluster.start()
    print(f"Elasticsearch is ready: {' '.join(cluster.urls)}")


def down(folder: Path) -> None:
    cluster = Cluster.load(folder)
    if cluster is None:
        print("Elasticsearch is not running.")
        return
    cluster.stop()
    print("Elasticsearch is stopped.")


def status(folder: Path) -> bool:
    """Prints what runs; True when everything does and is healthy."""
    cluster = Cluster.load(folder)
    if cluster is None:
        print("Elasticsearch is not running.")
        return False
    states = [node.health() or "does not answer" if node.running else "dead" for node in cluster.nodes]
    for node, state in zip(cluster.nodes, states, strict=True):
        print(f"  {node.name:<8} pid {node.process.pid if node.process else '-':<8} {node.url:<24} {state}")
    if cluster.abandoned:
        print("  whoever started it is gone, and so is it in a moment")
    return set(states) <= {"green", "yellow"} and not cluster.abandoned


# -- command line -----------------------------------------------------------------------------------------------------


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["start", "stop", "status"])
    parser.add_argument(
        "--root", type=Path, default=PROJECT / STATE_FOLDER, help="where elasticsearch/ with all state is"
    )
    parser.add_argument(
        "--port",
        type=partial(port_number, highest=65000),
        default=PORT,
        help=f"of the first node (default {PORT}); the others follow",
    )
    parser.add_argument("--nodes", type=int, choices=[1, 3], default=1)
    parser.add_argument("--heap", default="512m", help="of each node (default 512m)")
    parser.add_argument("--end-with-stdin", action="store_true", help="`start` and the nodes end when it does")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    given = _arguments(arguments)
    folder: Path = given.root.resolve() / "elasticsearch"
    if given.end_with_stdin:
        lifeline.end_group_with_stdin()
    try:
        if given.command == "status":
            return 0 if status(folder) else 1
        with only_one(folder / "lock"):
            if given.command == "start":
                ends_with: Literal["stdin"] | None = "stdin" if given.end_with_stdin else None
                up(folder, port=given.port, nodes=given.nodes, heap=given.heap, ends_with=ends_with)
            else:
                down(folder)
    except ElasticsearchError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return problem.status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
