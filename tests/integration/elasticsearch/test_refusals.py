"""What a server or a setting refuses: one line that names it and says what to do, and no request more than it takes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import numpy as np
import pytest
from elasticsearch import Elasticsearch
from elasticsearch_node import script
from hashed_encoder import MODEL
from indexes import cluster_of, fresh_alias, set_only, settings_of, version
from proxies import Answer, Proxy, TlsProxy, _Handler
from retrieval_contract import VECTORS, manual

from rerankops import cli
from rerankops.config import Settings
from rerankops.errors import RerankopsError, ServerRefused, ServerUnavailable, SettingsError
from rerankops.retrieval.elasticsearch import ElasticsearchRetriever

RETRIES = 2


class Watched(Proxy):
    """Notes the requests that reach it."""

    def __init__(self, target_url: str, *args: object) -> None:
        super().__init__(target_url, *args)
        self.seen: list[str] = []

    def treat(self, handler: _Handler, body: bytes) -> None:
        self.seen.append(f"{handler.command} {handler.path}")
        super().treat(handler, body)


class WatchedTls(Watched, TlsProxy):
    pass


class Stub(Watched):
    """Gives every request the same answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("http://127.0.0.1:1")
        self.given = answer

    def treat(self, handler: _Handler, body: bytes) -> None:
        self.seen.append(f"{handler.command} {handler.path}")
        handler.answer(self.given)


def page(status: HTTPStatus, body: str, kind: str = "text/html", *headers: tuple[str, str]) -> Answer:
    return Answer(status, [("Content-Type", kind), *headers], body.encode())


PRODUCT = ("X-Elastic-Product", "Elasticsearch")
STUBS = {
    "older server": Answer.error(
        HTTPStatus.BAD_REQUEST,
        "media_type_header_exception",
        "Invalid media-type value on headers [Accept, Content-Type]; A compatible version is required on both "
        "Content-Type and Accept headers if either one has requested a compatible version",
    ),
    "8.19": page(HTTPStatus.OK, '{"nodes": {"a": {"version": "8.19.0"}}}', "application/json", PRODUCT),
    "other product": page(HTTPStatus.OK, '{"version": {"number": "2.11.0"}}', "application/json"),
    "web server": page(HTTPStatus.NOT_FOUND, "<html>\n<h1>404</h1>\n</html>"),
    "forbidden": Answer.error(HTTPStatus.FORBIDDEN, "security_exception", "action is unauthorized for [reader]"),
}


@dataclass
class Situation:
    """Where a client is sent and with what; seen: what reached the server."""

    hosts: str
    ca: Path | None = None
    login: Mapping[str, str] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Refusal:
    error: type[RerankopsError]
    words: str
    requests: int = 1


WHO = r"refuses who we are \({} given\); set ELASTICSEARCH_API_KEY, or ELASTICSEARCH_USERNAME and ELASTICSEARCH_PASSW"
NO_TRUST = r"certificate is not trusted \(.*\); set elasticsearch\.ca_certs to the PEM file of the authority that"
OLD = r"is {}; rerankops needs 9\.0 or newer: upgrade it, or use retrieval\.backend embedded"
REFUSALS = {
    "wrong password": Refusal(ServerRefused, WHO.format("user name and password")),
    "wrong API key": Refusal(ServerRefused, WHO.format("API key")),
    "no credentials": Refusal(ServerRefused, WHO.format("no credentials")),
    "API key in another script": Refusal(SettingsError, r"ELASTICSEARCH_API_KEY holds a character that no", 0),
    "credentials in the host": Refusal(SettingsError, r"elasticsearch\.hosts has credentials before the @ of …127", 0),
    "another authority": Refusal(ServerRefused, NO_TRUST, 0),
    "no authority": Refusal(ServerRefused, NO_TRUST, 0),
    "no such CA file": Refusal(SettingsError, r"setting elasticsearch\.ca_certs: there is no file /nowhere/ca\.pem", 0),
    "CA file without CA": Refusal(SettingsError, r"setting elasticsearch\.ca_certs: .* holds no PEM certificate", 0),
    "http to a TLS port": Refusal(ServerUnavailable, r"If it wants TLS, write https:// in elasticsearch\.hosts", 0),
    "TLS to a plain port": Refusal(ServerRefused, r"no TLS is spoken there \(.*\); write http:// in elasticsearch", 0),
    "no URL": Refusal(SettingsError, r"setting elasticsearch\.hosts is \['localhost'\]: URL must include", 0),
    "nobody there": Refusal(ServerUnavailable, r"Connection refused; is it running and reachable\?", 0),
    "older server": Refusal(ServerRefused, OLD.format("an older version")),
    "8.19": Refusal(ServerRefused, OLD.format(r"8\.19\.0")),
    "other product": Refusal(ServerRefused, r"what answers there is no Elasticsearch; check elasticsearch\.hosts"),
    "web server": Refusal(ServerRefused, r"no Elasticsearch \(status 404, .*\); check elasticsearch\.hosts"),
    "forbidden": Refusal(ServerRefused, r"these credentials may not .*: action is unauthorized for \[reader\]", 2),
}


