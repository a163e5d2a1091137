"""The Label Studio that we start: behind a login, under no other host's name, its secrets in no list of processes."""

from __future__ import annotations

from pathlib import Path

import httpx
from label_studio_server import PEOPLE, LabelStudio


def test_nothing_is_shown_without_a_login(label_studio: LabelStudio) -> None:
    for path in ("/api/projects", "/api/users/", "/api/tasks/"):
        answer = httpx.get(f"{label_studio.url}{path}", trust_env=False, timeout=60)
        assert answer.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}, path
    page = httpx.get(f"{label_studio.url}/projects/", trust_env=False, timeout=60)
    assert "login" in page.headers["location"]


def test_it_answers_under_no_other_hosts_name(label_studio: LabelStudio) -> None:
    own = label_studio.own()
    headers = {"authorization": f"Token {own.credentials['legacy_token']}"}
    url = f"{label_studio.url}/api/current-user/whoami"
    assert httpx.get(url, headers=headers, trust_env=False, timeout=60).is_success
    elsewhere = headers | {"host": "attacker.example"}
    assert httpx.get(url, headers=elsewhere, trust_env=False, timeout=60).status_code == httpx.codes.BAD_REQUEST


def test_its_secrets_are_their_owners_alone(label_studio: LabelStudio) -> None:
    own = label_studio.own()
    secrets = [own.credentials[name] for name in ("password", "legacy_token", "token")] + list(PEOPLE.values())
    for path in (own.data, own.folder / "credentials.json"):
        assert path.stat().st_mode & 0o077 == 0
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = process.read_text(errors="replace")
        except OSError:
            continue
        assert not any(secret in command for secret in secrets)
    assert not any(secret in own.log.read_text(errors="replace") for secret in secrets)
