"""MLflow down, slow, and answering 500 while a promotion is under way: a clear error, nothing half-moved, and the same
call again succeeds."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from proxies import Answer, Proxy, _Handler
from registered_rankers import record
from tracking_server import TrackingServer

from rerankops.errors import RerankopsError, ServerRefused, ServerUnavailable
from rerankops.promotion.registry import Registry

BROKEN = Answer(500, [("Content-Type", "application/json")], b'{"error_code": "INTERNAL_ERROR", "message": "boom"}')


class FailingProxy(Proxy):
    """Passes requests on until `fails_from` of them have gone by, then treats every one to `fault`.

    500: refused, MLflow never saw it. lost: carried out, and the connection ends instead of the answer. slow: carried
    out, and answered too late. empty: carried out, and a 200 without a body comes back. web page: a login form does.
    """

    def __init__(self, target_url: str) -> None:
        super().__init__(target_url)
        self.fault, self.fails_from, self.seen, self.about = "", 0, 0, b""

    def fail(self, fault: str, after: int = 0, *, about: bytes = b"") -> None:
        """after: so many requests, of those whose body holds `about`."""
        self.fault, self.fails_from, self.seen, self.about = fault, after, 0, about

    def heal(self) -> None:
        self.fault = ""

    def treat(self, handler: _Handler, body: bytes) -> None:
        self.seen += self.about in body
        fault = self.fault if self.seen > self.fails_from else ""
        if fault == "500":
            return handler.answer(BROKEN)
        whole = handler.forward(body)
        if fault == "slow":
            time.sleep(1.5)
        if fault in {"lost", "slow"}:
            handler.close_connection = True
        elif fault == "empty":
            handler.answer(Answer(200, [], b""))
        elif fault == "web page":
            handler.answer(Answer(200, [("Content-Type", "text/html")], b"<html>please log in</html>"))
        else:
            handler.answer(whole)


@pytest.fixture(scope="module")
def proxy(tracking_server: TrackingServer) -> Iterator[FailingProxy]:
    with FailingProxy(tracking_server.url) as proxy:
        yield proxy


@pytest.fixture
def registry(proxy: FailingProxy, tmp_path: Path, request: pytest.FixtureRequest) -> Registry:
    proxy.heal()
    return behind(proxy.url, tmp_path, request.node.name)


def behind(url: str, folder: Path, name: str, request_timeout: int = 60) -> Registry:
    lock = folder / "registry.lock"
    return Registry(url, name, "rerankops", lock, request_timeout=request_timeout, transfer_timeout=60, retries=0)


def aliases(registry: Registry) -> dict[str, str]:
    found = registry._client.get_registered_model(registry.model_name).aliases
    return {name: str(number) for name, number in found.items()}


def champions(registry: Registry, ranker: Path, count: int) -> None:
    for number in range(1, count + 1):
        record(registry, ranker, f"decision {number}")
    registry.promote("1", None, "first", actor="test")


def requests_of(proxy: FailingProxy, call: Callable[[], object]) -> int:
    proxy.fail("", 0)
    call()
    return proxy.seen


@pytest.mark.parametrize(("fault", "step"), [("500", 1), ("lost", 2), ("empty", 5), ("web page", 7)])
def test_wherever_mlflow_fails_in_a_promotion_the_same_call_again_succeeds(
    registry: Registry, proxy: FailingProxy, ranker: Path, fault: str, step: int
) -> None:
    """MLflow fails from the n-th request of a promotion on, for every n (or in steps), until there is no n-th."""
    champions(registry, ranker, 2)
    now, other, tried, places = "1", "2", 0, 0
    while True:
        proxy.fail(fault, places)
        failure = ""
        try:
            registry.promote(other, now, f"at request {places}", actor="test")
        except RerankopsError as error:
            failure = str(error)
        proxy.heal()
        if not failure:
            break
        assert "registry.tracking_uri" in failure
        assert "(Caused by" not in failure
        between = registry.state()
        assert between.champion in {now, other}
        assert between.aliases["champion"] in {now, between.champion}, "no alias is ahead of the ledger"
        assert registry.promote(other, now, f"at request {places}, again", actor="test").version == other
        after = registry.state()
        assert after.aliases == {"champion": other, "previous": now}
        assert (after.champion, after.previous, after.settled) == (other, now, after.head.number)
        now, other, tried, places = other, now, tried + 1, places + step
    assert places > 12
    moves = registry.audit()
    assert {move["action"] for move in moves} == {"promote"}
    assert all(after["before"] == before["champion"] for before, after in pairwise(moves))
    assert len(moves) == tried + 2, "each promotion is in the audit once, the first and the last included"


def test_wherever_mlflow_fails_in_a_recording_the_same_call_again_completes_it(
    registry: Registry, proxy: FailingProxy, ranker: Path
) -> None:
    record(registry, ranker, "decision 1")
    whole = requests_of(proxy, lambda: record(registry, ranker, "decision 2"))
    for number, place in enumerate(range(1, whole, max(1, whole // 5)), start=3):
        fault = ("500", "lost")[number % 2]
        proxy.fail(fault, place)
        with pytest.raises(ServerUnavailable, match=r"registry\.tracking_uri.*run this again"):
            record(registry, ranker, f"decision {number}")
        proxy.heal()
        there = record(registry, ranker, f"decision {number}")
        assert registry.version(there.version).decision == f"{registry.model_name}/decision {number}"
        assert registry.fetch(there.version).is_dir()
        assert aliases(registry) == {"challenger": there.version}
    decisions = [version.decision for version in registry.versions()]
    assert len(set(decisions)) == len(decisions) == number


def test_a_server_that_is_down_is_named_with_its_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    registry = behind(f"http://somebody:secret@127.0.0.1:{port}", tmp_path, "reranker")
    for ask in (
        registry.champion,
        registry.versions,
        registry.audit,
        lambda: registry.promote("1", None, "?", actor="test"),
        lambda: registry.rollback("?", actor="test"),
    ):
        with pytest.raises(ServerUnavailable) as caught:
            ask()
        assert str(caught.value) == (
            f"MLflow at http://127.0.0.1:{port} (setting registry.tracking_uri) does not answer as it should: "
            "Failed to establish a new connection: [Errno 111] Connection refused; see that it runs, "
            "then run this again"
        )


def test_a_slow_server_is_given_up_and_what_it_did_after_all_is_found(
    registry: Registry, proxy: FailingProxy, ranker: Path, tmp_path: Path
) -> None:
    champions(registry, ranker, 2)
    proxy.fail("slow", about=b"move.000002")
    hasty = behind(proxy.url, tmp_path, registry.model_name, request_timeout=1)
    with pytest.raises(ServerUnavailable, match=r"registry\.tracking_uri.*: Read timed out\."):
        hasty.promote("2", "1", "second", actor="test")
    proxy.heal()
    registry = behind(proxy.url, tmp_path, registry.model_name)
    assert registry.promote("2", "1", "second", actor="test").version == "2"
    assert aliases(registry) == {"champion": "2", "previous": "1"}
    assert [move["champion"] for move in registry.audit()] == ["1", "2"]


def test_a_move_that_arrives_after_another_one_is_void(registry: Registry, proxy: FailingProxy, ranker: Path) -> None:
    """A promotion that was given up, and whose request was held up on the way, does not undo what came after it."""
    champions(registry, ranker, 3)
    held: list[tuple[str, str, dict[str, str], bytes]] = []

    def keep(handler: _Handler, body: bytes) -> None:
        if b"move.000002" in body and not held:
            held.append((handler.command, handler.path, dict(handler.headers.items()), body))
            handler.close_connection = True
        else:
            Proxy.treat(proxy, handler, body)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proxy, "treat", keep)
        with pytest.raises(ServerUnavailable):
            registry.promote("2", "1", "given up", actor="test")
        registry.promote("3", "1", "the one that counts", actor="test")
    import httpx

    (command, path, headers, body) = held[0]
    kind = {"Content-Type": headers["Content-Type"]}
    late = httpx.request(command, proxy.url + path, headers=kind, content=body, timeout=60)
    assert late.status_code == 400
    assert registry.champion().version == "3"
    assert [move["champion"] for move in registry.audit()] == ["1", "3"]


def test_a_retry_within_patience_is_not_noticed(
    proxy: FailingProxy, tmp_path: Path, ranker: Path, request: pytest.FixtureRequest
) -> None:
    proxy.heal()
    champions(behind(proxy.url, tmp_path, request.node.name), ranker, 2)
    patient = Registry(proxy.url, request.node.name, "rerankops", tmp_path / "lock", request_timeout=60, retries=2)
    count = 0

    def every_third(handler: _Handler, body: bytes) -> None:
        nonlocal count
        count += 1
        handler.answer(BROKEN) if count % 3 == 0 else Proxy.treat(proxy, handler, body)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proxy, "treat", every_third)
        assert patient.promote("2", "1", "second", actor="test").version == "2"
    assert count > 10
    assert [move["champion"] for move in patient.audit()] == ["1", "2"]


def test_a_server_that_is_no_mlflow_is_refused(tmp_path: Path) -> None:
    class Page(Proxy):
        def treat(self, handler: _Handler, body: bytes) -> None:
            handler.answer(Answer(404, [("Content-Type", "text/html")], b"<html>nothing here</html>"))

    with Page("http://127.0.0.1:1") as other:
        registry = behind(other.url, tmp_path, "reranker")
        with pytest.raises(ServerRefused, match=r"registry\.tracking_uri"):
            registry.champion()


def test_a_database_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this is no database " * 100)
    registry = behind(f"sqlite:///{tmp_path}/mlflow.db", tmp_path, "reranker")
    with pytest.raises(ServerUnavailable, match=r"mlflow\.db \(setting registry\.tracking_uri\)"):
        registry.champion()
