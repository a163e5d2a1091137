"""A real MLflow tracking server for tests, as production has one: on PostgreSQL, with its artefacts on S3.

The S3 server is moto's, in this process. A conftest.py that wants the fixture imports what it stands on as well:

    from postgres_server import postgres
    from tracking_server import tracking_server

It is one server for the whole run, shared by all who import it. Where it cannot be started, the tests fail and say why.
"""

from __future__ import annotations

import logging
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from local_stack import free_port
from moto.server import ThreadedMotoServer
from postgres_server import Server as Postgres

READY_WITHIN = 400.0
_SHARED = pytest.StashKey["TrackingServer"]()


@dataclass(frozen=True)
class TrackingServer:
    """url: for registry.tracking_uri. database: the URL of its PostgreSQL database. bucket: of its artefacts, on the S3
    server at s3_url, with these keys."""

    url: str
    database: str
    s3_url: str
    bucket: str
    keys: dict[str, str] = field(repr=False)

    def objects(self) -> dict[str, int]:
        """Sizes in bytes of everything in the bucket."""
        client = boto3.client(
            "s3",
            endpoint_url=self.s3_url,
            region_name="us-east-1",
            aws_access_key_id=self.keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.keys["AWS_SECRET_ACCESS_KEY"],
        )
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", ())}


@contextmanager
def running(postgres: Postgres) -> Iterator[TrackingServer]:
    """A server with an empty database and an empty bucket, ready; stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="mlflow-") as folder, ExitStack() as stack:
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": secrets.token_hex(8)}
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        storage = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        storage.start()
        stack.callback(storage.stop)
        host, port = storage.get_host_and_port()
        s3_url, bucket = f"http://{host}:{port}", "rankers"
        client = boto3.client(
            "s3",
            endpoint_url=s3_url,
            region_name="us-east-1",
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        )
        client.create_bucket(Bucket=bucket)
        database = postgres.url(postgres.database())
        own_port = free_port()
        command = [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(own_port)),
            *("--workers", "1", "--artifacts-destination", f"s3://{bucket}"),
            *("--backend-store-uri", database.replace("postgresql://", "postgresql+psycopg2://")),
        ]
        environment = {
            **os.environ,
            **keys,
            "AWS_DEFAULT_REGION": "us-east-1",
            "MLFLOW_S3_ENDPOINT_URL": s3_url,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        log = Path(folder, "log")
        out = stack.enter_context(log.open("wb"))
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
        stack.callback(_stop, process)
        url = f"http://127.0.0.1:{own_port}"
        _wait(url, process, log)
        yield TrackingServer(url, database, s3_url, bucket, keys)


@pytest.fixture(scope="session")
def tracking_server(pytestconfig: pytest.Config, postgres: Postgres) -> TrackingServer:
    if _SHARED not in pytestconfig.stash:
        stack = ExitStack()
        pytestconfig.stash[_SHARED] = stack.enter_context(running(postgres))
        pytestconfig.add_cleanup(stack.close)
    return pytestconfig.stash[_SHARED]


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/health", timeout=30).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    last = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    pytest.fail(f"the MLflow server cannot be started:\n{last}", pytrace=False)


def _stop(process: subprocess.Popen[Any]) -> None:
    """With its workers: they are its process group."""
    import signal

    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(10)
    except ProcessLookupError:
        return
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
