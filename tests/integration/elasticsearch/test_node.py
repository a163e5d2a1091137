"""scripts/local_elasticsearch.py for real: servers with data, crashes, clusters, and nothing left behind."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch, helpers
from elasticsearch_node import GIVEN, SCRIPTS, script

from rerankops.demo import runner

PROJECT = SCRIPTS.parent


def servers_of(folder: Path) -> list[int]:
    """Live processes with this folder in their command, from the system, not from what the script believes."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"={folder}/".encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    own = {**os.environ, **environment}
    return subprocess.run(command, cwd=PROJECT, env=own, capture_output=True, text=True, timeout=400)


def terms(client: Elasticsearch, analyzer: str, text: str) -> list[str]:
    return [token["token"] for token in client.indices.analyze(analyzer=analyzer, text=text)["tokens"]]


@pytest.mark.parametrize(
    ("analyzer", "text", "expected"),
    [
        ("cjk", "如何开启ESP", ["如何", "何开", "开启", "esp"]),
        ("smartcn", "如何开启后备箱", ["如何", "开启", "后备", "箱"]),
        ("english", "The seats are heated", ["seat", "heat"]),
        ("standard", "The seats", ["the", "seats"]),
    ],
)
def test_the_analyzers_of_a_full_distribution_are_there(elasticsearch_url, analyzer, text, expected):
    with Elasticsearch(elasticsearch_url, request_timeout=60) as client:
        assert terms(client, analyzer, text) == expected


def test_a_server_that_is_given_is_used_and_none_is_started(elasticsearch_url, tmp_path):
    (tmp_path / "conftest.py").write_text("from elasticsearch_node import elasticsearch_url\n")
    (tmp_path / "test_given.py").write_text(
        f"def test_it(elasticsearch_url):\n    assert elasticsearch_url == {elasticsearch_url!r}\n"
    )
    result = run_pytest(tmp_path, **{GIVEN: elasticsearch_url + "/", "PATH": "", "JAVA_HOME": ""})
    assert "1 passed" in result.stdout, result.stdout


def test_without_a_jdk_a_test_fails_and_says_what_to_install(tmp_path):
    (tmp_path / "conftest.py").write_text(
        "import elasticsearch_node\nfrom elasticsearch_node import elasticsearch_url\n"
        "elasticsearch_node.script().JDK_FOLDERS = ()\n"
    )
    (tmp_path / "test_none.py").write_text("def test_it(elasticsearch_url):\n    pass\n")
    result = run_pytest(tmp_path, **{GIVEN: "", "PATH": "", "JAVA_HOME": ""})
    assert result.returncode == 1
    assert "Elasticsearch needs a JDK 21 or newer: install one" in result.stdout
    assert "skipped" not in result.stdout


def run_pytest(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    options = ["-p", "no:cacheprovider", "-o", f"pythonpath={PROJECT / 'tests'}", f"--basetemp={folder / 'tmp'}"]
    return run("-m", "pytest", f"--rootdir={folder}", "-c", os.devnull, *options, folder, **environment)


def test_start_crash_start_stop(tmp_path):
    port, _ = script().free_ports(2)
    started = command(tmp_path, "start", "--port", str(port), "--heap", "400m")
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        assert started.stdout.splitlines()[-1] == f"Elasticsearch is ready: http://127.0.0.1:{port}"
        folder = tmp_path / "elasticsearch"
        state = (folder / "state.json").read_text()
        [node] = json.loads(state)["nodes"]
        assert servers_of(folder) == [node["process"]["pid"]]

        again = command(tmp_path, "start")
        assert (again.returncode, f"running already: {node['url']}" in again.stdout) == (0, True)
        assert (folder / "state.json").read_text() == state
        assert command(tmp_path, "status").returncode == 0

        with Elasticsearch(node["url"], request_timeout=60) as client:
            client.indices.create(index="crash", settings={"number_of_replicas": 0})
            helpers.bulk(client, ({"_index": "crash", "_id": n, "text": "kept"} for n in range(50)))
            cluster = script().Cluster.load(folder)
            cluster.nodes[0].kill()
            assert servers_of(folder) == []
            assert "dead" in command(tmp_path, "status").stdout
            refused = command(tmp_path, "start", "--nodes", "3")
            assert (refused.returncode, "has the data of 1 node:" in refused.stderr) == (1, True)
            assert command(tmp_path, "start", "--port", str(port)).returncode == 0
            client.indices.refresh(index="crash")
            assert client.count(index="crash")["count"] == 50
    finally:
        stopped = command(tmp_path, "stop")
    assert (stopped.returncode, stopped.stdout) == (0, "Elasticsearch is stopped.\n")
    assert servers_of(folder) == []
    assert not (folder / "state.json").exists()
    assert command(tmp_path, "stop").stdout == "Elasticsearch is not running.\n"


def command(root: Path, name: str, *options: str) -> subprocess.CompletedProcess[str]:
    return run(SCRIPTS / "local_elasticsearch.py", name, "--root", root, *options)


def test_three_nodes_are_one_cluster_and_answer_without_one_of_them(three_nodes):
    first, second, third = three_nodes.nodes
    with Elasticsearch(three_nodes.urls, request_timeout=60) as client:
        health = client.cluster.health(wait_for_status="green", timeout="50s")
        assert (health["number_of_nodes"], health["timed_out"]) == (3, False)
        client.indices.create(index="shared", settings={"number_of_shards": 3, "number_of_replicas": 1})
        helpers.bulk(client, ({"_index": "shared", "_id": n, "text": "kept"} for n in range(60)), refresh=True)
        client.cluster.health(index="shared", wait_for_status="green", timeout="50s")
    third.kill()
    for survivor in (first, second):
        survivor.wait_ready(nodes=2)
        with Elasticsearch(survivor.url, request_timeout=60) as client:
            assert client.count(index="shared")["count"] == 60
    third.start()
    third.wait_ready(nodes=3)
    with Elasticsearch(third.url, request_timeout=60) as client:
        assert client.cluster.health(wait_for_status="green", timeout="50s")["status"] == "green"
        assert client.count(index="shared")["count"] == 60


def test_the_demo_takes_its_port_again_as_soon_as_its_node_has_left_it_and_another_while_somebody_is_there(monkeypatch):
    [wanted] = script().free_ports(1)
    monkeypatch.setattr(runner, "_PORT", wanted)
    with socket.create_server(("127.0.0.1", wanted)) as node:
        client = socket.create_connection(("127.0.0.1", wanted))
        there, _ = node.accept()
        assert runner._port() != wanted
        there.close()  # the node hangs up first, as when it is stopped, so its end of the connection lingers
        client.recv(1)
        client.close()
    assert runner._port() == wanted