@pytest.fixture(scope="module")
def tls(elasticsearch_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedTls]:
    with WatchedTls(elasticsearch_url, tmp_path_factory.mktemp("tls")) as proxy:
        yield proxy


@pytest.fixture
def situation(
    request: pytest.FixtureRequest, tls: WatchedTls, elasticsearch_url: str, tmp_path: Path
) -> Iterator[Situation]:
    name = request.param
    tls.seen.clear()
    key = {"ELASTICSEARCH_API_KEY": tls.api_key}
    if name in STUBS:
        with Stub(STUBS[name]) as stub:
            yield Situation(stub.url, seen=stub.seen)
    elif name == "another authority":
        with TlsProxy(elasticsearch_url, tmp_path) as other:
            yield Situation(tls.url, other.ca, key, tls.seen)
    else:
        plain, away = tls.url.removeprefix("https://"), f"http://127.0.0.1:{script().free_ports(1)[0]}"
        guessed = {"ELASTICSEARCH_USERNAME": "elastic", "ELASTICSEARCH_PASSWORD": "guessed"}
        yield {
            "wrong password": Situation(tls.url, tls.ca, guessed, tls.seen),
            "wrong API key": Situation(tls.url, tls.ca, {"ELASTICSEARCH_API_KEY": "d3Jvbmc6a2V5"}, tls.seen),
            "no credentials": Situation(tls.url, tls.ca, {}, tls.seen),
            "API key in another script": Situation(tls.url, tls.ca, {"ELASTICSEARCH_API_KEY": "钥匙"}, tls.seen),
            "credentials in the host": Situation(f"https://elastic:guessed@{plain}", tls.ca, {}, tls.seen),
            "no authority": Situation(tls.url, None, key, tls.seen),
            "no such CA file": Situation(tls.url, Path("/nowhere/ca.pem"), key, tls.seen),
            "CA file without CA": Situation(tls.url, Path(__file__), key, tls.seen),
            "http to a TLS port": Situation(f"http://{plain}", None, {}, tls.seen),
            "TLS to a plain port": Situation(elasticsearch_url.replace("http:", "https:"), tls.ca, key, tls.seen),
            "no URL": Situation("localhost"),
            "nobody there": Situation(away),
        }[name]


each_refusal = pytest.mark.parametrize(
    ("situation", "refusal"),
    [pytest.param(name, one, id=name) for name, one in REFUSALS.items()],
    indirect=["situation"],
)


def refused(refusal: Refusal, act: Callable[[], object]) -> None:
    with pytest.raises(RerankopsError, match=refusal.words) as told:
        act()
    assert type(told.value) is refusal.error
    assert "\n" not in str(told.value)
    for secret in ("guessed", "钥匙"):
        assert secret not in str(told.value)


@each_refusal
def test_a_refusal_is_one_line_for_whoever_searches_or_loads(situation: Situation, refusal: Refusal) -> None:
    ca = {} if situation.ca is None else {"ca_certs": str(situation.ca)}
    settings = settings_of(situation.hosts, "refused", retries=RETRIES, **ca)

    def search() -> None:
        with cluster_of(settings, **situation.login) as cluster:
            opened = ElasticsearchRetriever(cluster, "refused-a", settings.elasticsearch, settings.retrieval)
            opened.legs(["q"] * 40, ["机油"] * 40, np.repeat(VECTORS[:1], 40, axis=0), bm25_k=3, dense_k=3)

    def load() -> None:
        with cluster_of(settings, **situation.login) as cluster:
            version(cluster, settings, "a").prepare(manual(), VECTORS)

    for act in (search, load):
        situation.seen.clear()
        refused(refusal, act)
        assert len(situation.seen) <= refusal.requests, situation.seen


# -- what is accepted -------------------------------------------------------------------------------------------------


