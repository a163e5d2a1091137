"""scripts/local_elasticsearch.py: which JDK it takes, what it keeps, what it refuses; nothing is started."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys

import pytest


@pytest.fixture
def local(script):
    return script("local_elasticsearch")


# -- the JDK ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def jvm(tmp_path):
    """A folder for JDKs, and what makes one in it: with a release file, or a `java` that tells its version."""

    def make(name, version=None, *, told=None, compiler=True):
        programs = tmp_path / "jvm" / name / "bin"
        programs.mkdir(parents=True)
        for program in ["java", "javac"] if compiler else ["java"]:
            (programs / program).write_text(f"#!/bin/sh\necho 'openjdk version \"{told}\" 2025-01-01' >&2\n")
            (programs / program).chmod(0o755)
        if version:
            (programs.parent / "release").write_text(f'IMPLEMENTOR="Someone"\nJAVA_VERSION="{version}"\n')
        return programs.parent

    make.folder = tmp_path / "jvm"
    return make


def test_java_home_is_taken_when_it_is_new_enough(local, jvm):
    jvm("java-21", "21.0.2")
    given = jvm("java-25", "25")
    assert local.find_jdk({"JAVA_HOME": str(given)}, [jvm.folder]) == given


def test_an_old_java_home_gives_way_to_the_oldest_that_is_new_enough(local, jvm):
    given = jvm("java-17", "17.0.15")
    jvm("java-25", "25.0.1")
    wanted = jvm("java-21", "21.0.2")
    jvm("java-8", "1.8.0_292")
    assert local.find_jdk({"JAVA_HOME": str(given)}, [jvm.folder]) == wanted


def test_a_jdk_beside_the_default_java_is_found(local, jvm, tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "java").symlink_to(jvm("java-17", "17.0.15") / "bin" / "java")
    wanted = jvm("temurin-25", "25.0.1")
    assert local.find_jdk({"PATH": str(programs)}, []) == wanted


def test_a_jdk_of_macos_is_found(local, jvm):
    assert local.find_jdk({"PATH": ""}, [jvm("temurin-25/Contents/Home", "25.0.1").parents[2]]).name == "Home"


@pytest.mark.parametrize(
    ("told", "new_enough"), [("21.0.2", True), ("22-ea", True), ("17.0.15", False), ("1.8.0", False)]
)
def test_a_jdk_without_a_release_file_is_asked(local, jvm, told, new_enough):
    home = jvm("one", told=told)
    if new_enough:
        assert local.find_jdk({"PATH": ""}, [jvm.folder]) == home
    else:
        with pytest.raises(local.MissingToolError):
            local.find_jdk({"PATH": ""}, [jvm.folder])


def test_without_a_jdk_one_line_says_what_to_install(local, jvm, tmp_path, monkeypatch, capsys):
    jvm("java-17", "17.0.15")
    jvm("jre-25", "25.0.1", compiler=False)
    monkeypatch.setattr(local, "JDK_FOLDERS", (jvm.folder,))
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(local, "is_busy", lambda _port: False)
    assert local.main(["start", "--root", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        "error: Elasticsearch needs a JDK 21 or newer: install one (Debian: openjdk-21-jdk-headless or "
        "temurin-21-jdk) or set JAVA_HOME\n"
    )


# -- the build --------------------------------------------------------------------------------------------------------


def test_a_build_has_its_name_from_version_and_sources_and_is_not_made_twice(local, tmp_path):
    sources = tmp_path / "sources"
    shutil.copytree(local.SOURCES, sources, ignore=shutil.ignore_patterns("target"))
    digest = local._digest(sources)
    (sources / "target").mkdir()
    (sources / "target" / "some.jar").touch()
    assert local._digest(sources) == digest == local._digest(local.SOURCES)
    made = tmp_path / "cache" / f"{local._version(sources)}-{digest}"
    made.mkdir(parents=True)
    assert local.build(tmp_path / "no-jdk", sources=sources, cache=tmp_path / "cache") == made
    pom = sources / "pom.xml"
    pom.write_text(pom.read_text() + "\n")
    assert local._digest(sources) != digest


def test_without_maven_one_line_says_so(local, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(local.MissingToolError, match="install it") as missing:
        local.build(tmp_path, cache=tmp_path / "cache")
    assert missing.value.status == 2
    assert "\n" not in str(missing.value)


def test_a_build_that_fails_leaves_its_last_words_and_nothing_in_the_cache(local, tmp_path, monkeypatch):
    maven = tmp_path / "bin" / "mvn"
    maven.parent.mkdir()
    maven.write_text("#!/bin/sh\necho 'cannot resolve a thing'\nexit 3\n")
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", str(maven.parent))
    with pytest.raises(local.ElasticsearchError, match=r"ended with code 3:\ncannot resolve a thing"):
        local.build(tmp_path, cache=tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["build.lock"]


# -- the state --------------------------------------------------------------------------------------------------------


@pytest.fixture
def sleeper(script):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    yield script("processes").identify(child.pid)
    child.kill()
    child.wait()


def test_a_cluster_is_found_again_by_its_state_file(local, sleeper, tmp_path):
    cluster = local.Cluster.of(tmp_path, [(9200, 9300), (9201, 9301), (9202, 9302)])
    cluster.nodes[0].process = sleeper
    cluster.save()
    found = local.Cluster.load(tmp_path)
    assert found.urls == ["http://127.0.0.1:9200", "http://127.0.0.1:9201", "http://127.0.0.1:9202"]
    assert [node.process for node in found.nodes] == [sleeper, None, None]
    assert [node.running for node in found.nodes] == [True, False, False]
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_one_node_is_alone_and_three_know_of_one_another(local, tmp_path):
    [alone] = local.Cluster.of(tmp_path, [(1, 2)]).nodes
    assert alone.settings == {"discovery.type": "single-node"}
    for node in local.Cluster.of(tmp_path, [(1, 2), (3, 4), (5, 6)]).nodes:
        assert node.settings == {
            "discovery.seed_hosts": "127.0.0.1:2,127.0.0.1:4,127.0.0.1:6",
            "cluster.initial_master_nodes": "node-1,node-2,node-3",
        }


def test_after_a_reboot_no_stranger_is_stopped(local, sleeper, tmp_path, capsys):
    state = {"pid": sleeper.pid, "parent": 1, "session": sleeper.pid, "started": "another boot/1"}
    node = {"name": "node-1", "url": "", "port": 9200, "transport_port": 9300, "process": state}
    folder = tmp_path / "elasticsearch"
    folder.mkdir()
    (folder / "state.json").write_text(json.dumps({"nodes": [node]}))
    assert local.main(["status", "--root", str(tmp_path)]) == 1
    assert "dead" in capsys.readouterr().out
    assert local.main(["stop", "--root", str(tmp_path)]) == 0
    assert not (folder / "state.json").exists()
    os.kill(sleeper.pid, 0)


@pytest.mark.parametrize("text", ["[]", "{}", "no json", '{"nodes": [{"name": "node-1"}]}'])
def test_a_state_file_of_something_else_is_an_error_in_words(local, tmp_path, capsys, text):
    (tmp_path / "elasticsearch").mkdir()
    (tmp_path / "elasticsearch" / "state.json").write_text(text)
    assert local.main(["stop", "--root", str(tmp_path)]) == 1
    assert "is not a state file of this program" in capsys.readouterr().err


# -- what start refuses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 100])
def test_a_busy_port_is_named_and_nothing_starts(local, tmp_path, capsys, offset):
    with contextlib.ExitStack() as listeners:
        while True:
            busy = listeners.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
            if not offset or not local.is_busy(busy - offset):  # as a connection that ended a moment ago leaves it
                break
        assert local.main(["start", "--root", str(tmp_path), "--port", str(busy - offset)]) == 1
    assert f"port {busy} on 127.0.0.1 is in use: choose another --port" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "elasticsearch").iterdir()] == ["lock"]


def test_data_of_another_number_of_nodes_are_not_started(local, tmp_path, capsys):
    for number in (1, 2, 3):
        (tmp_path / "elasticsearch" / f"node-{number}").mkdir(parents=True)
    assert local.main(["start", "--root", str(tmp_path)]) == 1
    assert "has the data of 3 nodes: start as many (--nodes 3)" in capsys.readouterr().err


def test_stop_and_status_of_nothing_are_harmless(local, tmp_path, capsys):
    assert local.main(["stop", "--root", str(tmp_path)]) == 0
    assert local.main(["status", "--root", str(tmp_path)]) == 1
    assert capsys.readouterr().out.count("Elasticsearch is not running.") == 2
