"""scripts/airflow_env.py and scripts/make_env.py: what they generate, once, for whom."""

import base64
import json
import multiprocessing
import re
import stat
from pathlib import Path

import pytest


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_secrets_and_password_are_made_once_and_are_private(tmp_path, script):
    env = script("airflow_env")
    first = env.airflow_environment(tmp_path)
    assert env.airflow_environment(tmp_path) == first
    for name in ("secrets.json", "passwords.json"):
        assert mode(tmp_path / ".rerankops" / "airflow" / name) == 0o600
    assert len(base64.urlsafe_b64decode(first["AIRFLOW__CORE__FERNET_KEY"])) == 32
    assert json.loads(env.passwords_file(tmp_path).read_text()) == {"admin": env.admin_password(tmp_path)}
    assert env.admin_password(tmp_path) not in first.values()


def test_two_folders_share_no_secret(tmp_path, script):
    env = script("airflow_env")
    one, two = (env.airflow_environment(tmp_path / name) for name in ("one", "two"))
    for key in ("AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__API__SECRET_KEY", "AIRFLOW__API_AUTH__JWT_SECRET"):
        assert one[key] != two[key]
    assert env.admin_password(tmp_path / "one") != env.admin_password(tmp_path / "two")


def _password(root, queue):
    import airflow_env

    queue.put(airflow_env.admin_password(root))


def test_processes_that_start_at_once_agree_on_the_password(tmp_path, script):
    script("airflow_env")
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    started = [context.Process(target=_password, args=(tmp_path, queue)) for _ in range(8)]
    for process in started:
        process.start()
    answers = {queue.get() for _ in started}
    for process in started:
        process.join()
    assert len(answers) == 1


def test_airflow_listens_on_this_machine_alone_and_sends_no_usage_data(tmp_path, script):
    environment = script("airflow_env").airflow_environment(tmp_path, port=8181)
    assert environment["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:8181/execution/"
    assert environment["AIRFLOW__USAGE_DATA_COLLECTION__ENABLED"] == "False"
    assert environment["AIRFLOW__CORE__LOAD_EXAMPLES"] == "False"
    assert environment["RERANKOPS_CONFIG"] == "demo"
    assert not any(name.startswith("RERANKOPS__") for name in environment)


def test_the_demos_file_gives_literal_values(tmp_path, script):
    env = script("airflow_env")
    assert env.demo_environment(tmp_path) == {}
    (tmp_path / ".rerankops").mkdir()
    (tmp_path / ".rerankops" / "demo.env").write_text(
        "# by the demo\n\nRERANKOPS__SOURCES__CORPUS=/a b/c=d.jsonl\nEMPTY=\n"
    )
    assert env.demo_environment(tmp_path) == {"RERANKOPS__SOURCES__CORPUS": "/a b/c=d.jsonl", "EMPTY": ""}


@pytest.mark.parametrize("line", ["no assignment", "=value", "two words=x", "export A=b"])
def test_a_line_that_is_no_assignment_is_named(tmp_path, script, line):
    env = script("airflow_env")
    file = tmp_path / "x.env"
    file.write_text(f"A=1\n{line}\n")
    with pytest.raises(env.EnvironmentFileError, match=re.escape(f"line 2: expected KEY=VALUE, found {line!r}")):
        env.read_environment_file(file)


def test_make_env_writes_fresh_private_secrets_and_never_overwrites(tmp_path, script, capsys):
    make_env = script("make_env")
    one, two = tmp_path / "one.env", tmp_path / "two.env"
    assert make_env.main([str(one)]) == make_env.main([str(two)]) == 0
    assert mode(one) == 0o600
    values = [
        dict(line.split("=", 1) for line in path.read_text().splitlines() if re.match(r"[A-Z]", line))
        for path in (one, two)
    ]
    assert set(values[0]) == set(make_env.SECRETS)
    every = [value for file in values for value in file.values()]
    assert len(set(every)) == len(every)
    assert all(len(value) >= 44 for value in every)
    before = one.read_text()
    assert make_env.main([str(one)]) == 0
    assert one.read_text() == before
    assert "left as it is" in capsys.readouterr().out