def test_the_right_authority_and_either_login_are_let_in(tls: WatchedTls) -> None:
    user, password = tls.basic_auth
    for host, login in [
        (tls.url, {"ELASTICSEARCH_API_KEY": tls.api_key}),
        (tls.url, {"ELASTICSEARCH_API_KEY": f"{tls.api_key}\n"}),  # as a file of secrets ends
        (
            tls.url.replace("127.0.0.1", "localhost"),
            {"ELASTICSEARCH_USERNAME": user, "ELASTICSEARCH_PASSWORD": password},
        ),
    ]:
        with cluster_of(settings_of(host, ca_certs=str(tls.ca)), **login) as cluster:
            assert cluster.version >= (9, 0)
            assert all(secret not in repr(cluster.connection) for secret in (tls.api_key, password))


def test_a_key_that_may_not_ask_for_the_version_is_no_obstacle(elasticsearch_url: str) -> None:
    """Such is a key for certain indexes alone."""

    class Narrow(Watched):
        def treat(self, handler: _Handler, body: bytes) -> None:
            if handler.path.startswith("/_nodes"):
                return handler.answer(STUBS["forbidden"])
            super().treat(handler, body)

    with Narrow(elasticsearch_url) as proxy, fresh_alias(elasticsearch_url) as alias:
        settings = settings_of(proxy.url, alias)
        with cluster_of(settings) as cluster:
            index = version(cluster, settings, "a")
            index.prepare(manual(), VECTORS)
            opened = ElasticsearchRetriever(cluster, index.name, settings.elasticsearch, settings.retrieval)
            assert opened.dense(["q"], VECTORS[:1], k=1)["passage_id"].to_list() == ["tyres"]
        assert cluster.version is None


# -- indexes that cannot be searched or loaded ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alias(elasticsearch_url: str) -> Iterator[str]:
    """With one index, `a`, served."""
    with fresh_alias(elasticsearch_url) as alias:
        settings = settings_of(elasticsearch_url, alias)
        with cluster_of(settings) as cluster:
            index = version(cluster, settings, "a")
            index.prepare(manual(), VECTORS)
            index.serve()
        yield alias


@pytest.fixture
def watched(elasticsearch_url: str) -> Iterator[Watched]:
    with Watched(elasticsearch_url) as proxy:
        yield proxy


def search(settings: Settings, name: str, width: int = 8) -> None:
    with cluster_of(settings) as cluster:
        opened = ElasticsearchRetriever(cluster, name, settings.elasticsearch, settings.retrieval)
        opened.legs(["q"] * 40, ["机油"] * 40, np.ones((40, width), np.float32), bm25_k=3, dense_k=3)


def test_vectors_of_another_length_and_a_missing_index_are_refused_after_one_search(
    watched: Watched, alias: str
) -> None:
    settings = settings_of(watched.url, alias, retries=RETRIES)
    cases = {
        (f"{alias}-a", 5): rf"^index {alias}-a was not built with this encoder: .*; refresh the index, or set encoder",
        (f"{alias}-b", 8): rf"no such index \[{alias}-b\]; refresh the index \(rerankops refresh\)$",
        (f"{alias}x", 8): rf"no such index \[{alias}x\]; refresh the index \(rerankops refresh\)$",
    }
    for (name, width), words in cases.items():
        watched.seen.clear()
        refused(Refusal(ServerRefused, words), lambda name=name, width=width: search(settings, name, width))
        assert [request.partition("?")[0] for request in watched.seen] == [
            "GET /_nodes/_all/_none",
            f"POST /{name}/_msearch",
        ]


def test_an_index_that_somebody_else_made_is_refused(alias: str, elasticsearch_url: str) -> None:
    settings, name = settings_of(elasticsearch_url, alias, retries=RETRIES), f"{alias}-theirs"
    vector = {"type": "dense_vector", "dims": 8, "index": True, "similarity": "cosine"}
    mappings = {"properties": {"title": {"type": "text"}, "text": {"type": "text"}, "vector": vector}}
    with Elasticsearch(elasticsearch_url, request_timeout=60) as client:
        client.indices.create(index=name, mappings=mappings)
        try:
            document = {"title": "机油", "text": "机油容量", "vector": VECTORS[0].tolist()}
            client.index(index=name, id="1", document=document, refresh=True)
            words = rf"^index {name} holds passages without a passage_id, so it was not made by rerankops; refresh the "
            refused(Refusal(ServerRefused, words), lambda: search(settings, name))
        finally:
            client.indices.delete(index=name)


def test_a_mapping_that_conflicts_is_refused_after_a_look(watched: Watched, alias: str) -> None:
    settings = settings_of(watched.url, alias, retries=RETRIES, retrieval={"analyzer": "english"})
    with cluster_of(settings) as cluster:
        words = (
            rf"^index {alias}-a exists with another mapping: .*; delete the index, or choose another elasticsearch\.al"
        )
        refused(Refusal(ServerRefused, words), lambda: version(cluster, settings, "a").prepare(manual(), VECTORS))
    assert len(watched.seen) == 2, watched.seen


