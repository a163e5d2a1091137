"""A server that is away, slow, broken, somebody else's or not ours to use: one clear line, and no task twice."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pytest
from label_studio_server import LabelStudio
from labelling import Person, number_of, tasks_in
from proxies import FaultyProxy, TlsProxy

from rerankops.annotation.label_studio import Connection, LabelStudioChannel
from rerankops.errors import RerankopsError, ServerRefused, ServerUnavailable

Channels = Callable[..., LabelStudioChannel]
Batch = tuple[str, pa.Table]


def line(error: pytest.ExceptionInfo[RerankopsError]) -> str:
    words = str(error.value)
    assert "\n" not in words
    assert len(words) < 500
    return words


class Another(BaseHTTPRequestHandler):
    """A web server that is no Label Studio."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<html>Welcome to nginx!</html>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def another() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Another) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def silent() -> Iterator[str]:
    """Takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("token", "words"),
    [("0" * 40, "legacy token given"), ("a.b.c", "personal access token given"), ("x" * 40, "legacy token given")],
)
def test_a_wrong_token_is_said_at_once(channel: Channels, token: str, words: str) -> None:
    with pytest.raises(ServerRefused) as error:
        list(channel(token=token).pull(lambda stream: None))
    assert f"refuses who we are ({words})" in line(error)
    assert "RERANKOPS_LABEL_STUDIO_TOKEN" in line(error)
    assert token not in line(error)


def test_a_legacy_token_serves_as_well(channel: Channels, label_studio: LabelStudio, batch: Batch) -> None:
    label_studio.own()
    assert channel(token=label_studio.legacy_token).send(*batch) == channel().send(*batch)


def test_a_short_lived_token_that_ran_out_is_changed_for_a_new_one(channel: Channels, client: object) -> None:
    client._access = "a.worn.out"  # type: ignore[attr-defined]
    assert client.get("list projects", "/api/projects/", {"page_size": 1})["results"] is not None  # type: ignore[attr-defined]


def test_an_address_where_nobody_listens(channel: Channels) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(ServerUnavailable) as error:
        list(channel(url=url, retries=1).pull(lambda stream: None))
    assert f"Label Studio at {url}: cannot" in line(error)
    assert "is it running and reachable?" in line(error)


@pytest.mark.parametrize("token", ["0" * 40, "a.b.c"])
def test_another_server(channel: Channels, another: str, token: str) -> None:
    with pytest.raises(ServerRefused) as error:
        list(channel(url=another, token=token).pull(lambda stream: None))
    assert "what answers there is no Label Studio (status" in line(error)
    assert "check label_studio.url" in line(error)


def test_a_server_that_is_too_slow(channel: Channels, silent: str, batch: Batch) -> None:
    with pytest.raises(ServerUnavailable) as error:
        channel(url=silent, token="0" * 40, retries=1, request_timeout=0.2).send(*batch)
    assert "cannot list projects: no answer in time (ReadTimeout)" in line(error)


def test_a_certificate_that_is_not_trusted_and_one_that_is(
    channel: Channels, label_studio: LabelStudio, batch: Batch, tmp_path: Path
) -> None:
    token = label_studio.legacy_token or label_studio.token
    with TlsProxy(label_studio.url, tmp_path) as proxy:
        with pytest.raises(ServerRefused) as error:
            channel(url=proxy.url, token=token).send(*batch)
        assert "its certificate is not trusted" in line(error)
        assert "label_studio.ca_certs" in line(error)
        proxy.welcome.add(f"Token {token}")
        there = channel()
        trusting = LabelStudioChannel(Connection(proxy.url, token, str(proxy.ca)), there.settings, 3)
        assert number_of(trusting.send(*batch)) == number_of(there.send(*batch))


@pytest.mark.parametrize("kinds", [("503",), ("429",)])
def test_a_server_that_always_refuses(
    channel: Channels, label_studio: LabelStudio, batch: Batch, kinds: tuple[str, ...]
) -> None:
    with (
        FaultyProxy(label_studio.url, share=1, kinds=kinds) as proxy,
        pytest.raises(ServerUnavailable) as error,
    ):
        channel(url=proxy.url, token=label_studio.legacy_token or label_studio.token, retries=2).send(*batch)
    assert f"cannot list projects: status {kinds[0]}" in line(error)
    assert proxy.counts[kinds[0]] == 3


@pytest.mark.parametrize("seed", [1, 2])
def test_a_bad_network_loses_nothing_and_makes_nothing_twice(
    channel: Channels, label_studio: LabelStudio, batch: Batch, seed: int
) -> None:
    batch_id, tasks = batch
    token = label_studio.legacy_token or label_studio.token
    person = Person(label_studio.url, str(label_studio.legacy_token))
    label_studio.own()
    with FaultyProxy(label_studio.url, share=0.3, seed=seed) as proxy:
        shaky = channel(url=proxy.url, token=token, import_size=2, retries=30)
        number = number_of(shaky.send(batch_id, tasks))
        found = tasks_in(person, number)
        assert {task: len(numbers) for task, numbers in found.items()} == dict.fromkeys(tasks["task_id"].to_pylist(), 1)
        for numbers in found.values():
            person.grade(numbers[0], 2)
        (delivery,) = shaky.pull(lambda stream: None)
    spoilt = sum(count for fault, count in proxy.counts.items() if fault != "passed")
    assert spoilt >= 3
    (straight,) = channel().pull(lambda stream: None)
    assert delivery.content == straight.content
    assert delivery.rows.num_rows == tasks.num_rows
