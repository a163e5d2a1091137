"""docker-compose.yml and the Dockerfiles: valid, hardened, without a secret, and served by make_env."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

BIN = Path(sys.executable).parent
DOCKERFILES = ("docker/airflow/Dockerfile", "docker/mlflow/Dockerfile")
VARIABLE = re.compile(r"(?<!\$)\$\{([A-Z_]+)([^}]*)\}")
SECRET_NAME = re.compile(r"PASSWORD|SECRET|FERNET|TOKEN|(?<!_)KEY$")


@pytest.fixture
def compose(project):
    return yaml.safe_load((project / "docker-compose.yml").read_text(encoding="utf-8"))


def without_comments(path):
    return "\n".join(line for line in path.read_text(encoding="utf-8").splitlines() if not line.strip().startswith("#"))


def test_the_compose_file_follows_the_compose_specification(project):
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", project / "docker-compose.yml"]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_hadolint_has_nothing_to_say(project, dockerfile):
    checked = subprocess.run([BIN / "hadolint", project / dockerfile], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("script", ["docker/airflow/init.sh", "docker/postgres/10-databases.sh"])
def test_shell_scripts_parse_and_are_executable(project, script):
    assert subprocess.run(["bash", "-n", project / script]).returncode == 0
    assert (project / script).stat().st_mode & 0o111


def test_no_password_is_an_argument_that_a_list_of_processes_shows(project, compose):
    """Of a shell's commands only builtins may be given one: they are no processes."""
    secret = re.compile(r"PASSWORD|SECRET|TOKEN|_KEY")
    commands = [line for file in ("airflow/init.sh",) for line in shell_commands(project / "docker" / file)]
    for service in compose["services"].values():
        check = service.get("healthcheck", {}).get("test", [])
        commands += re.split(r"[|;&]+", " ".join(check[1:]) if check[:1] == ["CMD-SHELL"] else " ".join(check))
        commands.append(" ".join(map(str, service.get("command", []))))
    for command in commands:
        assert not secret.search(command) or command.strip().split(" ")[0] in {"printf", ":"}, command


def shell_commands(script):
    """The simple commands of a script, a line each."""
    text = re.sub(r"\\\n\s*", " ", script.read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return [command.strip() for line in lines for command in re.split(r"[|;&]+", line) if command.strip()]


def test_every_service_is_checked_for_health_or_runs_once(compose):
    unchecked = {
        name
        for name, service in compose["services"].items()
        if service.get("healthcheck", {}).get("disable") or "test" not in service.get("healthcheck", {})
    }
    assert unchecked == {name for name, service in compose["services"].items() if service["restart"] == "no"}
    assert unchecked == {"airflow-init"}


def test_no_service_runs_as_root_or_keeps_a_capability(compose):
    for name, service in compose["services"].items():
        assert re.fullmatch(r"[1-9]\d*:\d+", service["user"]), name
        assert service["cap_drop"] == ["ALL"], name
        assert not {"cap_add", "privileged"} & service.keys(), name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["mem_limit"], name


def test_every_wait_is_for_a_condition_that_its_service_can_meet(compose):
    for name, service in compose["services"].items():
        for needed, wait in service.get("depends_on", {}).items():
            once = compose["services"][needed]["restart"] == "no"
            assert wait["condition"] == ("service_completed_successfully" if once else "service_healthy"), (
                name,
                needed,
            )


def test_ports_are_published_on_this_machine_alone(compose):
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("${RERANKOPS_BIND:-127.0.0.1}:") for port in published)


OF_OTHERS = {"RERANKOPS_LABEL_STUDIO_TOKEN", "RERANKOPS_LLM_API_KEY"}
"""Credentials of servers that are not in the stack and need not be there: empty when they are not used."""


def test_every_secret_comes_from_the_environment_and_has_no_default(compose):
    seen = set()
    for name, service in compose["services"].items():
        for key, value in service.get("environment", {}).items():
            if SECRET_NAME.search(key):
                assert VARIABLE.fullmatch(value), f"{name}.{key} is a literal"
            for variable, rest in VARIABLE.findall(value):
                if variable in OF_OTHERS:
                    assert rest == ":-", f"{name}.{key}: {variable} has a default"
                elif SECRET_NAME.search(variable):
                    assert rest == ":?run make env", f"{name}.{key}: {variable} must be required"
                    seen.add(variable)
            assert not re.search(r"://[^/:]+:(?!\$\{)[^/@]+@", value), f"{name}.{key} holds a password"
    assert len(seen) == 10


def test_make_env_knows_exactly_the_variables_of_the_compose_file(project, script):
    make_env = script("make_env")
    used = {
        name: rest.removeprefix(":-")
        for name, rest in VARIABLE.findall(without_comments(project / "docker-compose.yml"))
    }
    assert set(make_env.SECRETS) | set(make_env.SETTINGS) == set(used)
    optional = {"RERANKOPS_CORPUS", "RERANKOPS_GOLD", "RERANKOPS_QUERY_LOG"}  # unset: no source; .env shows an example
    assert {name: used[name] for name in make_env.SETTINGS if name not in optional} == {
        name: default for name, (default, _) in make_env.SETTINGS.items() if name not in optional
    }


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_images_hold_hashed_requirements_a_fixed_user_and_no_secret(project, dockerfile):
    text = without_comments(project / dockerfile)
    assert set(re.findall(r"^FROM (\S+)", text, flags=re.M)) == {"python:3.11-slim-bookworm"}
    final = text.rpartition("\nFROM ")[2]
    assert re.search(r"^USER ([1-9]\d*):\1$", final, flags=re.M)
    assert re.search(r"^HEALTHCHECK ", final, flags=re.M)
    installs = [line for line in text.splitlines() if "install" in line and "pip" in line]
    assert installs
    assert all("--require-hashes" in line or "--no-index" in line for line in installs)
    assert not re.search(r"(PASSWORD|SECRET|TOKEN|FERNET)\w*=", text)
    assert "COPY . " not in text


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_what_a_dockerfile_copies_is_what_its_ignore_file_lets_through(project, dockerfile):
    ignore = (project / f"{dockerfile}.dockerignore").read_text(encoding="utf-8").splitlines()
    copies = re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+)$", (project / dockerfile).read_text(encoding="utf-8"), re.M)
    sources = {source for copy in copies for source in copy.split()[:-1]}
    assert "*" in ignore
    assert {line[1:] for line in ignore if line.startswith("!")} == sources
