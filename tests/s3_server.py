"""A real S3 server for tests: moto's, in a process of its own, so that clients of several processes meet there.

A conftest.py that wants the fixture imports it:

    from s3_server import s3

It is one server for the whole run; every test gets a bucket of its own, and the environment that names the server.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import boto3
import httpx
import pytest
from local_stack import free_port

READY_WITHIN = 300.0


@dataclass(frozen=True)
class S3Server:
    """environment: variables by which boto3 and s3fs find the server, for this process and its children."""

    url: str
    environment: dict[str, str] = field(repr=False)

    def bucket(self) -> str:
        """The URI of a new, empty bucket."""
        name = f"b{secrets.token_hex(8)}"
        client = boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=self.environment["AWS_DEFAULT_REGION"],
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
        )
        client.create_bucket(Bucket=name)
        return f"s3://{name}"


@contextmanager
def running() -> Iterator[S3Server]:
    """A server, ready; stopped at the end."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, process)
        yield S3Server(
            url,
            {
                "AWS_ENDPOINT_URL": url,
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": secrets.token_hex(8),
                "AWS_DEFAULT_REGION": "us-east-1",
            },
        )
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="session")
def _s3_process() -> Iterator[S3Server]:
    with running() as server:
        yield server


@pytest.fixture
def s3(_s3_process: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    for name, value in _s3_process.environment.items():
        monkeypatch.setenv(name, value)
    return _s3_process


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/moto-api/", timeout=30).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    pytest.fail(f"the S3 server cannot be started (exit code {process.poll()})", pytrace=False)
