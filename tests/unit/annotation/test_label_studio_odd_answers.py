"""What a server answers that is no Label Studio, or one that was tampered with: one line that names it, and an end."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from rerankops import config
from rerankops.annotation.label_studio import Connection, LabelStudioChannel
from rerankops.errors import RerankopsError, ServerRefused, ServerUnavailable

Answer = Callable[[str, dict[str, list[str]]], Any]
PROJECT = {
    "id": 7,
    "title": "rerankops b1",
    "description": "[rerankops:rerankops:b1:2]",
    "created_at": "2026-11-01T00:00:00Z",
    "maximum_annotations": 1,
    "task_number": 2,
    "total_annotations_number": 1,
}
ANNOTATION = {"id": 1, "updated_at": "2026-11-02T00:00:00Z", "was_cancelled": False, "result": []}
TASK = {"id": 3, "data": {}, "updated_at": "2026-11-02T00:00:00Z", "annotations": [ANNOTATION]}


@pytest.fixture
def pull() -> Iterator[Callable[[Answer], None]]:
    """Pulls from a server that answers so: JSON of what the function gives for a path and its query, or its bytes."""
    servers: list[ThreadingHTTPServer] = []

    def pull(answer: Answer) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                said = answer(parts.path, parse_qs(parts.query))
                body = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        settings = config.load(environ={}, overrides={"label_studio": {"retries": 0, "request_timeout": 10}})
        url = f"http://127.0.0.1:{server.server_port}"
        channel = LabelStudioChannel(Connection(url, "0" * 40), settings.label_studio, 1)
        list(channel.pull(lambda stream: None))

    yield pull
    for server in servers:
        server.shutdown()
        server.server_close()


def projects(*items: Any, following: Any = None) -> dict[str, Any]:
    return {"results": list(items), "next": following}


def listing(tasks: Any, project: Any = PROJECT) -> Answer:
    """A server with one project of ours, and what it says of its tasks."""

    def answer(path: str, query: dict[str, list[str]]) -> Any:
        if path == "/api/tasks/":
            return tasks
        return projects(project) if path == "/api/projects/" else project

    return answer


ODD: dict[str, tuple[Answer, str]] = {
    "a list": (lambda path, query: [], "it has no 'results'"),
    "no object": (lambda path, query: projects(3), "it holds 3, where an object should be"),
    "no id": (lambda path, query: projects({**PROJECT, "id": None}), "'id' is None"),
    "an id that is true": (lambda path, query: projects({**PROJECT, "id": True}), "'id' is True"),
    "a time that is none": (lambda path, query: projects({**PROJECT, "created_at": "soon"}), "'created_at' is 'soon'"),
    "a time without a zone": (
        lambda path, query: projects({**PROJECT, "created_at": "2026-11-01T00:00:00"}),
        "'created_at' is '2026-11-01T00:00:00'",
    ),
    "a description of numbers": (lambda path, query: projects({**PROJECT, "description": 5}), "'description' is 5"),
    "the same page without end": (
        lambda path, query: projects(PROJECT, following="/api/projects/?page=2"),
        "page 2 has nothing new, and yet it says that there is another",
    ),
    "tasks that are none": (listing({"tasks": ["x"]}), "it holds 'x', where an object should be"),
    "a task without data": (listing({"tasks": [{**TASK, "data": None}]}), "'data' is None"),
    "tasks without annotations": (listing({"tasks": [{**TASK, "annotations": 4}]}), "'annotations' is 4"),
    "an annotation without a time": (
        listing({"tasks": [{**TASK, "annotations": [{**ANNOTATION, "updated_at": 5}]}]}),
        "'updated_at' is 5",
    ),
    "the same tasks without end": (
        listing({"tasks": [TASK, TASK]}),
        "asked for tasks after 3, it sends task 3",
    ),
    "JSON that nests without end": (lambda path, query: b"[" * 100_000, "is no JSON (more than 100 lists"),
    "half of it": (lambda path, query: b'{"results": [', "is no JSON"),
}


@pytest.mark.parametrize(("answer", "words"), ODD.values(), ids=ODD)
def test_an_odd_answer_is_one_line_that_names_what_is_odd(
    pull: Callable[[Answer], None], answer: Answer, words: str
) -> None:
    with pytest.raises((ServerRefused, ServerUnavailable)) as error:
        pull(answer)
    said = str(error.value)
    assert words in said
    assert "\n" not in said
    assert said.startswith("Label Studio at http://127.0.0.1:")


def test_an_answer_beyond_all_measure_names_the_setting(
    pull: Callable[[Answer], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rerankops.annotation.label_studio.client._LARGEST", 1000)
    with pytest.raises(RerankopsError, match=r"more than .* MB; lower label_studio\.page_size"):
        pull(lambda path, query: projects({**PROJECT, "description": "x" * 2000}))


def test_pages_that_never_end_are_given_up(pull: Callable[[Answer], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rerankops.annotation.label_studio.client._MOST_PAGES", 3)
    numbers = iter(range(1, 1000))
    with pytest.raises(ServerRefused, match="after 3 pages"):
        pull(lambda path, query: projects({**PROJECT, "id": next(numbers)}, following="more"))
