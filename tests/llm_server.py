"""A real language model server for tests: `transformers serve` with a small model (see scripts/local_llm.py).

A conftest.py imports the fixture by name: `from llm_server import llm_server`. The model folder is made once and kept
in ~/.cache/rerankops/llm. Where no server can be started, the tests fail and say why.
"""

from __future__ import annotations

import contextlib
import importlib
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from local_stack import free_port

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
READY_WITHIN = 400.0


@dataclass(frozen=True)
class LlmServer:
    """url: for llm.url. model: for llm.model."""

    url: str
    model: str
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def script() -> ModuleType:
    """scripts/local_llm.py, which is a program and in no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        return importlib.import_module("local_llm")


@pytest.fixture(scope="module")
def llm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlmServer]:
    local = script()
    log = tmp_path_factory.mktemp("llm") / "server.log"
    port = free_port()
    try:
        folder = local.prepare()
        command = local.command(folder, port)
    except local.LlmError as problem:
        pytest.fail(str(problem), pytrace=False)
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=local.environment())
    server = LlmServer(f"http://127.0.0.1:{port}/v1", str(folder), process)
    try:
        _wait(server, log)
        yield server
    finally:
        server.stop()


def _wait(server: LlmServer, log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            pytest.fail(f"the language model server ended: {log.read_text()[-2000:]}", pytrace=False)
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(server.url.removesuffix("/v1") + "/health", timeout=30).status_code == 200:
                return
        time.sleep(0.3)
    pytest.fail(f"the language model server was not ready: {log.read_text()[-2000:]}", pytrace=False)