def test_a_closed_index_is_refused_with_how_to_open_it(watched: Watched, alias: str, elasticsearch_url: str) -> None:
    settings = settings_of(watched.url, alias, retries=RETRIES)
    with Elasticsearch(elasticsearch_url, request_timeout=60) as client, cluster_of(settings) as cluster:
        client.indices.close(index=f"{alias}-a")
        try:
            for name in (alias, f"{alias}-a"):
                watched.seen.clear()
                refused(
                    Refusal(ServerRefused, rf"^index {name} is closed; open it: POST {name}/_open$"),
                    lambda name=name: search(settings, name),
                )
                assert len(watched.seen) == 2, watched.seen
            watched.seen.clear()
            refused(
                Refusal(ServerRefused, r"closed; open it: POST INDEX/_open$"),
                lambda: version(cluster, settings, "a").prepare(manual(), VECTORS),
            )
            assert len(watched.seen) == 3, watched.seen
        finally:
            client.indices.open(index=f"{alias}-a")


# -- the command line -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def refreshed(elasticsearch_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder with sources and a workspace, and the alias that is served."""
    folder = tmp_path_factory.mktemp("refreshed")
    passages = [{"passage_id": name, "text": text} for name, text in (("oil", "加注机油0W-20。"), ("boot", "520L"))]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in passages))
    (folder / "gold.jsonl").write_text('{"question_id": "g1", "text": "机油", "accepted_answers": ["0W-20"]}\n')
    with fresh_alias(elasticsearch_url) as alias:
        yield folder, alias


@pytest.fixture
def run(
    refreshed: tuple[Path, str],
    elasticsearch_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    read: list[str],
) -> Callable[..., tuple[int, str]]:
    """A command in this process, on the refreshed workspace; (status, what it wrote to stderr or would log there)."""
    folder, alias = refreshed
    own = {
        **{"SOURCES__CORPUS": folder / "corpus.jsonl", "SOURCES__GOLD": folder / "gold.jsonl"},
        **{"WORKSPACE__ROOT": folder / "workspace", "ENCODER__MODEL": MODEL, "RETRIEVAL__BACKEND": "elasticsearch"},
        **{"ELASTICSEARCH__ALIAS": alias, "ELASTICSEARCH__REPLICAS": 0},
        **{"ELASTICSEARCH__RETRIES": RETRIES, "ELASTICSEARCH__MAX_BACKOFF": 0.05},
    }
    set_only(monkeypatch, **own)

    def run(*arguments: str, hosts: str = elasticsearch_url) -> tuple[int, str]:
        monkeypatch.setenv("RERANKOPS__ELASTICSEARCH__HOSTS", json.dumps([hosts]))
        monkeypatch.setattr(sys, "argv", ["rerankops", *arguments])
        caplog.clear()
        with pytest.raises(SystemExit) as left:
            cli.main()
        ours = [record for record in caplog.records if record.name != "py.warnings"]
        logged = [record.getMessage() for record in ours if record.levelname in {"WARNING", "ERROR"}]
        return int(left.value.code or 0), capsys.readouterr().err + "".join(f"{line}\n" for line in logged)

    if not (folder / "workspace").exists():
        code, said = run("refresh")
        assert code == 0
        assert all(line.startswith("gold_questions: ") for line in said.splitlines()), said  # one question is few
    return run


@each_refusal
def test_the_command_line_says_it_in_one_line_and_ends_with_status_2(
    situation: Situation, refusal: Refusal, run: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    if situation.ca is not None:
        monkeypatch.setenv("RERANKOPS__ELASTICSEARCH__CA_CERTS", str(situation.ca))
    for name, value in situation.login.items():
        monkeypatch.setenv(name, value)
    for command in (["search", "机油"], ["refresh"]):
        situation.seen.clear()
        status, said = run(*command, hosts=situation.hosts)
        assert (status, said.count("\n"), said.startswith("rerankops: ")) == (2, 1, True), said
        assert len(situation.seen) <= refusal.requests
        with pytest.raises(refusal.error, match=refusal.words):
            raise refusal.error(said)


def test_a_search_with_another_encoder_than_the_index_was_built_with_is_refused(
    refreshed: tuple[Path, str], run: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hashed_encoder.DIMENSIONS", 8)
    monkeypatch.setattr("hashed_encoder._of", lambda _: np.ones(8) / np.sqrt(8))
    status, said = run("search", "机油")
    assert (status, said.count("\n")) == (2, 1)
    assert "was not built with this encoder" in said
    assert "set encoder.model to what built it" in said
